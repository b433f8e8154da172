"""The engine: runs items, each one check of one layer in one dtype, over all its cases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from conformance.arithmetic.grading import numerics_by_grade, promised_grade, promised_numerics
from conformance.backends.capabilities import (
    base_of,
    breaches_of,
    cases_per_structure,
    hits_of,
    info_of,
    is_offered,
    numerics_of,
)
from conformance.backends.guard import BackendError, guarded
from conformance.backends.memory_guard import sides
from conformance.checks import EVERY_CHECK
from conformance.checks.answers import OracleAnswers
from conformance.checks.support import Answer, Conclusion
from conformance.checks.trial import Evidence, Trial
from conformance.diagnosis.diagnose import diagnose_causes
from conformance.diagnosis.reference import Reference
from conformance.diagnosis.reproducer import make_reproducer
from conformance.generation.argument_columns import argument_columns
from conformance.items import verdicts
from conformance.items.context import ItemContext
from conformance.items.forks import ExpendableProcess, Forks
from conformance.items.log import JUDGED_LETTERS, Log
from conformance.items.outcomes import Outcome, on_device
from conformance.items.planning import Item, case_count
from conformance.items.stream import (
    MAX_ROUNDS,
    PLAIN_ROUND,
    Stream,
    count_structures,
    min_structures,
)
from conformance.known.cpu import describe_place
from conformance.known.entry import KnownFailure, applicable_entries
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers.encoding import encode_case
from conformance.matching.features import structure
from conformance.model.budget import Budget
from conformance.model.cached import lazy
from conformance.model.case import (
    Case,
    Examples,
    NotOffered,
    Numerics,
    Unreached,
    Unsupported,
    Verdict,
)
from conformance.model.cause import Cause
from conformance.model.checks import facts_of
from conformance.model.failure import Accepted, Failure, Inapplicable
from conformance.model.finding import Finding
from conformance.model.grades import EXACT, WRONG
from conformance.model.protocols import Backend
from conformance.model.untrusted import exception_text
from conformance.run.dry_run import make_dry_runs
from conformance.run.stale import find_not_failing, find_returned

# Seconds that an item may continue with its other cases after the first failure.
MAX_SURVEY_SECONDS = 10.0
MAX_DECLINED = 100
"""Of a backend that has declined so many valid calls and answered none, no others are asked.

