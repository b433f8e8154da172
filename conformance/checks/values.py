"""`values`: every output element is within the derived bound of the oracle's value."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.exactness import all_true, any_true
from conformance.arithmetic.grading import with_bound_of_grade
from conformance.arithmetic.rounded import Rounded
from conformance.arithmetic.ulps import find_farthest
from conformance.backends.foreign_calls import HOOKS
from conformance.checks.steps import teacher_forced_steps
from conformance.checks.trial import Evidence, Trial
from conformance.layers.describe import array_text, number_text
from conformance.model.failure import Failure
from conformance.model.finding import Finding, fact_mismatch, json_number
from conformance.model.proof import Proof, out_of_bounds_proof, shape_proof
from conformance.model.uninitialized import count_unwritten

_MAX_POWER = 64  # histograms count powers beyond ±64 under the last key
_BLOCK = 1 << 17  # numbers compared at once: a comparison allocates a dozen arrays of this size


def check(trial: Trial) -> Evidence:
    """Compare the outputs, and the state after the call, with the oracle.

    Values must be equal where no rounding is possible, else within bounds. A recurrent layer is
    also compared step by step (`teacher_forced_steps`).

    Raises:
        Failure: if any element is further away than its bound.
    """
    return compare_outputs_and_steps(trial) + compare_state(trial)


def compare_outputs_and_steps(trial: Trial) -> Evidence:
    """Compare the outputs with the oracle, for the whole call and step by step.

    Raises:
        Failure: if any element is further away than its bound.
    """
    evidence = compare_outputs(trial)
    for name, got, expected in teacher_forced_steps(trial):
        evidence += compare(name, got, expected, when="from the layer's own previous output")
    return evidence


def compare_outputs(trial: Trial) -> Evidence:
    """Compare the outputs with the oracle of the whole call only.

    Raises:
        Failure: if any element is further away than its bound.
    """
    evidence = Evidence()
    for name, got, expected in zip(trial.names, trial.arrays, trial.expected, strict=True):
        evidence += compare(name, got, expected)
        evidence += largest_error(trial, name, got, expected)
    return evidence


def largest_error(
    trial: Trial, name: str, got: np.ndarray, expected: Rounded | Choices
) -> Evidence:
    """The largest error of an elementwise layer, and the input where it occurs.

    `got` is within the bounds of `expected`; both have the shape of the first input.
    """
    first_input = trial.case.inputs[0]
    if (
        trial.spec.generation.exhaustive_cases is None
        or first_input is None
        or isinstance(expected, Choices)
    ):
        return Evidence()
    decided_values = np.where(expected.decided, expected.value, np.nan)
    return Evidence(
        farthest=find_farthest(first_input, got, decided_values, trial.case.call.dtype, name)
    )


def compare_state(trial: Trial) -> Evidence:
    """Compare the state after the call with the oracle; the trial has been called once.

    Raises:
        Failure: if any element is further away than its bound.
    """
    evidence = Evidence()
    for name, expected in trial.expected_update.state.items():
        got = trial.updated_tensor(name)
        evidence += compare(name, got, expected, when="after the call")
    return evidence


def compare(
    name: str,
    got: np.ndarray,
    expected: Rounded | Choices,
    *,
    when: str = "",
    kind: str = "value",
) -> Evidence:
    """Compare one array element by element.

    Args:
        name: of the array, for the message.
        got: the backend's values.
        expected: values and bounds of the same shape. Of `Choices`, an element need match one only.
            NaN with error 0 requires NaN, and an infinity requires the same infinity.
        when, kind: see `Finding`.

    Raises:
        Failure: with got, wanted and bound at the worst element.
    """
    if got.shape != expected.shape:
        finding = fact_mismatch("shape", name, got.shape, expected.shape, when=when)
        raise Failure(finding, shape_proof(got, expected.shape))
    if HOOKS.get().dry_run:
        return Evidence()
    expected = with_bound_of_grade(expected)
    if isinstance(expected, Choices):
        return _compare_arrays(got, expected.nearest(got), Finding(kind, name, when), expected)
    if not expected.any_inexact and got.size and np.array_equal(got, expected.value):
        return Evidence(got.size, None, {"exact": got.size})
    if got.size > _BLOCK:
        try:
            return _compare_halves(got, expected)
        except Failure:
            pass  # compare everything at once: the message reports the worst element of all
    return _compare_arrays(got, expected, Finding(kind, name, when))


def _compare_halves(got: np.ndarray, expected: Rounded) -> Evidence:
    """Compare each half of the longest axis separately."""
    axis = int(np.argmax(got.shape))
    leading, half = (slice(None),) * axis, got.shape[axis] // 2
    evidence = Evidence()
    for part in ((*leading, slice(half)), (*leading, slice(half, None))):
        expected_part = Rounded(expected.value[part], expected.error[part], expected.precision)
        compare_part = _compare_halves if expected_part.value.size > _BLOCK else _compare_arrays
        evidence += compare_part(got[part], expected_part)
    return evidence


def _compare_arrays(
    got: np.ndarray,
    expected: Rounded,
    finding: Finding = Finding("value"),  # noqa: B008 - frozen
    choices: Choices | None = None,
) -> Evidence:
    decided = expected.decided
    count = int(np.count_nonzero(decided))
    if not count:
        return Evidence()
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.asarray(np.abs(got - expected.value))
        within = np.asarray(distance <= expected.error)
    if not all_true(within):
        both_nan = np.isnan(got) & np.isnan(expected.value)
        wrong = decided & ~(within | (got == expected.value) | both_nan)
        if any_true(wrong):
            worst = _worst_finding(finding, got, expected, distance, wrong, choices)
            raise Failure(worst, _proof(worst, got, choices or expected))
    # The remaining distances are finite, except for NaN between equal infinities.
    bounded = within & (expected.error > 0)
    if count < decided.size:
        bounded &= decided
    ratios = _select(distance, bounded) / _select(expected.error, bounded)
    margin = float(ratios.max()) if ratios.size else None
    inexact = distance > 0
    if count < decided.size:
        inexact &= decided
    ulps, is_exact = _count_ulp_powers(distance, expected, inexact, count)
    return Evidence(count, margin, ulps, _count_ratio_powers(ratios), is_exact=is_exact)


def _select(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`array[mask]` as one dimension, without a copy if the mask selects everything."""
    return array.reshape(-1) if all_true(mask) else array[mask]


