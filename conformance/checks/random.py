"""`random`: layers that draw random numbers: masks, rates, scale, and when they draw none.

A layer as documented fails a test of a rate with a probability of less than 1e-10 (Hoeffding).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.checks.laws import agree
from conformance.laws.draws import Masked
from conformance.model.case import Unsupported
from conformance.model.describe import array_text
from conformance.model.finding import Finding, differs
from conformance.model.proof import Proof
from conformance.run.trial import Evidence, Failure, Inapplicable, Trial

_STREAM = 0x72616E64  # this check's own random numbers of a case
_HOEFFDING = math.log(2 / 1e-10) / 2


def check(trial: Trial) -> Evidence:
    """Hold what a layer draws against what its documentation says of it.

    Args:
        trial: the case on the backend.

    Raises:
        Failure: if an element is neither kept nor dropped, if a rate is wrong, if draws repeat.
        Unsupported: if the backend declines the calls.
        Inapplicable: if there is nothing to ask of the case.
    """
    draws = trial.row.draws
    assert draws is not None
    generator = np.random.default_rng((trial.case.seed, _STREAM))
    evidence = Evidence()
    declined: Unsupported | None = None
    with warnings.catch_warnings():
        # torch warns that dropout does nothing on a single layer.
        warnings.simplefilter("ignore")
        try:
            for found in draws(trial, generator):
                evidence += _masked(found) if isinstance(found, Masked) else agree(found)
        except Unsupported as reason:
            declined = reason
    if not evidence.comparisons:
        raise declined or Inapplicable()
    return evidence


def _masked(found: Masked) -> Evidence:
    got, kept = found.got, found.kept
    passed = np.abs(got - kept.value) <= kept.error
    gone = np.abs(got) <= found.dropped
    if not (passed | (gone & found.droppable)).all():
        when = f"{found.what}, each to be 0 or the kept value"
        values = array_text(got), array_text(kept.value)
        raise Failure(differs("random", found.name, *values, when=when), _neither(found))
    # Where the kept value is 0 itself nothing can be checked.
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
    allowed = math.sqrt(_HOEFFDING / single.size) + found.slack
    if abs(single.mean() - found.rate) > allowed:
        share = f"{single.mean():.4g} of {single.size}"
        wanted = f"{found.rate:.4g} ± {allowed:.3g}"
        told = 'print("kept", mask.mean(), "of", mask.size)'
        lines = (_MASK, *_SINGLE, told, "failed = bool(abs(mask.mean() - rate) > allowed)")
        proof = _of_mask(found, lines, rate=found.rate, allowed=allowed)
        raise Failure(differs("random", "kept", share, wanted, when=found.what), proof)
    # As many fair draws are alike by a chance that counts for nothing.
    likely = single.size * -math.log2(max(found.rate**2 + (1 - found.rate) ** 2, 0.5)) < 40
    if likely:
        return Evidence(1)
    where = next(_repeated(found, single), None)
    if where is not None:
        text, proof = where
        about = Finding("random", "mask", f"{found.what} drops the same elements {text}")
        raise Failure(about, proof)
    return Evidence(2)


_MASK = "mask = abs(got) > dropped"
# Of what shares a draw one element each.
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
