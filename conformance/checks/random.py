"""`random`: masks, rates and distributions of layers that draw random numbers.

Each test of a rate fails a correct layer with a probability below 1e-10. By Chernoff's bound, the
mean of n draws of rate r is at least as far away as m with a probability of at most
e^(-n·KL(m, r)) on either side. For disjoint pairs of neighbours, the rate is the probability that
two draws are equal.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checks.laws import agree
from conformance.checks.samples import sampled
from conformance.checks.trial import Evidence, Trial
from conformance.layers.describe import array_text
from conformance.model.case import Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import Finding, differs
from conformance.model.proof import Proof
from conformance.spec.draws import Draws, Masked, Sample

_STREAM = 0x72616E64  # this check's own random numbers of a case
_UNLIKELY = math.log(2 / 1e-10)


def check(trial: Trial) -> Evidence:
    """Test a layer's draws against its documentation.

    Raises:
        Failure: if an element is neither kept nor dropped, if a rate is wrong, if draws repeat.
        Unsupported: if the backend declines the calls.
        Inapplicable: if no test applies to the case.
    """
    draws = trial.row.randomness.draws
    assert draws is not None
    generator = np.random.default_rng((trial.case.seed, _STREAM))
    evidence = Evidence()
    declined: Unsupported | None = None
    with warnings.catch_warnings():
        # torch warns that dropout does nothing on a single layer.
        warnings.simplefilter("ignore")
        try:
            for one in _evidence(draws(trial, generator)):
                evidence += one
        except Unsupported as reason:
            declined = reason
    if not evidence.comparisons:
        raise declined or Inapplicable()
    return evidence


def _evidence(draws: Draws) -> Iterator[Evidence]:
    for found in draws:
        if isinstance(found, Masked):
            yield _masked(found)
        else:
            yield sampled(found) if isinstance(found, Sample) else agree(found)


def _masked(found: Masked) -> Evidence:
    got, kept = found.got, found.kept
    passed = np.abs(got - kept.value) <= kept.error
    gone = np.abs(got) <= found.dropped
    if not (passed | (gone & found.droppable)).all():
        when = f"{found.what}, each to be 0 or the kept value"
        values = array_text(got), array_text(kept.value)
        raise Failure(differs("random", found.name, *values, when=when), _neither(found))
    # A kept value of 0 cannot be told from a dropped one.
    telling = np.abs(kept.value) > found.dropped + kept.error
    if found.rate is None or not telling.all():
        return Evidence(got.size)
    return Evidence(got.size) + _drawn(found, ~gone)


def _drawn(found: Masked, mask: np.ndarray) -> Evidence:
    for axis in found.groups:
        if not (mask == mask.take([0], axis)).all():
            when = f"{found.what} drops elements along axis {axis} one by one"
            lines: tuple[str, ...] = (_MASK, "failed = bool((mask != mask.take([0], axis)).any())")
            raise Failure(Finding("random", "mask", when), _of_mask(found, lines, axis=axis))
    single = mask
    for axis in found.groups:
        single = single.take([0], axis)
    assert found.rate is not None
    if not single.size:
        return Evidence()
    low, high = _allowed(found.rate, single.size, found.slack)
    if not low <= single.mean() <= high:
        share = f"{single.mean():.6g} of {single.size}"
        wanted = f"{found.rate:.4g}: from {low:.6g} to {high:.6g}"
        told = 'print("kept", mask.mean(), "of", mask.size)'
        lines = (_MASK, *_SINGLE, told, "failed = not low <= mask.mean() <= high")
        proof = _of_mask(found, lines, low=low, high=high)
        raise Failure(differs("random", "kept", share, wanted, when=found.what), proof)
    _together(found, mask)
    # From 40 bits on, an accidental repetition is too improbable to matter.
    likely = single.size * -math.log2(max(found.rate**2 + (1 - found.rate) ** 2, 0.5)) < 40
    if likely:
        _independent(found, single)
        return Evidence(1)
    where = next(_repeated(found, single), None)
    if where is not None:
        text, proof = where
        about = Finding("random", "mask", f"{found.what} drops the same elements {text}")
        raise Failure(about, proof)
    _independent(found, single)
    return Evidence(2)


def likely_means(rate: float, count: int) -> tuple[float, float]:
    """The interval that holds the mean of `count` draws except with probability 1e-10.

    `rate` is the probability that a draw is 1.
    """

    def unlikely(mean: float) -> bool:
        terms = [(m, r) for m, r in ((mean, rate), (1 - mean, 1 - rate)) if m]
        if any(not r for _, r in terms):
            return True
        return count * sum(m * math.log(m / r) for m, r in terms) > _UNLIKELY

    ends = []
    for end in (0.0, 1.0):
        inner, outer = rate, end
        if unlikely(outer):
            for _ in range(60):
                middle = (inner + outer) / 2
                inner, outer = (inner, middle) if unlikely(middle) else (middle, outer)
        ends.append(outer)
    return ends[0], ends[1]


def _allowed(rate: float, count: int, slack: float) -> tuple[float, float]:
    """The interval of `likely_means`, widened for a rate that roundings move by up to `slack`."""
    least, most = max(rate - slack, 0.0), min(rate + slack, 1.0)
    return likely_means(least, count)[0], likely_means(most, count)[1]


def _independent(found: Masked, single: np.ndarray) -> None:
    """Test along each axis that neighbours are equal as often as independent draws are."""
    assert found.rate is not None
    alike = found.rate**2 + (1 - found.rate) ** 2
    for axis in range(single.ndim):
        half = single.shape[axis] // 2
        first, second = (single.take(np.arange(half) * 2 + k, axis) for k in (0, 1))
        if not first.size:
            continue
        share = float((first == second).mean())
        # The derivative of `alike` by the rate is 2·(2·rate − 1), at most 2.
        low, high = _allowed(alike, first.size, 2 * found.slack)
        if not low <= share <= high:
            lines = (
                _MASK, *_SINGLE, "half = mask.shape[along] // 2",
                "a, b = (mask.take(np.arange(half) * 2 + k, along) for k in (0, 1))",
                'print("neighbours alike", (a == b).mean(), "of", a.size)',
                "failed = not low <= (a == b).mean() <= high",
            )  # fmt: skip
            got = f"{share:.6g} of {first.size}"
            wanted = f"{alike:.4g}: from {low:.6g} to {high:.6g}"
            when = f"{found.what}, along axis {axis}"
            proof = _of_mask(found, lines, along=axis, low=low, high=high)
            about = differs("random", "neighbours that are both kept or both dropped", got, wanted,
                            when=when)  # fmt: skip
            raise Failure(about, proof)


def _together(found: Masked, mask: np.ndarray) -> None:
    """Require that other numbers of the same call have the same mask."""
    if found.alike is None:
        return
    numbers, dropped = found.alike
    other = np.abs(numbers) > dropped
    if not np.array_equal(mask, other):
        wrong = int((mask != other).sum())
        lines = ("failed = not np.array_equal(abs(got) > dropped, abs(alike) > least)",)
        proof = _of_mask(found, lines, least=dropped)
        proof = replace(proof, got={**proof.got, "alike": (numbers, None)})
        when = f"{found.what} has another mask than the output at {wrong} of {mask.size} elements"
        raise Failure(Finding("random", found.name, when), proof)


_MASK = "mask = abs(got) > dropped"
# One element for each group of elements that share a draw.
_SINGLE = ("for axis in shared:", "    mask = mask.take([0], axis)")


def _of_mask(found: Masked, lines: tuple[str, ...], **known: Any) -> Proof:
    facts = {"dropped": found.dropped, "shared": list(found.groups), **known}
    return Proof(lines, {"got": (found.got, None)}, facts)


def _neither(found: Masked) -> Proof:
    lines = (
        "passed = abs(got - kept) <= bound",
        "gone = (abs(got) <= dropped) & droppable",
        "failed = not bool((passed | gone).all())",
    )
    kept = {"kept": found.kept.value, "bound": found.kept.error, "droppable": found.droppable}
    return _of_mask(found, lines, **kept)


def _repeated(found: Masked, single: np.ndarray) -> Iterator[tuple[str, Proof]]:
    for axis in range(single.ndim):
        if single.shape[axis] > 1 and (single == single.take([0], axis)).all():
            lines: tuple[str, ...] = (
                _MASK, *_SINGLE, "failed = bool((mask == mask.take([0], along)).all())"
            )  # fmt: skip
            yield f"along axis {axis}", _of_mask(found, lines, along=axis)
    if found.again is not None:
        again = np.abs(found.again) > found.dropped
        for axis in found.groups:
            again = again.take([0], axis)
        if np.array_equal(again, single):
            lines = ("failed = np.array_equal(abs(got) > dropped, abs(again) > dropped)",)
            proof = _of_mask(found, lines)
            got = {**proof.got, "again": (found.again, None)}
            yield "in a second call", replace(proof, got=got)
