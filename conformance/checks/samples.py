"""Tests of random numbers against the documented distribution.

Each test fails a correct layer with a probability below `FALSE_ALARM`. The distance between the
empirical and the documented distribution is bounded by Massart's inequality (`spec.state`). The
largest of n numbers has a share of at least q above it with probability (1 − q)ⁿ ≤ e^(−qn).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.checks.trial import Evidence
from conformance.layers.describe import array_text
from conformance.model.failure import Failure
from conformance.model.finding import Finding, fact_mismatch
from conformance.model.proof import Proof
from conformance.spec.draws import Sample
from conformance.spec.state import FALSE_ALARM, allowed_distance

_MIN_FOR_REPETITION = 9  # so many numbers of eight bits are all equal with probability 2⁻⁶⁴
_MAX_RANKS = 4096  # numbers at which the distribution function is evaluated


def check_sample(sample: Sample) -> Evidence:
    """Test a sample against its distribution.

    Raises:
        Failure: if a number is beyond the ends, if the distribution is wrong, if the outermost
            numbers are too far from the ends, or if draws repeat.
    """
    got = sample.got
    if not got.size:
        return Evidence()
    low, high = sample.ends
    if not ((got >= low) & (got <= high)).all():
        lines: tuple[str, ...] = ("failed = not bool(((got >= low) & (got <= high)).all())",)
        span = array_text(np.array([got.min(), got.max()]))
        _fail(sample, "range", span, f"from {low:.9g} to {high:.9g}", lines, low=low, high=high)
    if got.size >= _MIN_FOR_REPETITION:
        for where, repeats, lines, arrays in _repetitions(sample):
            if repeats:
                finding = Finding(
                    "random", sample.name, f"{sample.call_text} has the same numbers {where}"
                )
                raise Failure(finding, Proof(lines, {"got": (got, None), **arrays}))
    _check_distribution(sample)
    return Evidence(got.size)


def _repetitions(sample: Sample) -> Iterator[tuple[str, bool, tuple[str, ...], dict[str, Any]]]:
    got = sample.got
    for axis in range(got.ndim):
        if got.shape[axis] > 1 and got.size // got.shape[axis] >= _MIN_FOR_REPETITION:
            lines = (f"failed = bool((got == got.take([0], {axis})).all())",)
            yield f"along axis {axis}", bool((got == got.take([0], axis)).all()), lines, {}
    if sample.second_call is not None:
        lines = ("failed = np.array_equal(got, again)",)
        arrays = {"again": (sample.second_call, None)}
        yield "in a second call", np.array_equal(got, sample.second_call), lines, arrays


def _check_distribution(sample: Sample) -> None:
    """Test the distance from the distribution, and the outermost number at either end."""
    drawn, count = np.sort(sample.got, axis=None), sample.got.size
    # Fewer places only weaken the test.
    ranks = np.unique(np.linspace(0, count - 1, min(count, _MAX_RANKS)).astype(int))
    below = sample.distribution.cdf(drawn[ranks])
    distance = float(max(np.max((ranks + 1) / count - below), np.max(below - ranks / count)))
    allowed = allowed_distance(count, sample.slack)
    if distance > allowed:
        lines = (
            "drawn = np.sort(got, axis=None)",
            *sample.distribution.code,
            "ranks = np.arange(drawn.size + 1) / drawn.size",
            "away = max(np.max(ranks[1:] - below), np.max(below - ranks[:-1]))",
            'print("away", away)',
            "failed = bool(away > allowed)",
        )
        text = f"the distribution of {count} numbers is {distance:.3g} away"
        wanted = f"at most {allowed:.3g} away from {sample.distribution.text}"
        _fail(sample, sample.name, text, wanted, lines, allowed=allowed)
    beyond = -math.log(FALSE_ALARM) / count + sample.slack
    for end, share, expression in (
        ("least", float(below[0]), "below[0]"),
        ("largest", 1 - float(below[-1]), "1 - below[-1]"),
    ):
        if share > beyond:
            lines = (
                "drawn = np.sort(got, axis=None)",
                *sample.distribution.code,
                f"failed = bool({expression} > beyond)",
            )
            text = f"the {end} of {count} numbers has {share:.3g} of them beyond it"
            wanted = f"at most {beyond:.3g} by {sample.distribution.text}"
            _fail(sample, sample.name, text, wanted, lines, beyond=beyond)


def _fail(
    sample: Sample, name: str, got: str, wanted: str, lines: tuple[str, ...], **constants: float
) -> None:
    finding = fact_mismatch("random", name, got, wanted, when=sample.call_text)
    raise Failure(finding, Proof(lines, {"got": (sample.got, None)}, constants))
