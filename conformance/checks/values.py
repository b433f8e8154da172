"""`values`: every output element is within the derived bound of the oracle's value."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.exactness import every, some
from conformance.arithmetic.rounded import Rounded
from conformance.arithmetic.ulps import farthest
from conformance.checks.steps import forced
from conformance.checks.trial import Evidence, Trial
from conformance.layers.describe import array_text, number_text
from conformance.model.failure import Failure
from conformance.model.finding import Finding, differs, number
from conformance.model.proof import Proof, beyond, shaped
from conformance.model.uninitialized import unwritten

_WIDEST = 64  # all distances from 2⁶⁴ units in the last place share one histogram key
_BLOCK = 1 << 17  # numbers compared at once: a comparison makes a dozen arrays of that size


def check(trial: Trial) -> Evidence:
    """Compare the outputs, and the state after the call, with the oracle.

    Values must be equal where no rounding is possible, else within bounds. A recurrent layer is
    also compared step by step (`steps`).

    Raises:
        Failure: if any element is further away than its bound.
    """
    return answers(trial) + changed(trial)


def answers(trial: Trial) -> Evidence:
    """Compare the outputs with the oracle, for the whole call and step by step.

    Raises:
        Failure: if any element is further away than its bound.
    """
    evidence = whole(trial)
    for name, got, expected in forced(trial):
        evidence += compare(name, got, expected, when="from the layer's own previous output")
    return evidence


def whole(trial: Trial) -> Evidence:
    """Compare the outputs with the oracle of the whole call only.

    Raises:
        Failure: if any element is further away than its bound.
    """
    evidence = Evidence()
    for name, got, expected in zip(trial.names, trial.arrays, trial.expected, strict=True):
        evidence += compare(name, got, expected)
        evidence += nearness(trial, name, got, expected)
    return evidence


def nearness(trial: Trial, name: str, got: np.ndarray, expected: Rounded | Choices) -> Evidence:
    """The largest error of an elementwise layer, and the input where it occurs.

    `got` is within the bounds of `expected`; both have the shape of the first input.
    """
    at = trial.case.inputs[0]
    if trial.row.generation.whole is None or at is None or isinstance(expected, Choices):
        return Evidence()
    wanted = np.where(expected.decided, expected.value, np.nan)
    return Evidence(farthest=farthest(at, got, wanted, trial.case.call.dtype, name))


def changed(trial: Trial) -> Evidence:
    """Compare the state after the call with the oracle; the trial has been called once.

    Raises:
        Failure: if any element is further away than its bound.
    """
    evidence = Evidence()
    for name, expected in trial.after.state.items():
        got = trial.held(name)
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
        expected: values and bounds of the same shape. Of several right values one is enough. NaN
            with error 0 requires NaN, and an infinity requires the same infinity.
        when, kind: see `Finding`.

    Raises:
        Failure: with got, wanted and bound at the worst element.
    """
    if got.shape != expected.shape:
        found = differs("shape", name, got.shape, expected.shape, when=when)
        raise Failure(found, shaped(got, expected.shape))
    if isinstance(expected, Choices):
        return _compared(got, expected.nearest(got), Finding(kind, name, when), expected)
    if not expected.doubtful and got.size and np.array_equal(got, expected.value):
        return Evidence(got.size, None, {"exact": got.size})
    if got.size > _BLOCK:
        try:
            return _halves(got, expected)
        except Failure:
            pass  # compare everything at once: the message reports the worst element of all
    return _compared(got, expected, Finding(kind, name, when))


def _halves(got: np.ndarray, expected: Rounded) -> Evidence:
    """Compare each half of the longest axis separately."""
    axis = int(np.argmax(got.shape))
    before, half = (slice(None),) * axis, got.shape[axis] // 2
    evidence = Evidence()
    for part in ((*before, slice(half)), (*before, slice(half, None))):
        inner = Rounded(expected.value[part], expected.error[part], expected.precision)
        compared = _halves if inner.value.size > _BLOCK else _compared
        evidence += compared(got[part], inner)
    return evidence


