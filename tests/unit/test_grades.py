"""Grades of accuracy, the grade that a backend promises, and classes of cases."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from conformance.reports import grades as report_grades

from conformance.arithmetic.grading import (
    numerics_by_grade,
    promised_grade,
    promised_numerics,
    with_bound_of_grade,
)
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.backends import ModuleBackend
from conformance.backends.capabilities import numerics_of
from conformance.items import verdicts
from conformance.items.case_class import case_class
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure
from conformance.model.case import STORED, Call, Case, Examples, Numerics, Verdict
from conformance.model.cause import Excuse
from conformance.model.grades import (
    CLOSE,
    EMPTY,
    EXACT,
    EXTREMAL,
    GRADES,
    LETTERS,
    ONE_ROUNDING,
    ORDINARY,
    STEP_BY_STEP,
    TWO_ROUNDINGS,
    WRONG,
    ClassCounts,
    worst_grade,
)
from conformance.run.engine import Engine

HALF = (torch.bfloat16, torch.float16)


class Port(ModuleBackend):
    """Functions of its own under torch's names, and a declaration for all of them."""

    def __init__(self, numerics: Numerics | None = None, **functions: Any) -> None:
        super().__init__("port", functional=SimpleNamespace(**functions))
        self._declared = numerics

    def numerics(self, dtype: str, device: str = "cpu") -> Any:
        """Return the declaration."""
        return self._declared


def _verdict(backend: Any, layer: str, dtype: str, check: str = "values", n: int = 80) -> Verdict:
    return Engine(backend, n, 0).run(Item(f"functional.{layer}", check, dtype, "cpu"))


# --- ports that store an intermediate result ---