def _exponents(numbers: np.ndarray) -> np.ndarray:
    """`numpy.frexp(numbers)[1]` of finite numbers ≥ 0, read off their bits, which is faster."""
    exponents = numbers.view(np.int64) >> 52
    if not all_true(exponents):  # zeros and subnormal numbers have exponent bits of 0
        return np.asarray(np.frexp(numbers)[1])
    return exponents - 1022


def _count_ratio_powers(ratios: np.ndarray) -> dict[str, int]:
    """Histogram of error ÷ bound in powers of 2."""
    counts: dict[str, int] = {}
    if not ratios.size:
        return counts
    # A ratio of 1 counts with those below it: it is still within the bound.
    below = _select(ratios, ratios > 0).view(np.int64) - 1
    exponents = np.maximum(_exponents(below.view(np.float64)) - 1, -_MAX_POWER)
    if ratios.size > exponents.size:
        counts["exact"] = ratios.size - exponents.size
    if exponents.size:
        lowest = int(exponents.min())
        for offset, number in enumerate(np.bincount(exponents - lowest).tolist()):
            if number:
                counts[str(lowest + offset)] = number
    return counts


def _count_ulp_powers(
    distance: np.ndarray, expected: Rounded, inexact: np.ndarray, compared: int
) -> tuple[dict[str, int], bool]:
    """Histogram of the distances in powers of 2 of a unit in the last place.

    The second result says whether all distances are at most half a unit.
    """
    counts: dict[str, int] = {}
    is_exact = True
    if compared > (count := int(np.count_nonzero(inexact))):
        counts["exact"] = compared - count
    if count:
        precision = expected.precision
        magnitude = np.abs(_select(expected.value, inexact))
        normal_ulp = _exponents(magnitude) + math.frexp(precision.unit)[1]
        smallest = math.frexp(precision.underflow)[1]
        distances, ulp = _select(distance, inexact), np.maximum(normal_ulp, smallest)
        is_exact = all_true(np.ldexp(distances, 1 - ulp) <= 0.5)
        powers = _exponents(distances) - ulp
        lowest = int(powers.min())
        for offset, number in enumerate(np.bincount(powers - lowest).tolist()):
            if number:
                power = str(max(-_MAX_POWER, min(_MAX_POWER, lowest + offset)))
                counts[power] = counts.get(power, 0) + number
    return counts, is_exact


def _proof(worst: Finding, got: np.ndarray, expected: Rounded | Choices) -> Proof:
    alternatives = expected.alternatives if isinstance(expected, Choices) else (expected,)
    where = worst.where or ()
    return out_of_bounds_proof(
        got, where, [(np.asarray(x.value), np.asarray(x.error)) for x in alternatives]
    )


def _worst_finding(
    finding: Finding,
    got: np.ndarray,
    expected: Rounded,
    distance: np.ndarray,
    wrong: np.ndarray,
    choices: Choices | None = None,
) -> Finding:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        error_ratio = np.where(wrong, distance / np.maximum(expected.error, 5e-324), -1.0)
    error_ratio = np.where(wrong & np.isnan(error_ratio), np.inf, error_ratio)
    where = np.unravel_index(int(np.argmax(error_ratio)), got.shape)
    located_finding = finding_at(finding, got, expected.value, wrong, tuple(map(int, where)))
    if choices is not None:
        alternatives = (number_text(x.value[where].item()) for x in choices.alternatives)
        located_finding = replace(located_finding, wanted=" or ".join(dict.fromkeys(alternatives)))
    return replace(
        located_finding,
        bound=json_number(float(expected.error[where])),
        error=json_number(float(distance[where])),
    )


def finding_at(
    finding: Finding, got: np.ndarray, wanted: np.ndarray, wrong: np.ndarray, where: tuple[int, ...]
) -> Finding:
    """Add to a finding the wrong element at `where`, the number of wrong ones, and excerpts."""
    complete = replace(
        finding,
        where=where,
        got=number_text(got[where].item()),
        wanted=number_text(wanted[where].item()),
        wrong=int(wrong.sum()),
        of=got.size,
        excerpt=(array_text(got), array_text(wanted)),
    )
    unwritten_count = count_unwritten(got[wrong])
    return (
        complete.noting(f"  {unwritten_count} of the wrong elements were never written")
        if unwritten_count
        else complete
    )
