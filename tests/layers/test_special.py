"""`special`: torch passes, planted bugs are caught, and what IEEE leaves open is left open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest
import torch
from planted.bug import replacement_namespaces
from support import SpoiledBackend, first_failure

from conformance.arithmetic.rounded import Rounded
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import numerics_of
from conformance.checks import special
from conformance.checks.trial import Evidence, Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, Numerics
from conformance.model.failure import Failure, Inapplicable

NAN, INF = float("nan"), float("inf")
BUGS = [bug for bug in planted.BUGS if bug.check == "special"]
DTYPES = ("float32", "float16", "float64")


def _expected_classes(trial: Trial) -> tuple[Rounded, ...]:
    return trial.spec.oracle.propagation.expected(trial)


def _trial(backend: Any, case: Case, numerics: Numerics | None = None) -> Trial:
    numerics = numerics or numerics_of(backend, case.call.dtype)
    return Trial(backend, CATALOGUE[case.call.layer], case, numerics)


def _check(backend: Any, case: Case, numerics: Numerics | None = None) -> Evidence:
    return special.check(_trial(backend, case, numerics))


def _backend(bug: planted.Bug) -> ModuleBackend:
    return ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))


def _linear(input: list[float], weight: list[float], dtype: str = "float32") -> Case:
    call = Call("functional.linear", {}, {}, dtype, "cpu")
    return Case(call, (np.array([input]), np.array([weight]), None))


@pytest.mark.parametrize("bug", [pytest.param(bug, id=bug.name) for bug in BUGS])
def test_bug_is_caught(bug: planted.Bug) -> None:
    searches = (first_failure(_backend(bug), bug.layer, "special", dtype) for dtype in DTYPES)
    assert any(search.failure for search in searches), bug.story


@pytest.mark.parametrize("layer", ["Conv2d", "ConvTranspose1d", "LSTM", "GRUCell", "Linear", "RNN"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_passes(layer: str, dtype: str) -> None:
    search = first_failure(torch_backend, layer, "special", dtype)
    assert search.passed, search


@pytest.mark.parametrize(
    ("input", "weight", "wanted"),
    [
        ([NAN, 1.0], [0.0, 1.0], NAN),
        ([INF, 1.0], [2.0, -3.0], INF),
        ([INF, 1.0], [-2.0, -3.0], -INF),
        ([INF, -INF], [1.0, 1.0], NAN),
        ([INF, 1.0], [0.0, 1.0], NAN),
        ([INF, 3e38], [1.0, -3e38], None),  # ∞ or, if the product overflows, NaN
        ([3e38, 3e38], [1.0, 1.0], INF),
        ([3e38, 3e38, -3e38], [1.0, 1.0, 1.0], None),  # by the order of the sum
        ([-0.0, 2.0], [1.0, 4.0], 8.0),
    ],
)
def test_classes_of_a_sum(input: list[float], weight: list[float], wanted: float | None) -> None:
    case = _linear([float(np.float32(x)) for x in input], [float(np.float32(w)) for w in weight])
    (expected,) = _expected_classes(_trial(torch_backend, case))
    if wanted is None:
        assert not np.isfinite(expected.error).any()
    else:
        np.testing.assert_array_equal(expected.value, [[wanted]])
        assert np.isfinite(expected.error).all()


def test_half_precision_sums_of_linear_may_pass_the_largest_number() -> None:
    case = _linear([60000.0, 60000.0, -60000.0, INF], [1.0, 1.0, 1.0, 1.0], "float16")
    inputs = (case.inputs[0][:, :3], case.inputs[1][:, :3], None)  # type: ignore[index]
    (expected,) = _expected_classes(_trial(torch_backend, replace(case, inputs=inputs)))
    assert np.isfinite(expected.error).all()
    assert expected.value.item() == 60000.0


def test_bilinear_order_of_contraction_leaves_cancelled_infinities_open() -> None:
    call = Call("functional.bilinear", {}, {}, "float32", "cpu")
    inputs = (np.array([[INF]]), np.array([[1.0, 1.0]]), np.array([[[3.0, -1.0]]]), None)
    (expected,) = _expected_classes(_trial(torch_backend, Case(call, inputs)))
    assert np.isinf(expected.error).all()


def test_one_infinity_saturates_a_cell_and_two_are_left_open() -> None:
    state = {"weight_ih": np.array([[2.0, 3.0], [-1.0, 1.0]]), "weight_hh": np.ones((2, 2))}
    arguments = {"input_size": 2, "hidden_size": 2, "bias": False}
    call = Call("RNNCell", arguments, state, "float32", "cpu")
    case = Case(call, (np.array([[INF, 1.0]]), None))
    (expected,) = _expected_classes(_trial(torch_backend, case))
    np.testing.assert_array_equal(expected.value, [[1.0, -1.0]])
    assert expected.error.max() < 1e-5
    two_infinities = replace(case, inputs=(np.array([[INF, -INF]]), None))
    (expected,) = _expected_classes(_trial(torch_backend, two_infinities))
    assert np.isinf(expected.error).all()


def test_an_inexact_algorithm_may_spread_nan_but_not_lose_it() -> None:
    call = Call("functional.conv1d", {}, {}, "float32", "cpu")
    case = Case(call, (np.array([[[1.0, 2.0, NAN, 4.0]]]), np.ones((1, 1, 2)), None))
    spread = SpoiledBackend("spread", lambda y, _: torch.full_like(y, NAN))
    lost = SpoiledBackend("lost", lambda y, _: y.nan_to_num())
    with pytest.raises(Failure, match="got    nan"):
        _check(spread, case)
    assert _check(spread, case, Numerics(inexact=("winograd",))).comparisons == 2
    with pytest.raises(Failure, match="wanted nan"):
        _check(lost, case, Numerics(inexact=("winograd",)))


def test_only_a_declared_flush_to_zero_is_forgiven() -> None:
    call = Call("functional.conv1d", {}, {}, "float32", "cpu")
    case = Case(call, (np.full((1, 1, 2), 2.0**-140), np.ones((1, 1, 1)), None), seed=1)
    flushed = SpoiledBackend("flushed", lambda y, _: torch.where(y.abs() < 2.0**-126, 0 * y, y))
    with pytest.raises(Failure, match="wanted"):
        _check(flushed, case)
    assert _check(flushed, case, Numerics(flush_to_zero=True)).comparisons


def test_odd_channels_in_bfloat16_leak_in_torch() -> None:
    """A known failure of torch on CPUs whose oneDNN multiplies bfloat16 in pairs."""
    call = Call("functional.conv1d", {}, {}, "bfloat16", "cpu")
    case = Case(call, (np.array([[[1.0, 1.0, NAN]]]), np.ones((1, 1, 2)), None))
    (expected,) = _expected_classes(_trial(torch_backend, case))
    np.testing.assert_array_equal(expected.value, [[[2.0, NAN]]])


def test_the_sign_of_zero_counts_where_nothing_is_added() -> None:
    case = Case(Call("Identity", {}, {}, "float32", "cpu"), (np.array([-0.0, INF]),))
    assert _check(torch_backend, case).comparisons > 2
    with pytest.raises(Failure, match="sign of output"):
        _check(SpoiledBackend("added", lambda y, _: y + 0.0), case)


def test_integers_are_beside_the_point() -> None:
    case = Case(Call("Identity", {}, {}, "float32", "cpu"), (np.arange(3),))
    with pytest.raises(Inapplicable):
        _check(torch_backend, case)


def test_two_factors_of_a_bilinear_form_may_overflow_before_a_zero() -> None:
    state = {"weight": np.full((1, 1, 1), 2.0**100), "bias": np.zeros(1)}
    sizes = {"in1_features": 1, "in2_features": 1, "out_features": 1}
    call = Call("Bilinear", sizes, state, "float32", "cpu")
    # x₁·A is infinite, and ∞·0 NaN; with A·x₂ first it is 0.
    case = Case(call, (np.array([[2.0**100], [-np.inf]]), np.zeros((2, 1))))
    assert np.isnan(_trial(torch_backend, case).arrays[0]).all()
    assert _check(torch_backend, case) == Evidence()  # both are left open