def _llama_rms_norm(
    x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    dtype, axes = x.dtype, tuple(range(-len(normalized_shape), 0))
    if dtype not in HALF:
        return F.rms_norm(x, normalized_shape, weight, eps)
    h = x.float()
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    h = (h * torch.rsqrt(h.pow(2).mean(axes, keepdim=True) + eps)).to(dtype)
    return h if weight is None else weight * h


def _layer_norm_in_steps(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    if x.dtype not in HALF:
        return F.layer_norm(x, normalized_shape, weight, bias, eps)
    y = F.layer_norm(x.float(), normalized_shape, None, None, eps).to(x.dtype)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _axis(x: Any, dim: int | None) -> int:
    return (0 if x.dim() in (0, 1, 3) else 1) if dim is None else dim


def _softmax_of_stored_exponentials(
    x: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Any:
    x, axis = x if dtype is None else x.to(dtype), _axis(x, dim)
    if x.dtype not in HALF or not x.numel():
        return F.softmax(x, axis)
    h = x.float()
    e = (h - h.detach().amax(axis, keepdim=True)).exp().to(x.dtype).float()
    return (e / e.sum(axis, keepdim=True)).to(x.dtype)


def _log_softmax_of_stored_sums(
    x: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Any:
    x, axis = x if dtype is None else x.to(dtype), _axis(x, dim)
    if x.dtype not in HALF or not x.numel():
        return F.log_softmax(x, axis)
    h = x.float()
    shifted = h - h.detach().amax(axis, keepdim=True)
    log_sum = shifted.exp().sum(axis, keepdim=True).log()
    return (shifted.to(x.dtype).float() - log_sum.to(x.dtype).float()).to(x.dtype)


STORING = {
    "rms_norm": (_llama_rms_norm, "normalised"),
    "layer_norm": (_layer_norm_in_steps, "normalised"),
    "softmax": (_softmax_of_stored_exponentials, "exponentials"),
    "log_softmax": (_log_softmax_of_stored_sums, "log_sum"),
}


@pytest.mark.parametrize("check", ["values", "gradients"])
@pytest.mark.parametrize("layer", STORING)
def test_a_port_that_stores_twice_reaches_two_roundings(layer: str, check: str) -> None:
    function, name = STORING[layer]
    verdict = _verdict(Port(**{layer: function}), layer, "float16", check)
    assert verdict.status == "passed", verdict.message
    assert verdict.promised == TWO_ROUNDINGS
    assert report_grades.grade_of(verdict) == TWO_ROUNDINGS
    # The name of the stored result suffices, and nothing less does.
    named = Port(Numerics(stored=(name,)), **{layer: function})
    assert _verdict(named, layer, "float16", check).status == "passed"
    others = tuple(other for other in STORED if other not in (name, "saved_statistics"))
    unnamed = Port(Numerics(stored=others), **{layer: function})
    assert _verdict(unnamed, layer, "float16", check).status == "failed"


def _linear_in_half(x: Any, weight: Any, bias: Any = None) -> Any:
    if x.dtype not in HALF or weight.dim() != 2:
        return F.linear(x, weight, bias)
    total = torch.zeros((*x.shape[:-1], weight.shape[0]), dtype=x.dtype)
    for k in range(weight.shape[1]):
        total = total + x[..., k : k + 1] * weight[:, k]
    return total if bias is None else total + bias


def test_a_port_that_accumulates_in_half_precision_is_wrong() -> None:
    verdict = _verdict(Port(linear=_linear_in_half), "linear", "bfloat16")
    assert verdict.status == "failed"
    assert verdict.grades[WRONG] > 0
    assert report_grades.letter(report_grades.grade_of(verdict)) == "F"
    declared = Port(Numerics(accumulation="bfloat16"), linear=_linear_in_half)
    assert WRONG not in _verdict(declared, "linear", "bfloat16").grades


def test_a_port_of_torchs_own_kernels_gets_a_grade_and_is_not_red() -> None:
    def batch_norm(*arguments: Any, **keywords: Any) -> Any:
        return F.batch_norm(*arguments, **keywords)

    backend = Port(Numerics(flush_to_zero=True), batch_norm=batch_norm)
    verdict = _verdict(backend, "batch_norm", "bfloat16")
    assert verdict.status == "passed", verdict.message
    assert report_grades.grade_of(verdict) == TWO_ROUNDINGS
    strict = Port(Numerics(flush_to_zero=True, grade=ONE_ROUNDING), batch_norm=batch_norm)
    assert _verdict(strict, "batch_norm", "bfloat16").status == "failed"


# --- promises ---


def test_a_promise_of_exact_fails_where_numbers_are_not_rounded_correctly() -> None:
    functions = {
        "relu": lambda x, inplace=False: F.relu(x, inplace),
        "sigmoid": lambda x: torch.sigmoid(x),
    }
    backend = Port(Numerics(grade=EXACT), **functions)
    assert _verdict(backend, "relu", "float32").status == "passed"
    verdict = _verdict(backend, "sigmoid", "float32")
    assert verdict.status == "failed"
    assert set(verdict.grades) == {EXACT, ONE_ROUNDING}
    assert verdict.promised == EXACT


def test_an_error_within_assert_close_has_a_grade_of_its_own() -> None:
    def scaled(x: Any) -> Any:
        return torch.sigmoid(x) * (1 + 1e-6)

    verdict = _verdict(Port(sigmoid=scaled), "sigmoid", "float32")
    assert verdict.status == "failed"
    assert verdict.grades[CLOSE] > 0
    assert WRONG not in verdict.grades
    promise = Port(Numerics(grade=CLOSE), sigmoid=scaled)
    assert _verdict(promise, "sigmoid", "float32").status == "passed"


def test_the_bounds_of_exact_and_close_follow_from_the_format() -> None:
    value = np.array([1.0, 1.5, 3.0, 1e-45, np.inf])
    error = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    exact, close = (
        Rounded(value, error, Precision.of("float32", Numerics(grade=grade)))
        for grade in (EXACT, CLOSE)
    )
    half_units = [2.0**-24, 0.0, 2.0**-23, 2.0**-150, 0.0]
    np.testing.assert_array_equal(with_bound_of_grade(exact).error, half_units)  # type: ignore[union-attr]
    tolerance = 1e-5 + 1.3e-6 * 1.5
    np.testing.assert_array_equal(
        with_bound_of_grade(close).error,  # type: ignore[union-attr]
        [1.0, tolerance, 1.0, 1.0, 0.0],
    )


@pytest.mark.parametrize(
    ("declared", "dtype", "promised"),
    [
        (None, "float32", ONE_ROUNDING),
        (None, "bfloat16", TWO_ROUNDINGS),
        (Numerics(stepwise=True), "float16", STEP_BY_STEP),
        (Numerics(stepwise=True), "float32", ONE_ROUNDING),
        (Numerics(unit_roundoff=2.0**-8), "float16", ONE_ROUNDING),
        (Numerics(grade=ONE_ROUNDING), "float16", ONE_ROUNDING),
        (Numerics(grade=CLOSE), "float64", CLOSE),
    ],
)
def test_the_promised_grade(declared: Numerics | None, dtype: str, promised: str) -> None:
    assert promised_grade(declared, dtype) == promised
    order = [*numerics_by_grade(declared, dtype)]
    assert order == [name for name in GRADES if name in order]
    assert order[-1] == CLOSE
    assert promised_numerics(declared, dtype).grade == promised


@pytest.mark.parametrize(
    "fields",
    [
        {"grade": "two"},
        {"grade": WRONG},
        {"grade": TWO_ROUNDINGS, "stepwise": True},
        {"grade": ONE_ROUNDING, "stored": ("log_sum",)},
    ],
)
def test_a_promise_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="grade"):
        Numerics(**fields)


def test_numerics_may_depend_on_device_and_layer() -> None:
    class ByLayer(ModuleBackend):
        def numerics(self, dtype: str, device: str = "cpu", layer: str = "") -> Numerics:  # type: ignore[override]
            return (
                Numerics(ulp={"exp": 7.0}) if (device, layer) == ("cuda:0", "ELU") else Numerics()
            )

    backend = ByLayer("by-layer")
    assert numerics_of(backend, "float32", "cuda:0", "ELU") == Numerics(ulp={"exp": 7.0})
    assert numerics_of(backend, "float32", "cuda:0", "GELU") == Numerics()
    assert numerics_of(backend, "float32") == Numerics()


def test_numerics_are_not_asked_of_a_dtype_that_is_not_offered() -> None:
    class Narrow(ModuleBackend):
        def offers(self, layer: str, dtype: str, device: str) -> bool:
            return dtype == "float32"

        def numerics(self, dtype: str, device: str = "cpu") -> Numerics:
            return {"float32": Numerics()}[dtype]

        def build(self, call: Call) -> Any:
            named.add(call.arguments.get("dtype"))
            return super().build(call)

    named: set[Any] = set()
    assert _verdict(Narrow("narrow"), "softmax", "float32").status == "passed"
    assert "float64" in named


# --- classes of cases ---


@pytest.mark.parametrize(
    ("dtype", "numbers", "expected"),
    [
        ("float32", [1.0, np.inf, np.nan], ORDINARY),
        ("float32", [-2e19], EXTREMAL),
        ("bfloat16", [2e19], EXTREMAL),
        ("float16", [65504.0], ORDINARY),
        ("float64", [2e19], ORDINARY),
        ("float32", [], EMPTY),
    ],
)
def test_the_class_of_a_case(dtype: str, numbers: list[float], expected: str) -> None:
    case = Case(Call("ReLU", {}, {}, dtype, "cpu"), (np.array(numbers),))
    assert case_class(case) == expected


def _concluded(**classes: ClassCounts) -> Verdict:
    failed = sum(counts.failed for counts in classes.values())
    checked = sum(counts.checked for counts in classes.values())
    examples = Examples(checked, checked, failed=failed, excused=failed, classes=classes)
    item = Item("ReLU", "values", "float32", "cpu")
    verdict = replace(verdicts.open_verdict(item, examples), comparisons=9)
    return verdicts.conclude_verdict(verdict, [Excuse("a bug", "", failed, failed)])


def test_a_known_failure_on_empty_inputs_does_not_make_an_item_known() -> None:
    passing = ClassCounts(9)
    verdict = _concluded(ordinary=passing, empty=ClassCounts(3, 3, 3))
    assert verdict.status == "passed"
    assert verdict.message == "ordinary cases pass; empty fail as known: a bug"
    assert _concluded(ordinary=ClassCounts(9, 1, 1)).status == "known"
    assert _concluded(empty=ClassCounts(3, 3, 3)).status == "known"


@pytest.mark.parametrize(("listed", "status"), [(True, "passed"), (False, "failed")])
def test_a_bug_on_empty_inputs_fails_unless_it_is_listed(listed: bool, status: str) -> None:
    def relu(x: Any, inplace: bool = False) -> Any:
        if not x.numel():
            raise RuntimeError("no elements")
        return F.relu(x, inplace)

    entries = [KnownFailure("functional.relu", "values", "empty inputs", when={"empty": True})]
    engine = Engine(Port(relu=relu), 80, 0, entries if listed else ())
    verdict = engine.run(Item("functional.relu", "values", "float32", "cpu"))
    assert verdict.status == status
    empty, ordinary = verdict.examples.classes[EMPTY], verdict.examples.classes[ORDINARY]
    assert empty.failed == empty.checked > 0
    assert ordinary.failed == 0


# --- reports ---


def test_known_failures_do_not_lower_the_grade_of_a_layer() -> None:
    grades = {EXACT: 3, TWO_ROUNDINGS: 1, WRONG: 2}
    verdict = Verdict(
        "a", "ReLU", "values", "float16", "cpu", "known", grades=grades, promised=TWO_ROUNDINGS
    )
    assert report_grades.grade_of(verdict) == TWO_ROUNDINGS
    assert report_grades.grade_of(replace(verdict, status="failed")) == WRONG
    assert report_grades.worst_of([]) == ""
    assert worst_grade({EXACT: 0}) == EXACT
    assert [*LETTERS.values()] == [*"ABCDEF"]


def test_the_share_of_conforming_cases_is_told_by_class() -> None:
    classes = {
        ORDINARY: ClassCounts(1000, 10),
        EXTREMAL: ClassCounts(100, 9),
        EMPTY: ClassCounts(20, 3),
    }
    text = report_grades.conforming_share(classes, 1120, 22)
    assert text.replace("\u202f", " ") == (
        "99.0 % of 1 000 ordinary, 91.0 % of 100 extremal and 85.0 % of 20 empty"
    )
    assert report_grades.conforming_share({}, 1120, 0).replace("\u202f", " ") == "100 % of 1 120"
