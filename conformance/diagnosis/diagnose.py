"""Shrink the failures of an item and describe each cause."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from conformance.checks.trial import Trial
from conformance.diagnosis.minimize import reduce_case, shrink_sizes, simplify_numbers
from conformance.diagnosis.mutations import Change
from conformance.diagnosis.necessary_arguments import (
    find_needs,
    find_number_threshold,
    has_all_needs,
)
from conformance.diagnosis.parts import describe_parts, has_parts
from conformance.diagnosis.reproducer import make_reproducer
from conformance.diagnosis.shared_conditions import describe_shared_conditions
from conformance.diagnosis.tolerance_hints import suggest_declaration
from conformance.items.context import ItemContext
from conformance.items.log import Log
from conformance.items.outcomes import Outcome, on_device
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE
from conformance.layers.describe import operands_text
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.case import Case, Numerics, Unsupported
from conformance.model.cause import Cause, Need
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import OPERANDS_PREFIX, Finding, json_number_or_none
from conformance.model.finding_text import breach_of_kind, finding_message

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike

# Seconds that shrinking a failure may exceed its item's budget.
MIN_SHRINK_SECONDS = 1.0
# Largest number of causes to shrink for an item of valid calls, and of invalid calls, where each
# broken constraint is a cause. Seconds after which no further cause is begun.
MAX_CAUSES, MAX_INVALID_CAUSES, MAX_DIAGNOSIS_SECONDS = 4, 12, 20.0
# How often a case that draws random numbers must pass before it counts as passing.
MAX_DRAWS = 8


@dataclass(frozen=True)
class _DiagnosedCause:
    """A cause, its kind of failure, the changes that make its minimal case pass, and its cases."""

    cause: Cause
    kind: str
    passing_changes: tuple[Change, ...]
    number_change: Change | None = None
    indices: tuple[int, ...] = ()


def diagnose_causes(
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
    engine.forks.reset_hang_time()
    started, diagnosed = time.monotonic(), list[_DiagnosedCause]()
    max_causes = MAX_INVALID_CAUSES if stream.invalid else MAX_CAUSES
    not_shrunk: list[str] = []
    for kind, indices in failures.items():
        unexplained = list(indices)
        while unexplained:
            is_late = time.monotonic() - started > MAX_DIAGNOSIS_SECONDS or (
                diagnosed and context.seconds_left() <= 0
            )
            if len(diagnosed) == max_causes or is_late:
                not_shrunk.append(f"{kind} ({len(unexplained)})")
                break
            same_kind = [earlier for earlier in diagnosed if earlier.kind == kind]
            current = investigation.diagnose(unexplained[0], kind, same_kind)
            current = _drop_unneeded_sizes(current, [stream[k] for k in unexplained])
            explained = [
                k for k in unexplained if has_all_needs(current.passing_changes, stream[k])
            ]
            explained = list(dict.fromkeys([unexplained[0], *explained]))
            diagnosed.append(replace(current, indices=tuple(explained)))
            unexplained = [k for k in unexplained if k not in explained]
    causes = [_with_counts(each, failures, stream, log) for each in diagnosed]
    if not_shrunk and causes:
        causes[-1] = causes[-1].noting(
            f"not shrunk, further failures by kind: {', '.join(not_shrunk)}"
        )
    return causes


class _Investigation:
    """Shrinks the failures of one item; the arguments are those of `diagnose_causes`."""

    def __init__(self, engine: EngineLike, context: ItemContext) -> None:
        self._engine, self._context = engine, context
        self._item = context.item
        self._checked = context.log.checked
        self._min_seconds_left = min(context.seconds_left() - MIN_SHRINK_SECONDS, 0.0)

    def diagnose(
        self, index: int, kind: str, earlier: Sequence[_DiagnosedCause]
    ) -> _DiagnosedCause:
        """Shrink the first case with a kind of failure, and describe its cause.

        Args:
            index: index of the case.
            kind: kind of its failure.
            earlier: causes of the same kind; cases that they explain do not belong to this one.
        """
        device, stream = self._item.device, self._context.stream
        breach = breach_of_kind(kind)
        if breach is not None:
            # What the code reaches for does not depend on the case.
            return self._describe(on_device(stream[index], device), breach, kind, (), shrunk=False)

        def is_explained(candidate: Case) -> bool:
            return any(
                has_all_needs(earlier_cause.passing_changes, candidate) for earlier_cause in earlier
            )

        def fails(candidate: Case) -> Outcome | None:
            outcome = None if is_explained(candidate) else self._outcome(candidate, index)
            return outcome if outcome and outcome.failure and outcome.kind == kind else None

        reductions = CATALOGUE[stream[index].call.layer].variation.reductions
        minimal = (
            stream.shrink(index, fails)
            if reductions is None
            else reduce_case(stream[index], reductions, fails, MAX_DIAGNOSIS_SECONDS)
        )
        case, outcome = minimal or (stream[index], self._outcome(stream[index], index))
        repeated_failure = None if outcome is None else outcome.failure
        failure, notes = repeated_failure or Finding("other", says=kind), list[str]()
        if outcome is not None and outcome.status != "failed":
            notes = ["note: the same case did not fail again when it was repeated"]
        if repeated_failure is None or stream.invalid:
            case = on_device(case, device)
            return self._describe(case, failure, kind, notes, shrunk=minimal is not None)

        def fails_alike(candidate: Case) -> bool:
            return (
                not is_explained(candidate) and self._fails_alike(candidate, failure, index) is True
            )

        smallest_case = shrink_sizes(case, fails_alike)
        tested_needs, passing_changes = find_needs(
            smallest_case, lambda other: self._fails_alike(other, failure, index)
        )
        plainest_case = simplify_numbers(smallest_case, fails_alike)
        if plainest_case is not case:
            outcome = self._outcome(plainest_case, index)
            if outcome is not None and outcome.failure is not None:
                case, failure = plainest_case, outcome.failure
        number_change = find_number_threshold(
            case, lambda other: self._fails_alike(other, failure, index)
        )
        described = self._describe(
            on_device(case, device),
            failure,
            kind,
            notes,
            shrunk=True,
            needs=tested_needs,
            passing_changes=passing_changes,
        )
        return replace(described, number_change=number_change)

    def _describe(
        self,
        case: Case,
        failure: Finding,
        kind: str,
        notes: Sequence[str],
        *,
        shrunk: bool,
        needs: tuple[Need, ...] = (),
        passing_changes: tuple[Change, ...] = (),
    ) -> _DiagnosedCause:
        engine, item = self._engine, self._item
        spec, numerics = CATALOGUE[item.layer], self._context.numerics
        trial = Trial(engine.backend, spec, case, numerics, engine.answers)
        failure_with_notes, reference = failure.noting(*notes), None
        if shrunk:
            outcome = Outcome.from_finding(failure)
            reference = engine.reference.compare(item, case, outcome)
            # A case with new draws may pass by chance.
            if not self._context.stream.invalid and not trial.spec.randomness.is_used(case.call):
                declaration = suggest_declaration(lambda other: self._passes(case, other), numerics)
                if declaration is not None:
                    failure_with_notes = failure_with_notes.noting(f"  {declaration}")
            if has_parts(case):
                failure_with_notes = failure_with_notes.noting(describe_parts(engine, item, case))
            less_optimized = engine.reference.compare_less_optimized(item, case, outcome)
            if less_optimized is not None:
                failure_with_notes = failure_with_notes.noting(less_optimized)
        if reference is not None:
            failure_with_notes = failure_with_notes.noting(reference)
        if small_operands := operands_text(trial.case):
            failure_with_notes = failure_with_notes.noting(f"{OPERANDS_PREFIX}{small_operands}")
        cause = Cause.from_finding(
            failure_with_notes,
            trial.text(),
            case=encode_case(trial.case),
            needs=needs,
            reproducer=make_reproducer(trial, item.check, finding_message(failure)),
            reference=reference,
        )
        return _DiagnosedCause(cause, kind, passing_changes)

    def _outcome(self, candidate: Case, index: int) -> Outcome | None:
        """The outcome of a case while shrinking.

        None if a known failure explains it, the process is lost, or the time is over.
        """
        context = self._context
        if (
            context.seconds_left() < self._min_seconds_left
            or context.excuses.find_process_ending(candidate) is not None
        ):
            return None
        self._engine.note("shrinking", index, self._checked)
        outcome = self._engine.cautious_outcome(context, candidate)
        if outcome is None or outcome.process_lost:
            return None
        failed = outcome.failure is not None
        if failed and self._engine.reference.find_excuse(context, candidate, outcome) is not None:
            return None
        return outcome

    def _fails_alike(self, candidate: Case, failure: Finding, index: int) -> bool | None:
        """Whether a changed case fails as the minimal one does; None if that is unknown."""
        outcome = self._outcome(candidate, index)
        if outcome is None or outcome.status in ("unsupported", "invalid"):
            return None
        # A draw may hide the failure, so a passing case is tried again.
        draws = CATALOGUE[candidate.call.layer].randomness.is_used(candidate.call)
        for _ in range(MAX_DRAWS if draws else 0):
            if outcome is None or outcome.failure is not None:
                break
            outcome = self._outcome(candidate, index)
        if outcome is None or outcome.status in ("unsupported", "invalid"):
            return None
        if outcome.failure is not None:
            return True if outcome.failure.failure_mode == failure.failure_mode else None
        return False if outcome.comparisons else None

    def _passes(self, case: Case, numerics: Numerics) -> bool:
        """Whether the case would pass with another declaration of the backend's arithmetic."""
        try:
            return self._engine.try_case(self._item, case, numerics).comparisons > 0
        except (Unsupported, Inapplicable, Failure):
            return False