def _compared(
    got: np.ndarray,
    expected: Rounded,
    about: Finding = Finding("value"),  # noqa: B008 - frozen
    choices: Choices | None = None,
) -> Evidence:
    decided = expected.decided
    count = int(np.count_nonzero(decided))
    if not count:
        return Evidence()
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.asarray(np.abs(got - expected.value))
        within = np.asarray(distance <= expected.error)
    if not every(within):
        missing = np.isnan(got) & np.isnan(expected.value)
        wrong = decided & ~(within | (got == expected.value) | missing)
        if some(wrong):
            worst = _worst(about, got, expected, distance, wrong, choices)
            raise Failure(worst, _proof(worst, got, choices or expected))
    # Other distances are finite now, except NaN between equal infinities.
    bounded = within & (expected.error > 0)
    if count < decided.size:
        bounded &= decided
    ratios = _chosen(distance, bounded) / _chosen(expected.error, bounded)
    margin = float(ratios.max()) if ratios.size else None
    further = distance > 0
    if count < decided.size:
        further &= decided
    return Evidence(count, margin, _ulps(distance, expected, further, count), _powers(ratios))


def _chosen(array: np.ndarray, which: np.ndarray) -> np.ndarray:
    """`array[which]` as one dimension, without a copy if it selects everything."""
    return array.reshape(-1) if every(which) else array[which]


def _exponents(numbers: np.ndarray) -> np.ndarray:
    """`numpy.frexp(numbers)[1]` of finite numbers ≥ 0, read off their bits, which is faster."""
    exponents = numbers.view(np.int64) >> 52
    if not every(exponents):  # there is a zero, or a subnormal number
        return np.asarray(np.frexp(numbers)[1])
    return exponents - 1022


def _powers(ratios: np.ndarray) -> dict[str, int]:
    """Histogram of the ratios in powers of 2."""
    found: dict[str, int] = {}
    if not ratios.size:
        return found
    # A ratio of 1 counts with those below it: it is still within the bound.
    below = _chosen(ratios, ratios > 0).view(np.int64) - 1
    exponents = np.maximum(_exponents(below.view(np.float64)) - 1, -_WIDEST)
    if ratios.size > exponents.size:
        found["exact"] = ratios.size - exponents.size
    if exponents.size:
        lowest = int(exponents.min())
        for above, number in enumerate(np.bincount(exponents - lowest).tolist()):
            if number:
                found[str(lowest + above)] = number
    return found


def _ulps(
    distance: np.ndarray, expected: Rounded, further: np.ndarray, compared: int
) -> dict[str, int]:
    """Histogram of the distances in powers of 2 of a unit in the last place."""
    found: dict[str, int] = {}
    if compared > (count := int(np.count_nonzero(further))):
        found["exact"] = compared - count
    if count:
        precision = expected.precision
        size = np.abs(_chosen(expected.value, further))
        normal = _exponents(size) + math.frexp(precision.unit)[1]
        smallest = math.frexp(precision.underflow)[1]
        powers = _exponents(_chosen(distance, further)) - np.maximum(normal, smallest)
        lowest = int(powers.min())
        for above, number in enumerate(np.bincount(powers - lowest).tolist()):
            if number:
                power = str(max(-_WIDEST, min(_WIDEST, lowest + above)))
                found[power] = found.get(power, 0) + number
    return found


def _proof(worst: Finding, got: np.ndarray, expected: Rounded | Choices) -> Proof:
    ways = expected.alternatives if isinstance(expected, Choices) else (expected,)
    where = worst.where or ()
    return beyond(got, where, [(np.asarray(x.value), np.asarray(x.error)) for x in ways])


def _worst(
    about: Finding,
    got: np.ndarray,
    expected: Rounded,
    distance: np.ndarray,
    wrong: np.ndarray,
    choices: Choices | None = None,
) -> Finding:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        excess = np.where(wrong, distance / np.maximum(expected.error, 5e-324), -1.0)
    excess = np.where(wrong & np.isnan(excess), np.inf, excess)
    where = np.unravel_index(int(np.argmax(excess)), got.shape)
    found = located(about, got, expected.value, wrong, tuple(map(int, where)))
    if choices is not None:
        several = (number_text(x.value[where].item()) for x in choices.alternatives)
        found = replace(found, wanted=" or ".join(dict.fromkeys(several)))
    return replace(
        found,
        bound=number(float(expected.error[where])),
        error=number(float(distance[where])),
    )


def located(
    about: Finding, got: np.ndarray, wanted: np.ndarray, wrong: np.ndarray, where: tuple[int, ...]
) -> Finding:
    """Add to a finding the wrong element at `where`, the number of wrong ones, and excerpts."""
    found = replace(
        about,
        where=where,
        got=number_text(got[where].item()),
        wanted=number_text(wanted[where].item()),
        wrong=int(wrong.sum()),
        of=got.size,
        excerpt=(array_text(got), array_text(wanted)),
    )
    left = unwritten(got[wrong])
    return found.noting(f"  {left} of the wrong elements were never written") if left else found
