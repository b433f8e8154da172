"""Softmax and its kin: what is drawn, casts, what Gumbel-softmax draws, each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from support import cases, first_failure, law_findings
from torch import nn
from torch.nn import functional

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.half_precision import converted
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.laws.softmax import softmax as laws
from conformance.laws.softmax.draws import _logistic, _slack
from conformance.layers import CATALOGUE, DTYPES
from conformance.layers.describe import case_text
from conformance.layers.fitting import replace_argument
from conformance.oracles.softmax import (
    gumbel_softmax,
    log_softmax,
    resolve_axis,
    softmax,
    sum_error,
)

FUNCTIONS = ("functional.softmin", "functional.softmax", "functional.log_softmax")
MODULES = ("Softmin", "Softmax", "LogSoftmax")
GUMBEL = "functional.gumbel_softmax"
FLOAT64 = Precision.of("float64")


def _drawn_forms(layer: str) -> set[Any]:
    forms: set[Any] = set()
    for case in cases(layer):
        (x,) = case.inputs
        axis, dim = laws.axis_of_case(case), case.call.arguments.get("dim")
        forms |= {f"rank {x.ndim}", case.labels["regime"], case.call.arguments.get("dtype")}
        forms |= {"last"} if axis == x.ndim - 1 else {"not the last"}
        forms |= {"old"} if dim is None else {"from the end"} if dim < 0 else {"from the start"}
        if x.ndim:
            forms.add(f"length {x.shape[axis]}")
            forms |= {"no slices"} if not x.size and x.shape[axis] else set()
    return forms


@pytest.mark.parametrize("layer", [*FUNCTIONS, *MODULES])
def test_every_form_of_a_call_is_drawn(layer: str) -> None:
    forms = _drawn_forms(layer)
    assert forms >= {f"rank {rank}" for rank in range(6)}
    assert forms >= {"last", "not the last", "old", "from the end", "from the start", "no slices"}
    assert forms >= {"length 0", "length 1", "length 2", "length 129", "length 33"}
    assert forms >= {
        "integers",
        "saturated",
        "normal",
        "offset",
        "spread",
        "tiny",
        "large",
        "mixed",
    }
    if layer in FUNCTIONS:
        assert forms >= {None, *DTYPES}


def test_every_form_of_gumbel_softmax_is_drawn() -> None:
    drawn = [case.call.arguments for case in cases(GUMBEL)]
    assert {x.get("tau", 1.0) for x in drawn} == {1.0, 0.5, 2.0, 0.1, 10.0}
    assert {x.get("hard", False) for x in drawn} == {False, True}
    assert {x.get("eps", 1e-10) for x in drawn} == {1e-10, 0.5}
    assert {x.get("dim") for x in drawn} >= {None, -1, -2, 0, 1}


def test_images_with_a_batch_and_without_are_drawn() -> None:
    assert {case.inputs[0].ndim for case in cases("Softmax2d")} == {3, 4}


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_largest_numbers_share_exactly(dtype: str) -> None:
    """1/k for k = 2^j; saturated cases have some of those."""
    for case in cases("functional.softmax", dtype):
        if case.labels["regime"] != "saturated" or not case.inputs[0].size:
            continue
        expected = Trial(torch_backend, CATALOGUE["functional.softmax"], case).expected[0]
        assert not expected.error.any()
        assert set(np.unique(expected.value)) <= {0.0, *(2.0**-k for k in range(8))}
    x = exact_operand(np.array([[5.0, 5.0, 5.0, 5.0, -1019.0]]), Precision.of(dtype))
    logs = log_softmax({}, x, dim=1)
    assert logs.value[0, 4] == pytest.approx(-1024 - np.log(4))


def test_without_dim_it_is_torchs_old_axis() -> None:
    assert [resolve_axis(None, axes) for axes in range(6)] == [0, 0, 1, 0, 1, 1]
    assert [resolve_axis(dim, 3) for dim in (0, 2, -1, -3)] == [0, 2, 2, 0]
    assert resolve_axis(-1, 0) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_the_truth_is_within_the_bound(function: Any, dtype: str) -> None:
    x = _nine_numbers(dtype)
    output = function({}, exact_operand(x, Precision.of(dtype)), dim=0)
    with mpmath.workdps(60):
        exponentials = [mpmath.exp(mpmath.mpf(a)) for a in x.tolist()]
        total = mpmath.fsum(exponentials)
        for k, a in enumerate(exponentials):
            true = a / total if function is softmax else mpmath.log(a / total)
            assert abs(true - mpmath.mpf(float(output.value[k]))) <= float(output.error[k])


def _nine_numbers(dtype: str) -> np.ndarray:
    """Nine numbers of a dtype."""
    drawn = torch.from_numpy(np.random.default_rng(3).standard_normal(9) * 3)
    return np.asarray(drawn.to(getattr(torch, dtype)).double())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", DTYPES)
def test_a_cast_is_torchs_there_and_back(dtype: str, other: str) -> None:
    numbers = np.array([1.0, 1 / 3, -1e5, 1e-7, 1e30, np.nan, -np.inf, 0.0])
    native = torch.tensor(numbers, dtype=getattr(torch, dtype), requires_grad=True)
    x = leaf(native.detach().double().numpy(), Precision.of(dtype))
    output = converted(x, other)
    cast = native.to(getattr(torch, other))
    got = cast.detach().double().numpy()
    same = (got == output.value) | (np.isnan(got) & np.isnan(output.value))
    with np.errstate(invalid="ignore"):
        near = same | (np.abs(got - output.value) <= output.error)
    assert near.all()
    assert output.precision.dtype == other
    c = torch.tensor([1.0, 1 / 3, -1e4, 1e-7, 0.1, 1.0, -2.0, 0.0], dtype=cast.dtype)
    (gradient,) = torch.autograd.grad(cast, native, c)
    cotangent = exact_operand(c.double().numpy(), Precision.of(other))
    if output is x:
        return
    (expected,) = pull_back([output], [cotangent], [x])
    got = gradient.double().numpy()
    assert ((np.abs(got - expected.value) <= expected.error) | ~np.isfinite(expected.error)).all()


def test_a_dtype_is_written_as_torch_has_it() -> None:
    case = next(c for c in cases("functional.softmax") if c.call.arguments.get("dtype"))
    assert f"dtype=torch.{case.call.arguments['dtype']}" in case_text(case)
    trial = Trial(torch_backend, CATALOGUE["functional.softmax"], case)
    assert trial.layer.dtype(trial.outputs[0]) == case.call.arguments["dtype"]


def test_sums_of_torchs_answers_are_within_the_bound_and_not_far_below() -> None:
    worst = 0.0
    for dtype in ("float32", "float64", "bfloat16", "float16"):
        example = exact_operand(np.zeros(1), Precision.of(dtype))
        for count in (2, 3, 17, 129):
            x = torch.randn(2000, count, dtype=torch.float64).to(getattr(torch, dtype))
            distance = (functional.softmax(x, 1).double().sum(1) - 1).abs().max()
            worst = max(worst, float(distance) / sum_error(count, example))
    assert 0.25 < worst <= 1


def _gumbel(x: list[float], **arguments: Any) -> Rounded | Choices:
    return gumbel_softmax({}, exact_operand(np.array(x), Precision.of("float16")), **arguments)


def test_of_one_class_or_one_that_is_not_masked_nothing_is_drawn() -> None:
    for logits in ([3.0], [2.0, -np.inf]):
        soft = _gumbel(logits)
        assert isinstance(soft, Rounded)
        assert (soft.value == [1.0, 0.0][: len(logits)]).all()
        assert not soft.error.any()
    hard = _gumbel([1.0, 2.0], hard=True)
    assert isinstance(hard, Choices)
    assert [y.value.tolist() for y in hard.alternatives] == [[0.0, 0.0], [1.0, 1.0]]


def test_what_overflows_or_is_no_number_is_told_apart() -> None:
    of_nan = _gumbel([np.nan, 1.0])
    assert isinstance(of_nan, Rounded)
    assert np.isnan(of_nan.value).all()
    assert not of_nan.error.any()
    of_overflow = _gumbel([60000.0, 1.0], tau=0.1)
    assert isinstance(of_overflow, Rounded)
    assert np.isinf(of_overflow.error).all()


@pytest.mark.parametrize("tau", [0.1, 1.0, 10.0])
def test_gradients_of_samples_are_within_their_range(tau: float) -> None:
    x = leaf(np.zeros((200, 3)), FLOAT64)
    c = np.random.default_rng(0).standard_normal((200, 3))
    (gradient,) = pull_back([gumbel_softmax({}, x, tau=tau)], [exact_operand(c, FLOAT64)], [x])
    logits = torch.zeros(200, 3, dtype=torch.float64, requires_grad=True)
    sample = functional.gumbel_softmax(logits, tau)
    (got,) = torch.autograd.grad(sample, logits, torch.from_numpy(c))
    ratio = np.abs(got.numpy() - gradient.value) / gradient.error
    assert 0.5 < ratio.max() <= 1


def test_chances_are_those_of_differences_of_gumbel_numbers() -> None:
    generator = np.random.default_rng(1)
    g = generator.gumbel(size=(2, 400_000))
    for difference, tau, w in ((0.5, 2.0, 1.0), (-1.0, 0.1, 1.4), (0.0, 10.0, 0.2)):
        above = _share_above((g[0] + difference - g[1]) / tau, w)
        assert above == pytest.approx(_logistic(difference - tau * w), abs=4e-3)


def _share_above(differences: np.ndarray, w: float) -> float:
    """How often the first of two softmax numbers is above σ(w)."""
    return float((1 / (1 + np.exp(-differences)) > _logistic(w)).mean())


def test_roundings_move_a_chance_by_less_than_said() -> None:
    """Gumbel-softmax with every step stored in bfloat16, on numbers drawn in float64."""
    torch.manual_seed(0)
    exponential = torch.empty(2, 400_000, dtype=torch.float64).exponential_()
    for tau in (0.1, 1.0, 2.0):
        w = min(1.4, 2.0 / tau)
        logs = np.log(exponential.numpy())
        exact = _share_above((logs[1] - logs[0]) / tau, w)
        g = -exponential.bfloat16().log()
        got = float((functional.softmax(g / tau, 0)[0] > _logistic(w)).double().mean())
        assert abs(got - exact) < _slack(Precision.of("bfloat16"), tau) < 0.2


Predicate = Callable[[Any, Any, Any], Any]


def _wrong_backend(name: str, when: Predicate) -> Any:
    """A backend whose function's answer is changed in some calls."""
    original = getattr(functional, name)

    def wrong(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
        axis = resolve_axis(dim, input.dim())
        output = original(input, axis, dtype=dtype)
        return output * 2 + 1 if when(input, dim, dtype) else output

    names = ("softmin", "softmax", "log_softmax", "gumbel_softmax")
    namespace = SimpleNamespace(**{**{n: getattr(functional, n) for n in names}, name: wrong})
    return ModuleBackend("wrong", nn=nn, functional=namespace)


def _first_exceeds_last(x: torch.Tensor) -> bool:
    return x.numel() > 1 and bool(x.reshape(-1)[0] > x.reshape(-1)[-1])


_CONDITIONS = {
    "form": lambda x, dim, dtype: True,
    "shift": lambda x, dim, dtype: bool(x.numel()) and float(x.max()) > 8,
    "order": lambda x, dim, dtype: _first_exceeds_last(x),
    "slices": lambda x, dim, dtype: x.dim() == 2 and 16 < len(x) < 66,
    "axis": lambda x, dim, dtype: dim is not None and dim < 0,
    "mirrored": lambda x, dim, dtype: True,
    "whole": lambda x, dim, dtype: True,
    "logarithm": lambda x, dim, dtype: True,
    "cast": lambda x, dim, dtype: dtype is not None,
}
FAKES = {
    (f"functional.{name}", law): _wrong_backend(name, when)
    for name in ("softmin", "softmax", "log_softmax")
    for law, when in _CONDITIONS.items()
    if law in {x.name for x in CATALOGUE[f"functional.{name}"].laws}
}


class _WrongSoftmax2d(nn.Softmax2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output = super().forward(input)
        return output * 2 + 1 if type(self).when(input, None, None) else output

    when: Any = None


def _wrong_images_backend(when: Predicate) -> Any:
    wrong_class = type("Softmax2d", (_WrongSoftmax2d,), {"when": staticmethod(when)})
    return ModuleBackend("wrong", nn=SimpleNamespace(Softmax2d=wrong_class, Softmax=nn.Softmax))


FAKES |= {
    ("Softmax2d", law): _wrong_images_backend(_CONDITIONS[law])
    for law in ("shift", "order", "whole")
}
FAKES["Softmax2d", "channels"] = _wrong_images_backend(lambda x, dim, dtype: True)
FAKES["Softmax2d", "slices"] = _wrong_images_backend(
    lambda x, dim, dtype: 16 < (x.shape[0] if x.dim() == 4 else x.shape[1]) < 66
)


def _wrong_samples_backend(change: Callable[..., Any]) -> Any:
    def wrong_gumbel_softmax(
        logits: Any, tau: float = 1, hard: bool = False, eps: float = 0.0, dim: int = -1
    ) -> Any:
        return change(functional.gumbel_softmax(logits, tau, hard, dim=dim), logits)

    return ModuleBackend("wrong", functional=SimpleNamespace(gumbel_softmax=wrong_gumbel_softmax))


FAKES[GUMBEL, "whole"] = _wrong_samples_backend(lambda y, x: y * 1.0001)
FAKES[GUMBEL, "certain"] = _wrong_samples_backend(lambda y, x: torch.where(x.isneginf(), 0.01, y))


@pytest.mark.parametrize(("layer", "name"), FAKES)
@pytest.mark.filterwarnings("ignore")
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    assert {law for other, law in FAKES if other == layer} == {
        law.name for law in CATALOGUE[layer].laws
    }
    assert law_findings(FAKES[layer, name], layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    # Casts to half precision: torch's own known failures.
    assert all("dtype=torch." in text for text in findings)


def test_a_tau_a_little_off_is_noticed() -> None:
    def wrong(
        logits: Any, tau: float = 1, hard: bool = False, eps: float = 0.0, dim: int = -1
    ) -> Any:
        return functional.gumbel_softmax(logits, tau * 1.2, hard, dim=dim)

    backend = ModuleBackend("wrong", functional=SimpleNamespace(gumbel_softmax=wrong))
    assert "kept" in first_failure(backend, GUMBEL, "random").message


def test_a_number_is_a_slice_of_one() -> None:
    for layer in (*FUNCTIONS, *MODULES):
        case = next(c for c in cases(layer) if not c.inputs[0].ndim)
        expected = Trial(torch_backend, CATALOGUE[layer], case).expected[0]
        assert expected.shape == ()
        assert float(expected.value) == (0.0 if "og" in layer else 1.0)
        assert replace_argument(CATALOGUE[layer], case, "dim", 1) is None
        assert replace_argument(CATALOGUE[layer], case, "dim", -1) is not None
