"""Shrink the failures of an item and describe each cause."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.checks.trial import Trial
from conformance.diagnosis.minimize import plainest, smallest
from conformance.diagnosis.mutations import Change
from conformance.diagnosis.necessary_arguments import explains, needs, size_of_number
from conformance.diagnosis.reproducer import reproducer
from conformance.diagnosis.shared_conditions import shared
from conformance.diagnosis.tolerance_hints import looser
from conformance.items.context import ItemContext
from conformance.items.log import Log
from conformance.items.outcomes import Outcome, on_device
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.case import Case, Numerics, Unsupported
from conformance.model.cause import Cause, Need
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import Finding, number_or_none
from conformance.model.finding_text import text

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike

# Seconds that shrinking a failure may exceed its item's budget.
LEAST_SHRINKING = 1.0
# Largest number of causes to shrink for an item of valid calls, and of invalid calls, where each
# broken constraint is a cause. Seconds after which no further cause is begun.
MOST, MOST_INVALID, LONGEST = 4, 12, 20.0
# How often a case that draws random numbers must pass before it counts as passing.
DRAWS = 8


@dataclass(frozen=True)
class _Found:
    """A cause, its kind of failure, the changes that make its minimal case pass, and its cases."""

    cause: Cause
    kind: str
    needed: tuple[Change, ...]
    number: Change | None = None
    indices: tuple[int, ...] = ()


def investigate(
    engine: EngineLike, context: ItemContext, failures: Mapping[str, Sequence[int]]
) -> list[Cause]:
    """Find every distinct cause among an item's failing cases.

    Failures of different kinds have different causes. A failing case that lacks a need of all
    earlier causes of its kind has a new cause.

    Args:
        engine: runs cases.
        context: the item, its cases and their outcomes so far.
        failures: kind of failure → indices of the cases that fail in this way.
    """
    investigation = _Investigation(engine, context)
    stream, log = context.stream, context.log
    engine.copies.renew_patience()
    started, found = time.monotonic(), list[_Found]()
    most = MOST_INVALID if stream.invalid else MOST
    rest: list[str] = []
    for kind, indices in failures.items():
        unexplained = list(indices)
        while unexplained:
            late = time.monotonic() - started > LONGEST or (found and context.left() <= 0)
            if len(found) == most or late:
                rest.append(f"{kind} ({len(unexplained)})")
                break
            same = [earlier for earlier in found if earlier.kind == kind]
            new = investigation.cause(unexplained[0], kind, same)
            new = _borne_out(new, [stream[k] for k in unexplained])
            explained = [k for k in unexplained if explains(new.needed, stream[k])]
            explained = list(dict.fromkeys([unexplained[0], *explained]))
            found.append(replace(new, indices=tuple(explained)))
            unexplained = [k for k in unexplained if k not in explained]
    causes = [_counted(each, failures, stream, log) for each in found]
    if rest and causes:
        causes[-1] = causes[-1].noting(f"not shrunk, further failures by kind: {', '.join(rest)}")
    return causes


class _Investigation:
    """Shrinks the failures of one item; the arguments are those of `investigate`."""

    def __init__(self, engine: EngineLike, context: ItemContext) -> None:
        self._engine, self._context = engine, context
        self._item = context.item
        self._checked = context.log.checked
        self._allowed = min(context.left() - LEAST_SHRINKING, 0.0)

    def cause(self, index: int, kind: str, earlier: Sequence[_Found]) -> _Found:
        """Shrink the first case with a kind of failure, and describe its cause.

        Args:
            index: index of the case.
            kind: kind of its failure.
            earlier: causes of the same kind; cases that they explain do not belong to this one.
        """
        device, stream = self._item.device, self._context.stream

        def explained(candidate: Case) -> bool:
            return any(explains(other.needed, candidate) for other in earlier)

        def fails(candidate: Case) -> Outcome | None:
            outcome = None if explained(candidate) else self._outcome(candidate, index)
            return outcome if outcome and outcome.failure and outcome.kind == kind else None

        minimal = stream.shrink(index, fails)
        case, outcome = minimal or (stream[index], self._outcome(stream[index], index))
        again = None if outcome is None else outcome.failure
        failure, notes = again or Finding("other", says=kind), list[str]()
        if outcome is not None and outcome.status != "failed":
            notes = ["note: the same case did not fail again when it was repeated"]
        if again is None or stream.invalid:
            case = on_device(case, device)
            return self._described(case, failure, kind, notes, shrunk=minimal is not None)

        def alike(candidate: Case) -> bool:
            return not explained(candidate) and self._alike(candidate, failure, index) is True

        small = smallest(case, alike)
        found, needed = needs(small, lambda other: self._alike(other, failure, index))
        plain = plainest(small, alike)
        if plain is not case:
            outcome = self._outcome(plain, index)
            if outcome is not None and outcome.failure is not None:
                case, failure = plain, outcome.failure
        number = size_of_number(case, lambda other: self._alike(other, failure, index))
        described = self._described(
            on_device(case, device), failure, kind, notes, shrunk=True, needs=found, needed=needed
        )
        return replace(described, number=number)

    def _described(
        self,
        case: Case,
        failure: Finding,
        kind: str,
        notes: Sequence[str],
        *,
        shrunk: bool,
        needs: tuple[Need, ...] = (),
        needed: tuple[Change, ...] = (),
    ) -> _Found:
        engine, item = self._engine, self._item
        row, numerics = CATALOGUE[item.layer], self._context.numerics
        trial = Trial(engine.backend, row, case, numerics, engine.answers)
        noted, reference = failure.noting(*notes), None
        if shrunk:
            outcome = Outcome.failed(failure)
            reference = engine.reference.compared(item, case, outcome)
            # A case with new draws may pass by chance.
            if not self._context.stream.invalid and not trial.row.randomness.used(case.call):
                declaration = looser(lambda other: self._passes(case, other), numerics)
                if declaration is not None:
                    noted = noted.noting(f"  {declaration}")
        if reference is not None:
            noted = noted.noting(reference)
        cause = Cause.of(
            noted,
            trial.text(),
            case=encode_case(trial.case),
            needs=needs,
            reproducer=reproducer(trial, item.check, text(failure)),
            reference=reference,
        )
        return _Found(cause, kind, needed)

    def _outcome(self, candidate: Case, index: int) -> Outcome | None:
        """The outcome of a case while shrinking.

        None if a known failure explains it, the process is lost, or the time is over.
        """
        context = self._context
        if context.left() < self._allowed or context.excuses.deadly(candidate) is not None:
            return None
        self._engine.note("shrinking", index, self._checked)
        outcome = self._engine.cautious_outcome(context, candidate)
        if outcome is None or outcome.lost:
            return None
        failed = outcome.failure is not None
        if failed and self._engine.reference.excusing(context, candidate, outcome) is not None:
            return None
        return outcome

    def _alike(self, candidate: Case, failure: Finding, index: int) -> bool | None:
        """Whether a changed case fails as the minimal one does; None if that is unknown."""
        outcome = self._outcome(candidate, index)
        if outcome is None or outcome.status in ("unsupported", "invalid"):
            return None
        # A draw may hide the failure, so a passing case is tried again.
        draws = CATALOGUE[candidate.call.layer].randomness.used(candidate.call)
        for _ in range(DRAWS if draws else 0):
            if outcome is None or outcome.failure is not None:
                break
            outcome = self._outcome(candidate, index)
        if outcome is None or outcome.status in ("unsupported", "invalid"):
            return None
        if outcome.failure is not None:
            return True if outcome.failure.manner == failure.manner else None
        return False if outcome.comparisons else None

    def _passes(self, case: Case, numerics: Numerics) -> bool:
        """Whether the case would pass with another declaration of the backend's arithmetic."""
        try:
            return self._engine.try_case(self._item, case, numerics).comparisons > 0
        except (Unsupported, Inapplicable, Failure):
            return False


