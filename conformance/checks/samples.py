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
from conformance.model.finding import Finding, differs
from conformance.model.proof import Proof
from conformance.spec.draws import Sample
from conformance.spec.state import FALSE_ALARM, allowed_distance

_ENOUGH = 9  # so many numbers of eight bits are all equal with probability 2⁻⁶⁴
_MOST = 4096  # numbers at which the distribution function is evaluated


def sampled(found: Sample) -> Evidence:
    """Test a sample against its distribution.

    Raises:
        Failure: if a number is beyond the ends, if the distribution is wrong, if the outermost
            numbers are too far from the ends, or if draws repeat.
    """
    got = found.got
    if not got.size:
        return Evidence()
    low, high = found.ends
    if not ((got >= low) & (got <= high)).all():
        lines: tuple[str, ...] = ("failed = not bool(((got >= low) & (got <= high)).all())",)
        span = array_text(np.array([got.min(), got.max()]))
        _fail(found, "range", span, f"from {low:.9g} to {high:.9g}", lines, low=low, high=high)
    if got.size >= _ENOUGH:
        for text, same, lines, more in _repetitions(found):
            if same:
                about = Finding("random", found.name, f"{found.what} has the same numbers {text}")
                raise Failure(about, Proof(lines, {"got": (got, None), **more}))
    _distributed(found)
    return Evidence(got.size)


def _repetitions(found: Sample) -> Iterator[tuple[str, bool, tuple[str, ...], dict[str, Any]]]:
    got = found.got
    for axis in range(got.ndim):
        if got.shape[axis] > 1 and got.size // got.shape[axis] >= _ENOUGH:
            lines = (f"failed = bool((got == got.take([0], {axis})).all())",)
            yield f"along axis {axis}", bool((got == got.take([0], axis)).all()), lines, {}
    if found.again is not None:
        lines = ("failed = np.array_equal(got, again)",)
        again = {"again": (found.again, None)}
        yield "in a second call", np.array_equal(got, found.again), lines, again


def _distributed(found: Sample) -> None:
    """Test the distance from the distribution, and the outermost number at either end."""
    drawn, count = np.sort(found.got, axis=None), found.got.size
    # Fewer places only weaken the test.
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST)).astype(int))
    below = found.distribution.below(drawn[places])
    away = float(max(np.max((places + 1) / count - below), np.max(below - places / count)))
    allowed = allowed_distance(count, found.slack)
    if away > allowed:
        lines = (
            "drawn = np.sort(got, axis=None)",
            *found.distribution.code,
            "ranks = np.arange(drawn.size + 1) / drawn.size",
            "away = max(np.max(ranks[1:] - below), np.max(below - ranks[:-1]))",
            'print("away", away)',
            "failed = bool(away > allowed)",
        )
        text = f"the distribution of {count} numbers is {away:.3g} away"
        wanted = f"at most {allowed:.3g} away from {found.distribution.text}"
        _fail(found, found.name, text, wanted, lines, allowed=allowed)
    beyond = -math.log(FALSE_ALARM) / count + found.slack
    for end, share, shown in (
        ("least", float(below[0]), "below[0]"),
        ("largest", 1 - float(below[-1]), "1 - below[-1]"),
    ):
        if share > beyond:
            lines = (
                "drawn = np.sort(got, axis=None)",
                *found.distribution.code,
                f"failed = bool({shown} > beyond)",
            )
            text = f"the {end} of {count} numbers has {share:.3g} of them beyond it"
            wanted = f"at most {beyond:.3g} by {found.distribution.text}"
            _fail(found, found.name, text, wanted, lines, beyond=beyond)


def _fail(
    found: Sample, name: str, got: str, wanted: str, lines: tuple[str, ...], **known: float
) -> None:
    about = differs("random", name, got, wanted, when=found.what)
    raise Failure(about, Proof(lines, {"got": (found.got, None)}, known))
