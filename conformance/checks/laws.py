"""`laws`: calls that must agree with each other do, also at sizes too large for the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, cast

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare, compare_outputs
from conformance.model.case import Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.proof import Proof, difference_proof
from conformance.spec.law import Claim, Law

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike

_MAX_ORACLE_ELEMENTS = 1 << 14  # elements of the largest call for which the oracle is consulted
_MAX_PROOF_ELEMENTS = 64  # further wrong elements that a proof includes
_STREAM = 0x6C617773  # this check's own random numbers of a case
LAWS_PER_CASE = 3  # laws per case: over all cases every law of the layer gets its turn


def check(trial: Trial) -> Evidence:
    """Check some laws of the layer on one case; the seed chooses the laws.

    Raises:
        Failure: naming the law and the two calls that disagree.
        Unsupported: if the backend declines the calls of every law.
        Inapplicable: if no law applies to the case.
    """
    laws = trial.spec.laws
    order = np.random.default_rng((trial.case.seed, _STREAM)).permutation(len(laws))
    evidence, compared, applicable = Evidence(), 0, False
    declined: Unsupported | None = None
    for index in order:
        try:
            law_evidence = check_law(trial, laws[index], int(index))
        except Unsupported as reason:
            declined = declined or reason
            continue
        except Inapplicable:
            continue
        applicable = True
        evidence += law_evidence
        compared += law_evidence.comparisons > 0
        if compared == LAWS_PER_CASE:
            break
    if not applicable:
        raise declined or Inapplicable()
    return evidence


def check_named_law(trial: Trial, name: str) -> Evidence:
    """Check the law of that name on one case, with the random numbers that `check` gives it.

    Raises:
        Failure, Unsupported, Inapplicable: as `check_law` does.
        LookupError: if the layer has no such law.
    """
    for index, law in enumerate(trial.spec.laws):
        if law.name == name:
            return check_law(trial, law, index)
    raise LookupError(f"{trial.spec.name} has no law {name!r}")


def check_law(trial: Trial, law: Law, index: int) -> Evidence:
    """Check one law on one case; `index`, its place among the laws, seeds its random numbers.

    Raises:
        Failure: naming the law and the two calls that disagree.
        Unsupported: if the backend declines one of its calls.
        Inapplicable: if the law does not apply to the case.
    """
    generator = np.random.default_rng((trial.case.seed, _STREAM, index))
    evidence, applicable = Evidence(), False
    try:
        for claim in law.claims(trial, generator):
            applicable = True
            evidence += check_claim(claim)
    except Failure as failure:
        context = f"law {law.name!r}: {law.statement}"
        raise Failure(failure.finding.in_context(context, law=law.name)) from failure
    if not applicable:
        raise Inapplicable
    return evidence


def check_claim(claim: Claim) -> Evidence:
    """Require that two answers differ by no more than the sum of their bounds.

    Raises:
        Failure: if they differ by more. Its `got` is the number of the call that the oracle calls
            wrong, if it calls the other one right.
    """
    evidence = Evidence()
    for index, name in enumerate(claim.names):
        try:
            evidence += _compare_sides(name, claim, index)
        except Failure as failure:
            is_right = _is_right(claim.got.trial), _is_right(claim.wanted.trial)
            if is_right != (True, False):
                raise _noting_opinion(failure, *is_right) from failure
            exchanged = replace(claim, got=claim.wanted, wanted=claim.got)
            try:
                _compare_sides(name, exchanged, index)
            except Failure as exchanged_failure:
                raise _noting_opinion(exchanged_failure, False, True) from failure
            raise _noting_opinion(failure, *is_right) from failure
    return evidence


def _compare_sides(name: str, claim: Claim, index: int) -> Evidence:
    """Compare one output of both sides of a claim.

    Raises:
        Failure: if they differ by more than the sum of their bounds.
    """
    got, wanted = claim.got.outputs[index], claim.wanted.outputs[index]
    try:
        return compare(name, got.value, _with_both_bounds(got, wanted))
    except Failure as failure:
        calls = f"  one call    {claim.got.text}", f"  the other   {claim.wanted.text}"
        worst_index = failure.finding.where
        proof = None
        if worst_index is not None:
            computed = claim.got.trial is None or claim.wanted.trial is None
            proof = replace(_proof(got, wanted, worst_index), computed=computed)
        raise Failure(failure.finding.in_context(*calls), proof) from failure


def _noting_opinion(
    failure: Failure, first_is_right: bool | None, second_is_right: bool | None
) -> Failure:
    """The failure with a note of the call that is wrong by the oracle."""
    notes = _oracle_opinion(first_is_right, second_is_right)
    return Failure(failure.finding.noting(*notes), failure.proof)


def _oracle_opinion(first_is_right: bool | None, second_is_right: bool | None) -> Iterator[str]:
    """Say which of the two calls is wrong, where the oracle can decide it quickly."""
    words = {True: "right", False: "wrong", None: "not asked"}
    if first_is_right is not None or second_is_right is not None:
        yield (
            f"by the oracle one call is {words[first_is_right]}, the other {words[second_is_right]}"
        )


def _is_right(trial: TrialLike | None) -> bool | None:
    if trial is None or sum(x.size for x in trial.case.operands) > _MAX_ORACLE_ELEMENTS:
        return None
    try:
        compare_outputs(cast("Trial", trial))
    except Failure:
        return False
    except (Unsupported, Inapplicable):
        return None
    return True


def _proof(got: Rounded, wanted: Rounded, worst_index: tuple[int, ...]) -> Proof:
    """Prove the reported element and further wrong ones: a script may not reach each of them."""
    bound = _with_both_bounds(got, wanted).error
    a, b = got.value, wanted.value
    with np.errstate(invalid="ignore"):
        right = (a == b) | ((a != a) & (b != b)) | (np.abs(a - b) <= bound)
    wrong_indices = (tuple(map(int, index)) for index in np.argwhere(~right & np.isfinite(bound)))
    indices = dict.fromkeys([worst_index, *islice(wrong_indices, _MAX_PROOF_ELEMENTS)])
    first, *others = (difference_proof(a, b, index, float(bound[index])) for index in indices)
    return replace(first, others=tuple(others))


def _with_both_bounds(got: Rounded, wanted: Rounded) -> Rounded:
    if got.shape != wanted.shape:
        return wanted
    if not got.any_inexact and wanted.node is None:
        return wanted
    return replace(wanted, error=wanted.error + got.error, node=None)
