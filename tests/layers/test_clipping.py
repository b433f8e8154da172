"""Measured and clipped gradients: what is drawn, bounds, endless norms, and each law failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch.nn import utils

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.layers.fitting import replace_argument
from conformance.model.case import Call, Case
from conformance.oracles.clipping import clip_grad_norm_, clip_grad_value_, coefficient

FLOAT32, FLOAT16 = Precision.of("float32"), Precision.of("float16")
LAYERS = tuple(name for name, spec in CATALOGUE.items() if spec.family == "clipping")
NAMES = tuple(name.rpartition(".")[2] for name in LAYERS)


def _corners(case: Case) -> set[str]:
    spec = CATALOGUE[case.call.layer]
    arguments = {**spec.signature.defaults, **case.call.arguments}
    gradients = case.inputs[1:] if "total_norm" in spec.signature.input_names[:1] else case.inputs
    arrays = [x for x in gradients if x is not None]
    largest = max(float(np.abs(x).max(initial=0.0)) for x in arrays)
    conditions = {
        "one": len(arrays) == 1,
        "many": len(arrays) == 6,
        "without a gradient": any(x is None for x in gradients),
        "of no dimension": any(x.ndim == 0 for x in arrays),
        "long": max(x.size for x in arrays) > 32,
        "clipped": largest > arguments.get("max_norm", arguments.get("clip_value", np.inf)),
        "not clipped": largest < arguments.get("max_norm", arguments.get("clip_value", 0.0)) / 100,
    }
    names = ("foreach", "norm_type", "error_if_nonfinite")
    options = {f"{name} {arguments[name]}" for name in names if name in arguments}
    return {name for name, holds in conditions.items() if holds} | options


COMMON = {"one", "many", "of no dimension", "long", "foreach None", "foreach True", "foreach False"}
CLIPS = {"without a gradient", "clipped", "not clipped"}
TYPES = {f"norm_type {p}" for p in (2.0, 1.0, 1, "inf", 3.0, 0.5, 1.5)}
FINITE = {"error_if_nonfinite True", "error_if_nonfinite False"}
EVERY = {
    "clip_grad_norm_": COMMON | CLIPS | TYPES | FINITE,
    "clip_grad_value_": COMMON | CLIPS,
    "clip_grads_with_norm_": COMMON | CLIPS,
    "get_total_norm": COMMON | TYPES | FINITE,
}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_corner_is_drawn(layer: str) -> None:
    drawn = [_corners(case) for seed in range(2) for case in cases(layer, seed=seed)]
    assert set().union(*drawn) == EVERY[layer.rpartition(".")[2]]


def _numbers(*values: float) -> Any:
    return exact_operand(np.array(values), FLOAT32)


def test_the_norm_is_that_of_the_norms_and_what_is_small_is_left_as_it_is() -> None:
    output = clip_grad_norm_({}, _numbers(3.0), None, _numbers(4.0), max_norm=10.0)
    total, first, none, last = output.outputs
    assert total.value == 5
    assert none is None
    assert (first.value, last.value) == (3, 4)
    assert not first.error.any()  # the coefficient is 1, whatever the norm is off
    assert output.state.keys() == {"gradient0", "gradient2"}
    half = clip_grad_norm_({}, _numbers(3.0), _numbers(4.0), max_norm=2.5).outputs[1]
    assert half.value == pytest.approx(1.5 / (1 + 2e-7), rel=1e-9)
    # The norm, 10⁻⁶ added, the reciprocal, max_norm times it, the product: a handful of roundings.
    assert 2 * 2.0**-24 * 1.5 < half.error[0] < 12 * 2.0**-24 * 1.5


def test_an_endless_norm_leaves_zeros_and_nan_and_nan_reaches_all() -> None:
    _, first, last = clip_grad_norm_({}, _numbers(1.0, np.inf), _numbers(2.0), max_norm=1.0).outputs
    assert np.array_equal(first.value, [0, np.nan], equal_nan=True)
    assert last.value == 0
    assert not any(x.error.any() for x in (first, last))
    total, first, last = clip_grad_norm_({}, _numbers(np.nan), _numbers(2.0), max_norm=1.0).outputs
    assert all(np.isnan(x.value).all() and not x.error.any() for x in (total, first, last))


def test_a_coefficient_may_be_computed_by_way_of_a_reciprocal_that_is_subnormal() -> None:
    total = exact_operand(np.array(60000.0), FLOAT16)
    factor = coefficient(total, 1000.0)
    torch_factor = torch.tensor(60000.0, dtype=torch.float16).reciprocal() * 1000.0
    assert abs(torch_factor.item() - factor.value) <= factor.error
    assert factor.error < 0.01 * factor.value


def test_values_are_cut_at_what_the_dtype_makes_of_the_clip_value() -> None:
    x = exact_operand(np.array([0.05, 3.0, np.nan, -np.inf]), FLOAT16)
    (output,) = clip_grad_value_({}, x, clip_value=0.1).outputs
    assert output.error[0] == 0 != output.error[1]
    assert abs(float(np.float16(0.1)) - 0.1) <= output.error[1]
    assert np.isnan(output.value[2])
    assert output.error[2] == 0
    assert output.value[3] == -0.1


def _case(name: str, *inputs: Any, **arguments: Any) -> Case:
    arrays = tuple(None if x is None else np.asarray(x) for x in inputs)
    return Case(Call(f"utils.{name}", arguments, {}, "float32", "cpu"), arrays)


def test_gradients_are_those_of_parameters_and_come_behind_the_outputs() -> None:
    case = _case("clip_grad_norm_", [6.0], None, [8.0], max_norm=5.0)
    trial = Trial(torch_backend, CATALOGUE["utils.clip_grad_norm_"], case)
    assert trial.names == ("total_norm", "gradient0", "gradient2")
    assert [x.tolist() for x in trial.arrays] == [10, pytest.approx([3]), pytest.approx([4])]
    assert case_text(case).startswith("utils.clip_grad_norm_([gradient0, None, gradient2], 5.0) on")
    other_case = _case("clip_grads_with_norm_", 4.0, [1.0], max_norm=2.0, foreach=False)
    text = "utils.clip_grads_with_norm_([gradient0], 2.0, total_norm=total_norm, foreach=False) on"
    assert case_text(other_case).startswith(text)


def test_cases_are_fitted_to_other_arguments() -> None:
    spec = CATALOGUE["utils.get_total_norm"]
    case = _case("get_total_norm", [1e30, 1.0])
    assert replace_argument(spec, case, "error_if_nonfinite", True) is None  # its square is none
    fitted = replace_argument(spec, case, "norm_type", 1.0)
    assert fitted is not None
    assert replace_argument(spec, fitted, "error_if_nonfinite", True) is not None


def _wrong_backend(name: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a function of which answers otherwise in some calls."""
    original = {n: getattr(utils, n) for n in NAMES}

    def wrong_function(tensors: Any, *others: Any, **arguments: Any) -> Any:
        change = when(tensors, **arguments)
        result = original[name](tensors, *others, **arguments)
        if change and name.endswith("_"):
            for p in tensors:
                if p.grad is not None:
                    ramp = torch.arange(p.grad.numel()).reshape(p.grad.shape)
                    p.grad.mul_(2).add_(1 + ramp.to(p.grad.dtype))
        return result * 2 + 1 if change and result is not None else result

    namespace = SimpleNamespace(**{**original, name: wrong_function})
    nn = SimpleNamespace(utils=namespace)
    return ModuleBackend("fake", nn=nn, functional=torch.nn.functional)


