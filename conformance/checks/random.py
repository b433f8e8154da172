"""`random`: masks, rates and distributions of layers that draw random numbers.

Each test of a rate fails a correct layer with a probability below 1e-10. The reason is Chernoff's
bound for the mean of n draws of rate r. On either side, the mean is at least as far away as m with
a probability of at most e^(-n·KL(m, r)). For disjoint pairs of neighbours, the rate is the
probability that two draws are equal.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from conformance.checks.laws import check_claim
from conformance.checks.samples import check_sample
from conformance.checks.trial import Evidence, Trial
from conformance.layers.describe import array_text
from conformance.model.case import Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import Finding, fact_mismatch
from conformance.model.proof import Proof
from conformance.spec.draws import Draws, MaskedOutput, Sample

_STREAM = 0x72616E64  # this check's own random numbers of a case
_MAX_SURPRISE = math.log(2 / 1e-10)


def check(trial: Trial) -> Evidence:
    """Test a layer's draws against its documentation.

    Raises:
        Failure: if an element is neither kept nor dropped, if a rate is wrong, if draws repeat.
        Unsupported: if the backend declines the calls.
        Inapplicable: if no test applies to the case.
    """
    draws = trial.spec.randomness.draws
    assert draws is not None
    generator = np.random.default_rng((trial.case.seed, _STREAM))
    evidence = Evidence()
    declined: Unsupported | None = None
    with warnings.catch_warnings():
        # torch warns that dropout does nothing on a single layer.
        warnings.simplefilter("ignore")
        try:
            for draw_evidence in _check_draws(draws(trial, generator)):
                evidence += draw_evidence
        except Unsupported as reason:
            declined = reason
    if not evidence.comparisons:
        raise declined or Inapplicable()
    return evidence


def _check_draws(draws: Draws) -> Iterator[Evidence]:
    for claimed in draws:
        if isinstance(claimed, MaskedOutput):
            yield _check_mask(claimed)
        else:
            yield check_sample(claimed) if isinstance(claimed, Sample) else check_claim(claimed)


def _check_mask(masked: MaskedOutput) -> Evidence:
    got, expected = masked.got, masked.kept
    is_kept = np.abs(got - expected.value) <= expected.error
    is_dropped = np.abs(got) <= masked.drop_threshold
    if not (is_kept | (is_dropped & masked.droppable)).all():
        when = f"{masked.call_text}, each to be 0 or the kept value"
        values = array_text(got), array_text(expected.value)
        raise Failure(
            fact_mismatch("random", masked.name, *values, when=when), _neither_proof(masked)
        )
    # A kept value of 0 cannot be told from a dropped one.
    distinguishable = np.abs(expected.value) > masked.drop_threshold + expected.error
    if masked.keep_rate is None or not distinguishable.all():
        return Evidence(got.size)
    return Evidence(got.size) + _check_rate(masked, ~is_dropped)


def _check_rate(masked: MaskedOutput, mask: np.ndarray) -> Evidence:
    for axis in masked.shared_axes:
        if not (mask == mask.take([0], axis)).all():
            when = f"{masked.call_text} drops elements along axis {axis} one by one"
            lines: tuple[str, ...] = (_MASK, "failed = bool((mask != mask.take([0], axis)).any())")
            raise Failure(Finding("random", "mask", when), _mask_proof(masked, lines, axis=axis))
    draws = mask
    for axis in masked.shared_axes:
        draws = draws.take([0], axis)
    assert masked.keep_rate is not None
    if not draws.size:
        return Evidence()
    low, high = _allowed_means(masked.keep_rate, draws.size, masked.slack)
    if not low <= draws.mean() <= high:
        share = f"a share of {draws.mean():.6g} of {draws.size}"
        allowed_text = f"{masked.keep_rate:.4g}: from {low:.6g} to {high:.6g}"
        print_line = 'print("kept", mask.mean(), "of", mask.size)'
        lines = (_MASK, *_SINGLE, print_line, "failed = not low <= mask.mean() <= high")
        proof = _mask_proof(masked, lines, low=low, high=high)
        raise Failure(
            fact_mismatch("random", "kept", share, allowed_text, when=masked.call_text), proof
        )
    _check_same_mask(masked, mask)
    # From 40 bits on, an accidental repetition is too improbable to matter.
    repetition_likely = (
        draws.size * -math.log2(max(masked.keep_rate**2 + (1 - masked.keep_rate) ** 2, 0.5)) < 40
    )
    if repetition_likely:
        _check_neighbours(masked, draws)
        return Evidence(1)
    where = next(_repetitions(masked, draws), None)
    if where is not None:
        text, proof = where
        finding = Finding("random", "mask", f"{masked.call_text} drops the same elements {text}")
        raise Failure(finding, proof)
    _check_neighbours(masked, draws)
    return Evidence(2)


def likely_means(rate: float, count: int) -> tuple[float, float]:
    """The interval that holds the mean of `count` draws except with probability 1e-10.

    `rate` is the probability that a draw is 1.
    """

    def unlikely(mean: float) -> bool:
        terms = [(m, r) for m, r in ((mean, rate), (1 - mean, 1 - rate)) if m]
        if any(not r for _, r in terms):
            return True
        return count * sum(m * math.log(m / r) for m, r in terms) > _MAX_SURPRISE

    bounds = []
    for end in (0.0, 1.0):
        inner, outer = rate, end
        if unlikely(outer):
            for _ in range(60):
                middle = (inner + outer) / 2
                inner, outer = (inner, middle) if unlikely(middle) else (middle, outer)
        bounds.append(outer)
    return bounds[0], bounds[1]


def _allowed_means(rate: float, count: int, slack: float) -> tuple[float, float]:
    """The interval of `likely_means`, widened for a rate that roundings move by up to `slack`."""
    lowest_rate, highest_rate = max(rate - slack, 0.0), min(rate + slack, 1.0)
    return likely_means(lowest_rate, count)[0], likely_means(highest_rate, count)[1]


def _check_neighbours(masked: MaskedOutput, draws: np.ndarray) -> None:
    """Test along each axis that neighbours are equal as often as independent draws are.

    Pairs begin at the even places, then at the odd ones: those of one test share no element.
    """
    assert masked.keep_rate is not None
    equal_rate = masked.keep_rate**2 + (1 - masked.keep_rate) ** 2
    for axis, start in product(range(draws.ndim), (0, 1)):
        half = max(draws.shape[axis] - start, 0) // 2
        first, second = (draws.take(np.arange(half) * 2 + start + k, axis) for k in (0, 1))
        if not first.size:
            continue
        share = float((first == second).mean())
        # The derivative of `equal_rate` by the rate is 2·(2·rate − 1), at most 2.
        low, high = _allowed_means(equal_rate, first.size, 2 * masked.slack)
        if not low <= share <= high:
            lines = (
                _MASK, *_SINGLE, "half = (mask.shape[along] - start) // 2",
                "a, b = (mask.take(np.arange(half) * 2 + start + k, along) for k in (0, 1))",
                'print("neighbours alike", (a == b).mean(), "of", a.size)',
                "failed = not low <= (a == b).mean() <= high",
            )  # fmt: skip
            got = f"a share of {share:.6g} of {first.size}"
            allowed_text = f"{equal_rate:.4g}: from {low:.6g} to {high:.6g}"
            when = f"{masked.call_text}, along axis {axis}"
            proof = _mask_proof(masked, lines, along=axis, start=start, low=low, high=high)
            fact = "neighbours that are both kept or both dropped"
            finding = fact_mismatch("random", fact, got, allowed_text, when=when)
            raise Failure(finding, proof)


def _check_same_mask(masked: MaskedOutput, mask: np.ndarray) -> None:
    """Require that other numbers of the same call have the same mask."""
    if masked.same_mask is None:
        return
    numbers, dropped = masked.same_mask
    other_mask = np.abs(numbers) > dropped
    if not np.array_equal(mask, other_mask):
        wrong = int((mask != other_mask).sum())
        lines = ("failed = not np.array_equal(abs(got) > dropped, abs(alike) > least)",)
        proof = _mask_proof(masked, lines, least=dropped)
        proof = replace(proof, got={**proof.got, "alike": (numbers, None)})
        when = (
            f"{masked.call_text} has another mask than the output "
            f"at {wrong} of {mask.size} elements"
        )
        raise Failure(Finding("random", masked.name, when), proof)


_MASK = "mask = abs(got) > dropped"
# One element for each group of elements that share a draw.
_SINGLE = ("for axis in shared:", "    mask = mask.take([0], axis)")


def _mask_proof(masked: MaskedOutput, lines: tuple[str, ...], **known: Any) -> Proof:
    facts = {"dropped": masked.drop_threshold, "shared": list(masked.shared_axes), **known}
    return Proof(lines, {"got": (masked.got, None)}, facts)


def _neither_proof(masked: MaskedOutput) -> Proof:
    lines = (
        "passed = abs(got - kept) <= bound",
        "gone = (abs(got) <= dropped) & droppable",
        "failed = not bool((passed | gone).all())",
    )
    facts = {"kept": masked.kept.value, "bound": masked.kept.error, "droppable": masked.droppable}
    return _mask_proof(masked, lines, **facts)


def _repetitions(masked: MaskedOutput, draws: np.ndarray) -> Iterator[tuple[str, Proof]]:
    for axis in range(draws.ndim):
        if draws.shape[axis] > 1 and (draws == draws.take([0], axis)).all():
            lines: tuple[str, ...] = (
                _MASK, *_SINGLE, "failed = bool((mask == mask.take([0], along)).all())"
            )  # fmt: skip
            yield f"along axis {axis}", _mask_proof(masked, lines, along=axis)
    if masked.second_call is not None:
        second_mask = np.abs(masked.second_call) > masked.drop_threshold
        for axis in masked.shared_axes:
            second_mask = second_mask.take([0], axis)
        if np.array_equal(second_mask, draws):
            lines = ("failed = np.array_equal(abs(got) > dropped, abs(again) > dropped)",)
            proof = _mask_proof(masked, lines)
            got = {**proof.got, "again": (masked.second_call, None)}
            yield "in a second call", replace(proof, got=got)
