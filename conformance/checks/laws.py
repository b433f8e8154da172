"""`laws`: calls that must agree with each other do, also at sizes too large for the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare, whole
from conformance.model.case import Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.proof import Proof, unlike
from conformance.spec.law import Claim, Law

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike

_QUICK = 1 << 14  # elements of the largest call for which the oracle is consulted
_SHOWN = 64  # further wrong elements that a proof includes
_STREAM = 0x6C617773  # this check's own random numbers of a case
FEW = 3  # laws per case: over all cases every law of the layer gets its turn


def check(trial: Trial) -> Evidence:
    """Check some laws of the layer on one case; the seed chooses the laws.

    Raises:
        Failure: naming the law and the two calls that disagree.
        Unsupported: if the backend declines the calls of every law.
        Inapplicable: if no law applies to the case.
    """
    laws = trial.row.laws
    order = np.random.default_rng((trial.case.seed, _STREAM)).permutation(len(laws))
    evidence, compared, spoken = Evidence(), 0, False
    declined: Unsupported | None = None
    for place in order:
        try:
            found = held(trial, laws[place], int(place))
        except Unsupported as reason:
            declined = declined or reason
            continue
        except Inapplicable:
            continue
        spoken = True
        evidence += found
        compared += found.comparisons > 0
        if compared == FEW:
            break
    if not spoken:
        raise declined or Inapplicable()
    return evidence


def held(trial: Trial, law: Law, place: int) -> Evidence:
    """Check one law on one case; `place`, its index among the laws, seeds its random numbers.

    Raises:
        Failure: naming the law and the two calls that disagree.
        Unsupported: if the backend declines one of its calls.
        Inapplicable: if the law does not apply to the case.
    """
    generator = np.random.default_rng((trial.case.seed, _STREAM, place))
    evidence, spoken = Evidence(), False
    try:
        for claim in law.claims(trial, generator):
            spoken = True
            evidence += agree(claim)
    except Failure as failure:
        context = f"law {law.name!r}: {law.statement}"
        raise Failure(failure.finding.within(context, law=law.name)) from failure
    if not spoken:
        raise Inapplicable
    return evidence


def agree(claim: Claim) -> Evidence:
    """Require that two answers differ by no more than the sum of their bounds.

    Raises:
        Failure: if they differ by more.
    """
    evidence = Evidence()
    pairs = zip(claim.names, claim.got.outputs, claim.wanted.outputs, strict=True)
    for name, got, wanted in pairs:
        try:
            found = compare(name, got.value, _within_both(got, wanted))
        except Failure as failure:
            calls = f"  one call    {claim.got.text}", f"  the other   {claim.wanted.text}"
            shown = failure.finding.where
            proof = None if shown is None else _proof(got, wanted, shown)
            finding = failure.finding.within(*calls).noting(*_by_the_oracle(claim))
            raise Failure(finding, proof) from failure
        evidence += found
    return evidence


def _by_the_oracle(claim: Claim) -> Iterator[str]:
    """Say which of the two calls is wrong, where the oracle can decide it quickly."""
    one, other = (_is_right(side.trial) for side in (claim.got, claim.wanted))
    words = {True: "right", False: "wrong", None: "not asked"}
    if one is not None or other is not None:
        yield f"by the oracle one call is {words[one]}, the other {words[other]}"


def _is_right(trial: TrialLike | None) -> bool | None:
    if trial is None or sum(x.size for x in trial.case.operands) > _QUICK:
        return None
    try:
        whole(cast("Trial", trial))
    except Failure:
        return False
    except (Unsupported, Inapplicable):
        return None
    return True


def _proof(got: Rounded, wanted: Rounded, shown: tuple[int, ...]) -> Proof:
    """Prove the reported element and further wrong ones: a script may not reach each of them."""
    bound = _within_both(got, wanted).error
    a, b = got.value, wanted.value
    with np.errstate(invalid="ignore"):
        right = (a == b) | ((a != a) & (b != b)) | (np.abs(a - b) <= bound)
    found = (tuple(map(int, place)) for place in np.argwhere(~right & np.isfinite(bound)))
    places = dict.fromkeys([shown, *islice(found, _SHOWN)])
    first, *others = (unlike(a, b, place, float(bound[place])) for place in places)
    return replace(first, others=tuple(others))


def _within_both(got: Rounded, wanted: Rounded) -> Rounded:
    if got.shape != wanted.shape:
        return wanted
    if not got.doubtful and wanted.node is None:
        return wanted
    return replace(wanted, error=wanted.error + got.error, node=None)