def _always(tensors: Any, **arguments: Any) -> bool:
    return True


def _is_foreach_off(tensors: Any, foreach: bool | None = None, **arguments: Any) -> bool:
    return foreach is False


def _has_negative_sum(tensors: Any, **arguments: Any) -> bool:
    first = getattr(tensors[0], "grad", None)
    first = tensors[0] if first is None else first
    return bool(first.sum() < 0)


def _is_long_vector(tensors: Any, **arguments: Any) -> bool:
    return tensors[0].dim() == 1 and len(tensors[0]) > 16


def _is_single(tensors: Any, **arguments: Any) -> bool:
    return len(tensors) == 1


FAKES: dict[tuple[str, str], Callable[..., bool]] = {
    ("clip_grad_norm_", "in two"): _always,
    ("clip_grad_norm_", "order"): _has_negative_sum,
    ("clip_grad_norm_", "foreach"): _is_foreach_off,
    ("clip_grad_norm_", "measured"): _always,
    ("clip_grad_norm_", "in steps"): _always,
    ("clip_grad_value_", "alone"): _is_single,
    ("clip_grad_value_", "rows"): _is_long_vector,
    ("clip_grad_value_", "odd"): _has_negative_sum,
    ("clip_grad_value_", "twice"): _always,
    ("clip_grad_value_", "hardtanh"): _always,
    ("clip_grad_value_", "foreach"): _is_foreach_off,
    ("clip_grads_with_norm_", "scaled"): _always,
    ("clip_grads_with_norm_", "alone"): _is_single,
    ("clip_grads_with_norm_", "order"): _has_negative_sum,
    ("clip_grads_with_norm_", "foreach"): _is_foreach_off,
    ("clip_grads_with_norm_", "odd"): _has_negative_sum,
    ("clip_grads_with_norm_", "rows"): _is_long_vector,
    ("get_total_norm", "scaled"): _always,
    ("get_total_norm", "in two"): lambda x, **a: len(x) == 1,
    ("get_total_norm", "order"): _has_negative_sum,
    ("get_total_norm", "foreach"): _is_foreach_off,
    ("get_total_norm", "signs"): _has_negative_sum,
}


def test_every_law_has_a_fake() -> None:
    laws = {(n.rpartition(".")[2], law.name) for n in LAYERS for law in CATALOGUE[n].laws}
    assert laws == set(FAKES)


@pytest.mark.parametrize(("name", "law"), FAKES)
def test_each_law_is_seen_failing(name: str, law: str) -> None:
    assert law_findings(_wrong_backend(name, FAKES[name, law]), f"utils.{name}", law)[1]
    compared, findings = law_findings(torch_backend, f"utils.{name}", law)
    assert compared
    assert not findings