def _borne_out(found: _Found, failing: Sequence[Case]) -> _Found:
    """Drop size conditions that another failing case of this cause does not meet.

    A case with other sizes has other numbers, with which the bug may not show. So a passing changed
    case does not prove that the failure needs the size.
    """
    row = None if found.cause.case is None else CATALOGUE[decode_case(found.cause.case).call.layer]
    for change in found.needed:
        argument = None if row is None else row.signature.argument(change.argument)
        others = [other for other in found.needed if other is not change]
        sized = "." in change.argument or (argument is not None and argument.size)
        if sized and any(
            explains(others, case) and not explains((change,), case) for case in failing
        ):
            needs = (need for need in found.cause.needs if need.argument != change.argument)
            cause = replace(found.cause, needs=tuple(needs))
            found = replace(found, cause=cause, needed=tuple(others))
    return found


def _counted(
    found: _Found, failures: Mapping[str, Sequence[int]], stream: Stream, log: Log
) -> Cause:
    """Return the cause with the number of its cases and their shared conditions."""
    excesses = [log.excess(k) for k in found.indices]
    largest = None if None in excesses else max(filter(None, excesses), default=None)
    cause = replace(found.cause, failed=len(found.indices), excess=number_or_none(largest))
    if stream.invalid or cause.case is None:
        return cause
    others = {k for indices in failures.values() for k in indices} - set(found.indices)
    needs, share = shared(
        cause.needs,
        found.needed,
        found.number,
        decode_case(cause.case),
        [stream[k] for k in found.indices],
        [stream[k] for k in sorted(others)],
        [stream[k] for k in log.passing()],
    )
    return replace(cause, needs=needs, share=share)