In whole runs of eleven backends, the first call that a backend answered was at most the 57th."""


class Engine:
    """Runs items against one backend.

    Args:
        backend: the implementation under test.
        examples: cases of each item.
        seed: the run's seed.
        known: known failures.
        interrupted: called before each case; True ends the run as Ctrl-C does.
        budget: time for the items; None = no limit.
        process: the process that it runs in, if that may be lost; else None.
    """

    def __init__(
        self,
        backend: Backend,
        examples: int,
        seed: int,
        known: Sequence[KnownFailure] = (),
        interrupted: Callable[[], bool] = lambda: False,
        budget: Budget | None = None,
        process: ExpendableProcess | None = None,
    ) -> None:
        self.backend: Backend = guarded(backend)
        self.examples, self.seed = examples, seed
        self.known, self.interrupted = tuple(known), interrupted
        self.budget, self.values = budget, cases_per_structure(backend)
        self.expendable = process is not None
        self.note = _keep_no_journal if process is None else process.note
        self.forks = Forks(self, process)
        self.answers = OracleAnswers()
        self.reference = Reference(self)
        self._declined_layers: set[str] = set()

    def run(
        self, item: Item, dead: Collection[int] = (), lost: Mapping[int, str] | None = None
    ) -> Verdict:
        """Draw an item's cases, check them all, and shrink the failures.

        Args:
            dead: indices of known failures whose pinned case is known to end the process.
            lost: index of a case that has ended the process → the item that ran it.
        """
        started = time.perf_counter()
        try:
            if not is_offered(self.backend, item.layer, item.dtype, item.device):
                verdict = self._declined_verdict(item)
            else:
                verdict = self._check_item(item, dead, lost or {})
        except BackendError as error:
            # The backend's description of itself has become invalid during the run.
            finding = Finding("other", says=str(error))
            verdict = verdicts.with_failure(verdicts.open_verdict(item), "failed", finding)
        return replace(verdict, seconds=round(time.perf_counter() - started, 4))

    def _declined_verdict(self, item: Item) -> Verdict:
        reason = f"{item.layer} in {item.dtype} on {item.device} is not offered"
        count = case_count(item, self.examples)
        examples = Examples(count, 0, {reason: count}, 0)
        return replace(verdicts.open_verdict(item, examples), status="unsupported", message=reason)

    def _check_item(self, item: Item, dead: Collection[int], lost: Mapping[int, str]) -> Verdict:
        seconds_left = _unlimited if self.budget is None else self.budget.begin()
        if seconds_left is None:
            return verdicts.left_out_verdict(item, case_count(item, self.examples))
        try:
            declared = self.declared_numerics(item)
        except Failure as failure:
            return verdicts.with_failure(verdicts.open_verdict(item), "failed", failure.finding)
        entries = applicable_entries(self.known, item, self.backend.name, self.base(item.layer))
        passing_entries = find_not_failing(self, item, entries, dead, seconds_left)
        if passing_entries:
            run_place = describe_place(self.backend.name, self._backend_info, item.device)
            if stale_entries := [
                (entry, outcome_text)
                for entry, outcome_text in passing_entries
                if run_place in entry.seen
            ]:
                return verdicts.stale_verdict(item, stale_entries)
        returned = next(find_returned(self, item, dead, seconds_left), None)
        if returned is not None:
            return verdicts.returned_verdict(item, *returned)
        # The backend's own come first: an inherited one excuses only what the base fails, too.
        own_first = sorted(entries.values(), key=lambda entry: bool(entry.base))
        excuses = Excuses(tuple(own_first), EVERY_CHECK[item.check])
        stream = self.stream(item)
        self.note("drawing", 0, 0)
        log = Log(stream.cases())
        context = ItemContext(
            item,
            promised_numerics(declared, item.dtype),
            excuses,
            stream,
            log,
            seconds_left,
            in_fork=bool(lost),
        )
        verdict = self._judge_cases(context, lost)
        if verdict.grades:
            verdict = replace(verdict, promised=promised_grade(declared, item.dtype))
        return replace(
            verdict, not_shown=tuple(dict.fromkeys(entry.reason for entry, _ in passing_entries))
        )

    @cached_property
    def _backend_info(self) -> dict[str, str]:
        """The backend's `info()`."""
        return info_of(self.backend)

    @lazy
    def counts_hits(self) -> bool:
        """Whether the backend counts how often the functions under test run."""
        return hits_of(self.backend) is not None

    @lazy
    def sees_breaches(self) -> bool:
        """Whether the backend runs in a process that reports what the code reaches for."""
        return guarded(self.backend).read("breaches") is not None

    def declared_numerics(self, item: Item) -> Numerics | None:
        """The backend's declaration of its arithmetic for an item; None without one."""
        return numerics_of(self.backend, item.dtype, item.device, item.layer)

    def numerics(self, item: Item) -> Numerics:
        """The arithmetic of the grade that the backend promises for an item."""
        return promised_numerics(self.declared_numerics(item), item.dtype)

    def base(self, layer: str) -> str:
        """The backend whose kernels a layer inherits; empty for none."""
        return base_of(self.backend, layer)

    def _judge_cases(self, context: ItemContext, lost: Mapping[int, str]) -> Verdict:
        """Run all cases in turn, and build the verdict from their outcomes."""
        item, excuses, log = context.item, context.excuses, context.log
        failures: dict[str, list[int]] = {}
        cases = context.stream.cases()
        make_dry_runs(self, context, cases, self._first_round_order(cases))
        for index, case in self._case_order(context):
            if failures and log.seconds_since_first_failure() > MAX_SURVEY_SECONDS:
                break
            if index in lost:
                log.record_lost(index)
                continue
            self.note("checking", index, log.checked)
            outcome = self._outcome(context, case)
            log.count_hits(outcome)
            if outcome is None or outcome.status not in ("unsupported", "invalid"):
                excuses.count_covered(case)
            if outcome is None:
                log.record_left_out(index)
            elif outcome.process_lost and excuses.find_process_ending(case) is None:
                log.record_lost(index)
            elif outcome.status == "passed":
                log.record_passed(index, case, outcome)
            elif outcome.status == "unsupported":
                if not outcome.in_every_call:
                    self._declined_layers.add(item.layer)
                log.record_declined(
                    index,
                    outcome.message or "no reason given",
                    in_every_call=outcome.in_every_call,
                )
            elif outcome.status == "invalid":
                log.record_inapplicable(index, outcome.message or "")
                if outcome.accepted:
                    log.accepted[outcome.accepted] += 1
            else:
                entry = self.reference.find_excuse(context, case, outcome)
                log.record_failed(index, case, outcome, excused=entry is not None)
                if entry is None:
                    failures.setdefault(outcome.kind, []).append(index)
                else:
                    excuses.count_excused(entry)
        return self._build_verdict(context, failures)

    def _outcome(self, context: ItemContext, case: Case) -> Outcome | None:
        """The outcome of a case; None if it is left out because it would end the process."""
        item, excuses = context.item, context.excuses
        entry = excuses.find_process_ending(case)
        if entry is None:
            return self.cautious_outcome(context, case)
        outcome = self.forks.run_expected_loss(item, case, entry)
        # A framework's threads may hang in a copy, although the case would crash in this process.
        hangs_in_fork = outcome is not None and (outcome.status, entry.status) == (
            "hung",
            "crashed",
        )
        if outcome is None or hangs_in_fork:
            excuses.count_left_out(entry)
            return None
        is_expected = (
            excuses.find_process_ending(case, outcome.status) is not None
            and excuses.find_explanation(case, outcome.message) is not None
        )
        if outcome.process_lost and not is_expected:
            return self.outcome(item, case, context.numerics)  # the parent reports the end
        return outcome

    def cautious_outcome(self, context: ItemContext, case: Case) -> Outcome | None:
        """The outcome of a case that no known failure marks as ending the process.

        If cases of the layer have ended the process, the case runs in a copy. None if hanging cases
        have used up their time.
        """
        if context.in_fork and self.forks.can_run(context.item):
            return self.forks.run_after_loss(context.item, case)
        return self.graded_outcome(context.item, case)

    def graded_outcome(self, item: Item, case: Case) -> Outcome:
        """The outcome under the promised numerics, with the best grade that the case reaches.

        Numerics of better grades are tried first. Worse ones are tried only if the case fails. A
        check that is not graded needs those of the promised grade only.
        """
        declared = self.declared_numerics(item)
        promised = promised_grade(declared, item.dtype)
        by_grade = numerics_by_grade(declared, item.dtype)
        if not facts_of(item.check).is_graded:
            return self.outcome(item, case, by_grade[promised])
        promised_outcome: Outcome | None = None
        for grade, numerics in by_grade.items():
            outcome = self.outcome(item, case, numerics)
            if grade == promised:
                promised_outcome = outcome
            if outcome.status == "passed" and outcome.evidence.ulps:
                reached = EXACT if outcome.evidence.is_exact else grade
                return replace(promised_outcome or outcome, grade=reached)
            # No grade makes an exception right; other faults may depend on the bounds.
            if outcome.status != "failed" or (promised_outcome and outcome.error_ratio is None):
                return promised_outcome or outcome
        assert promised_outcome is not None
        return replace(promised_outcome, grade=WRONG)

    def _build_verdict(self, context: ItemContext, failures: Mapping[str, list[int]]) -> Verdict:
        item, excuses, stream, log = context.item, context.excuses, context.stream, context.log
        if context.in_fork and not self.forks.can_run(item):
            context = replace(context, in_fork=False)
        causes = diagnose_causes(self, context, failures)
        causes += [
            Cause.from_finding(
                Finding(
                    "allowance",
                    entry.reason,
                    wrong=failed,
                    of=covered,
                    got=f"{failed} of {covered} cases",
                    wanted=f"at most {entry.at_most:.2%} of them",
                )
            )
            for entry, failed, covered in excuses.exceeded_entries()
        ]
        conclusion = self._conclusion(item, stream, log)
        verdict = log.open_verdict(item, stopped=context.seconds_left() <= 0)
        verdict = replace(
            verdict,
            drawn=argument_columns(stream.cases()),
            thin=_low_coverage(stream, log, verdict.examples),
        )
        if causes:
            if conclusion is not None:
                causes = [causes[0].noting(conclusion.message), *causes[1:]]
            return verdicts.failed_verdict(replace(verdict, excuses=excuses.list_excuses()), causes)
        verdict = verdicts.conclude_verdict(
            verdict, excuses.list_excuses(), log.main_inapplicable_reason
        )
        return (
            verdict
            if conclusion is None or verdict.status == "known"
            else self._with_conclusion(verdict, conclusion)
        )

    def _conclusion(self, item: Item, stream: Stream, log: Log) -> Conclusion | None:
        """The check's conclusion from the answers to all cases together; None if it has none."""
        conclude = EVERY_CHECK[item.check].conclude
        if conclude is None:
            return None
        return conclude([Answer(stream[k], log.decline_reason(k)) for k in log.answered_indices()])

    def _with_conclusion(self, verdict: Verdict, conclusion: Conclusion) -> Verdict:
        """Return the verdict with the conclusion's status, message and case."""
        verdict = replace(verdict, status=conclusion.status, message=conclusion.message)
        if conclusion.status in ("failed", "unchecked"):
            verdict = replace(verdict, failure=Finding("declared", says=conclusion.message))
        if conclusion.case is None:
            return verdict
        case = on_device(conclusion.case, verdict.device)
        trial = Trial(self.backend, CATALOGUE[verdict.layer], case, answers=self.answers)
        verdict = replace(verdict, call=trial.text())
        return replace(
            verdict,
            message=verdict.own_message,
            case=encode_case(trial.case),
            reproducer=make_reproducer(trial, verdict.check, conclusion.message),
        )

    def _case_order(self, context: ItemContext) -> Iterator[tuple[int, Case]]:
        """Yield the cases in the order in which they are checked, with their indices.

        After the cases that every backend gets, further rounds of the same seed follow while
        nothing is compared. They also follow if the backend declines cases, until enough cases and
        structures are checked, or a round brings no new structure. Enough means the numbers for a
        backend that declines none. If it declines all, the plainest calls come before these rounds,
        which end when `MAX_DECLINED` are declined.
        """
        stream, log, seconds_left = context.stream, context.log, context.seconds_left
        cases = stream.cases()
        for index in self._first_round_order(cases):
            # Without any evidence, continue even if the time is over.
            if seconds_left() <= 0 and log.has_evidence(counting_lost=False):
                return
            yield index, cases[index]
        declined = [k for k in range(len(cases)) if log.letter(k) == "d"]
        has_conclusion = EVERY_CHECK[stream.item.check].conclude is not None
        all_declined = log.is_declined_as_drawn()
        if (has_conclusion and not all_declined) or (stream.invalid and self.values > 1):
            return
        if log.has_evidence() and not all_declined and not (declined and log.checked):
            return
        log.add_cases(len(cases) * PLAIN_ROUND)
        if all_declined and not stream.invalid:
            for index_in_round, case in enumerate(stream.cases(PLAIN_ROUND)):
                yield PLAIN_ROUND * len(cases) + index_in_round, case
        wanted_count = log.checked + len(declined)
        judged = log.judged_indices()
        all_structures = count_structures([stream[k] for k in (*judged, *declined)])
        seen = {structure(stream[k]) for k in judged}
        for round in range(1, MAX_ROUNDS):
            if not stream.invalid and log.declined_count >= MAX_DECLINED and log.judged_none():
                return
            further_cases, seen_before = stream.cases(round), len(seen)
            for index_in_round, case in enumerate(further_cases):
                is_enough = log.checked >= wanted_count and len(seen) >= all_structures
                has_evidence = log.has_evidence(counting_lost=False)
                if has_evidence and (is_enough or seconds_left() <= 0):
                    return
                index = round * len(cases) + index_in_round
                yield index, case
                if log.letter(index) in JUDGED_LETTERS:
                    seen.add(structure(case))
            has_evidence = log.has_evidence(counting_lost=False)
            if has_evidence and log.checked >= wanted_count and len(seen) == seen_before:
                return

    def _first_round_order(self, cases: Sequence[Case]) -> Sequence[int]:
        """The indices of an item's cases; within a budget the most informative ones come first.

        With few structures, the cases already begin with those that bring most values of arguments.
        Cases with an empty input come last, because they have nothing to compare.
        """
        if self.budget is None:
            return range(len(cases))
        start = 0 if self.values > 1 else min(1, len(cases)) % max(len(cases), 1)
        order = (*range(start, len(cases)), *range(start))
        return sorted(
            order, key=lambda k: any(x is not None and not x.size for x in cases[k].inputs)
        )

    def stream(self, item: Item) -> Stream:
        """The cases of an item, in rounds."""
        return Stream(item, self.examples, self.seed, self.values)

    def cases(self, item: Item) -> Sequence[Case]:
        """The cases of an item that every backend gets."""
        return self.stream(item).cases()

    def try_case(
        self,
        item: Item,
        case: Case,
        numerics: Numerics | None = None,
        backend: Backend | None = None,
    ) -> Evidence:
        """Run one check on one case.

        Args:
            item: the check, and the device to run on.
            numerics: the backend's declaration for the dtype.
            backend: the backend to run on; None = the one under test.

        Raises:
            Failure: if the check fails.
            Unsupported: if the backend declines the case.
        """
        if self.interrupted():
            raise KeyboardInterrupt
        # The pinned case of a known failure may be of another layer than the item.
        spec = CATALOGUE[case.call.layer]
        case = on_device(case, item.device)
        facts = facts_of(item.check)
        if item.layer in self._declined_layers and "vjp" in facts.members and not facts.calls_first:
            decline_early(Trial(backend or self.backend, spec, case, numerics, self.answers))
        evidence = Evidence()
        for _ in sides():
            trial = Trial(backend or self.backend, spec, case, numerics, self.answers)
            evidence = EVERY_CHECK[item.check].run(trial)
        return evidence

    def outcome(
        self,
        item: Item,
        case: Case,
        numerics: Numerics | None = None,
        backend: Backend | None = None,
    ) -> Outcome:
        """The outcome of one check on one case; the arguments are those of `try_case`."""
        hits_before = hits_of(self.backend) if backend is None and self.counts_hits else None
        outcome_without_hits = self._outcome_without_hits(item, case, numerics, backend)
        breaches = breaches_of(self.backend) if backend is None and self.sees_breaches else ()
        if breaches:
            kind, text = breaches[0]
            outcome_without_hits = Outcome.from_finding(Finding("breach", kind, says=text))
        if hits_before is None:
            return outcome_without_hits
        hits_after = hits_of(self.backend) or {}
        hits = {
            name: max(hits_after.get(name, 0) - count, 0) for name, count in hits_before.items()
        }
        return replace(outcome_without_hits, hits=hits)

    def _outcome_without_hits(
        self, item: Item, case: Case, numerics: Numerics | None, backend: Backend | None
    ) -> Outcome:
        try:
            return Outcome("passed", evidence=self.try_case(item, case, numerics, backend))
        except Unsupported as declined:
            is_lacking = isinstance(declined, (NotOffered, Unreached))
            return Outcome("unsupported", exception_text(declined), in_every_call=is_lacking)
        except Accepted as accepted:
            return Outcome("invalid", str(accepted), accepted=accepted.broken)
        except Inapplicable as inapplicable:
            return Outcome("invalid", str(inapplicable))
        except Failure as failure:
            return Outcome.from_finding(failure.finding)

    def script(
        self,
        item: Item,
        case: Case,
        message: str,
        *,
        ends_process: bool,
        write: Callable[[str], None] | None = None,
    ) -> str:
        """Write the reproducer of a case.

        Args:
            item: the check, and the device.
            message: the message of its failure.
            ends_process: the case ends the process.
            write: for such a case, called before each step with the script up to that step; None =
                the case does not run.
        """
        spec, case = CATALOGUE[case.call.layer], on_device(case, item.device)
        trial = Trial(self.backend, spec, case, answers=self.answers)
        return make_reproducer(trial, item.check, message, ends_process=ends_process, write=write)


def decline_early(trial: Trial) -> None:
    """Ask by an ordinary call whether a case is declined, before the oracle differentiates it.

    Any failure is left to the check. Does nothing for a layer without gradients.

    Raises:
        Unsupported: if the backend declines the case.
    """
    with suppress(Failure):
        if getattr(trial.layer, "vjp", None) is not None:
            _ = trial.outputs


def _low_coverage(stream: Stream, log: Log, examples: Examples) -> str | None:
    """Why the checked cases have too few structures to reach every argument's values.

    None if they have enough, or if no case was declined, stopped by the budget or left out.
    """
    reasons = {
        "declined": examples.declined, "budget": examples.stopped, "left out": examples.left_out
    }  # fmt: skip
    if not log.checked or not any(reasons.values()):
        return None
    min_count, checked = (
        min_structures(stream.cases()),
        count_structures([stream[k] for k in log.judged_indices()]),
    )
    if checked >= min_count:
        return None
    main_reason = max(reasons, key=lambda name: reasons[name])
    return f"{checked} of {min_count} structures ({main_reason})"


def _unlimited() -> float:
    """The remaining seconds without a budget."""
    return math.inf


def _keep_no_journal(phase: str, index: int, checked: int) -> None:
    """Take the place of a journal; records nothing."""