def _drop_unneeded_sizes(diagnosed: _DiagnosedCause, failing: Sequence[Case]) -> _DiagnosedCause:
    """Drop size conditions that another failing case of this cause does not meet.

    A case with other sizes has other numbers, with which the bug may not show. So a passing changed
    case does not prove that the failure needs the size.
    """
    spec = (
        None
        if diagnosed.cause.case is None
        else CATALOGUE[decode_case(diagnosed.cause.case).call.layer]
    )
    for change in diagnosed.passing_changes:
        argument = None if spec is None else spec.signature.argument(change.argument)
        other_changes = [other for other in diagnosed.passing_changes if other is not change]
        is_size = "." in change.argument or (argument is not None and argument.size)
        if is_size and any(
            has_all_needs(other_changes, case) and not has_all_needs((change,), case)
            for case in failing
        ):
            needs = (need for need in diagnosed.cause.needs if need.argument != change.argument)
            cause = replace(diagnosed.cause, needs=tuple(needs))
            diagnosed = replace(diagnosed, cause=cause, passing_changes=tuple(other_changes))
    return diagnosed


def _with_counts(
    diagnosed: _DiagnosedCause, failures: Mapping[str, Sequence[int]], stream: Stream, log: Log
) -> Cause:
    """Return the cause with the number of its cases and their shared conditions."""
    error_ratios = [log.error_ratio(k) for k in diagnosed.indices]
    largest_ratio = None if None in error_ratios else max(filter(None, error_ratios), default=None)
    cause = replace(
        diagnosed.cause, failed=len(diagnosed.indices), excess=json_number_or_none(largest_ratio)
    )
    if stream.invalid or cause.case is None:
        return cause
    other_failures = {k for indices in failures.values() for k in indices} - set(diagnosed.indices)
    needs, share = describe_shared_conditions(
        cause.needs,
        diagnosed.passing_changes,
        diagnosed.number_change,
        decode_case(cause.case),
        [stream[k] for k in diagnosed.indices],
        [stream[k] for k in sorted(other_failures)],
        [stream[k] for k in log.passing_indices()],
    )
    return replace(cause, needs=needs, share=share)
