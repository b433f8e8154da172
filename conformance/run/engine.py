"""The engine: runs items, each one check of one layer in one dtype, over all its cases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from conformance.backends.capabilities import (
    base_of,
    hits_of,
    info_of,
    numerics_of,
    offered,
    values_per_structure,
)
from conformance.backends.guard import BackendError, guarded
from conformance.checks import EVERY_CHECK
from conformance.checks.answers import Answers
from conformance.checks.support import Answer, Conclusion
from conformance.checks.trial import Evidence, Trial
from conformance.diagnosis.diagnose import investigate
from conformance.diagnosis.reference import Reference
from conformance.diagnosis.reproducer import reproducer
from conformance.generation.argument_columns import columns
from conformance.items import verdicts
from conformance.items.context import ItemContext
from conformance.items.forks import Copies, Expendable
from conformance.items.log import JUDGED, Log
from conformance.items.outcomes import Outcome, on_device
from conformance.items.planning import Item, asked_of
from conformance.items.stream import ROUNDS, Stream, needed, structures
from conformance.known.cpu import place_of
from conformance.known.entry import Known, applying
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers.encoding import encode_case
from conformance.matching.features import structure
from conformance.model.budget import Budget
from conformance.model.cached import lazy
from conformance.model.case import Case, Examples, Numerics, Unsupported, Verdict
from conformance.model.cause import Cause
from conformance.model.failure import Accepted, Failure, Inapplicable
from conformance.model.finding import Finding
from conformance.model.protocols import Backend
from conformance.model.untrusted import written
from conformance.run.stale import not_failing

# Seconds that an item may continue with its other cases after the first failure.
SURVEYING = 10.0


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
        known: Sequence[Known] = (),
        interrupted: Callable[[], bool] = lambda: False,
        budget: Budget | None = None,
        process: Expendable | None = None,
    ) -> None:
        self.backend: Backend = guarded(backend)
        self.examples, self.seed = examples, seed
        self.known, self.interrupted = tuple(known), interrupted
        self.budget, self.values = budget, values_per_structure(backend)
        self.expendable = process is not None
        self.note = _nothing if process is None else process.note
        self.copies = Copies(self, None if process is None else process.copied)
        self.answers = Answers()
        self.reference = Reference(self)

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
            if not offered(self.backend, item.layer, item.dtype, item.device):
                verdict = self._declined(item)
            else:
                verdict = self._checked(item, dead, lost or {})
        except BackendError as error:
            # The backend's description of itself has become invalid during the run.
            finding = Finding("other", says=str(error))
            verdict = verdicts.wrong(verdicts.begin(item), "failed", finding)
        return replace(verdict, seconds=round(time.perf_counter() - started, 4))

    def _declined(self, item: Item) -> Verdict:
        reason = f"{item.layer} in {item.dtype} on {item.device} is not offered"
        asked = asked_of(item, self.examples)
        examples = Examples(asked, 0, {reason: asked}, 0)
        return replace(verdicts.begin(item, examples), status="unsupported", message=reason)

    def _checked(self, item: Item, dead: Collection[int], lost: Mapping[int, str]) -> Verdict:
        left = _unlimited if self.budget is None else self.budget.begin()
        if left is None:
            return verdicts.left_out(item, asked_of(item, self.examples))
        try:
            numerics = numerics_of(self.backend, item.dtype)
        except Failure as failure:
            return verdicts.wrong(verdicts.begin(item), "failed", failure.finding)
        applies = applying(self.known, item, self.backend.name, self.base(item.layer))
        passing = not_failing(self, item, applies, dead, left)
        if passing:
            place = place_of(self.backend.name, self._info, item.device)
            if stale := [(entry, now) for entry, now in passing if place in entry.seen]:
                return verdicts.stale(item, stale)
        excuses = Excuses(tuple(applies.values()), EVERY_CHECK[item.check])
        stream = self.stream(item)
        self.note("drawing", 0, 0)
        log = Log(stream.cases())
        context = ItemContext(item, numerics, excuses, stream, log, left, careful=bool(lost))
        verdict = self._judged(context, lost)
        return replace(
            verdict, not_shown=tuple(dict.fromkeys(entry.reason for entry, _ in passing))
        )

    @cached_property
    def _info(self) -> dict[str, str]:
        """The backend's `info()`."""
        return info_of(self.backend)

    @lazy
    def counts(self) -> bool:
        """Whether the backend counts how often the functions under test run."""
        return hits_of(self.backend) is not None

    def numerics(self, dtype: str) -> Numerics | None:
        """The backend's declaration of its arithmetic in a dtype."""
        return numerics_of(self.backend, dtype)

    def base(self, layer: str) -> str:
        """The backend whose kernels a layer inherits; empty for none."""
        return base_of(self.backend, layer)

    def _judged(self, context: ItemContext, lost: Mapping[int, str]) -> Verdict:
        """Run all cases in turn, and build the verdict from their outcomes."""
        excuses, log = context.excuses, context.log
        failures: dict[str, list[int]] = {}
        for index, case in self._turns(context):
            if failures and log.surveyed() > SURVEYING:
                break
            if index in lost:
                log.lost(index)
                continue
            self.note("checking", index, log.checked)
            outcome = self._outcome(context, case)
            log.ran(outcome)
            if outcome is None or outcome.status not in ("unsupported", "invalid"):
                excuses.begin(case)
            if outcome is None:
                log.left_out(index)
            elif outcome.lost and excuses.deadly(case) is None:
                log.lost(index)
            elif outcome.status == "passed":
                log.passed(index, case, outcome.evidence)
            elif outcome.status == "unsupported":
                log.declined(index, outcome.message or "no reason given")
            elif outcome.status == "invalid":
                log.inapplicable(index, outcome.message or "")
                if outcome.accepted:
                    log.accepted[outcome.accepted] += 1
            else:
                entry = self.reference.excusing(context, case, outcome)
                log.failed(index, excess=outcome.excess, excused=entry is not None)
                if entry is None:
                    failures.setdefault(outcome.kind, []).append(index)
                else:
                    excuses.excuse(entry)
        return self._concluded(context, failures)

    def _outcome(self, context: ItemContext, case: Case) -> Outcome | None:
        """The outcome of a case; None if it is left out because it would end the process."""
        item, excuses = context.item, context.excuses
        entry = excuses.deadly(case)
        if entry is None:
            return self.cautious_outcome(context, case)
        outcome = self.copies.deadly(item, case, entry)
        # A framework's threads may hang in a copy, although the case would crash in this process.
        stuck = outcome is not None and (outcome.status, entry.status) == ("hung", "crashed")
        if outcome is None or stuck:
            excuses.leave_out(entry)
            return None
        if outcome.lost and excuses.deadly(case, outcome.status) is None:
            return self.outcome(item, case, context.numerics)  # the parent reports the end
        return outcome

    def cautious_outcome(self, context: ItemContext, case: Case) -> Outcome | None:
        """The outcome of a case that no known failure marks as ending the process.

        If cases of the layer have ended the process, the case runs in a copy. None if hanging cases
        have used up their time.
        """
        if context.careful and self.copies.serve(context.item):
            return self.copies.careful(context.item, case)
        return self.outcome(context.item, case, context.numerics)

    def _concluded(self, context: ItemContext, failures: Mapping[str, list[int]]) -> Verdict:
        item, excuses, stream, log = context.item, context.excuses, context.stream, context.log
        if context.careful and not self.copies.serve(item):
            context = replace(context, careful=False)
        causes = investigate(self, context, failures)
        causes += [
            Cause.of(
                Finding(
                    "allowance",
                    entry.reason,
                    wrong=failed,
                    of=covered,
                    got=f"{failed} of {covered} cases",
                    wanted=f"at most {entry.at_most:.2%} of them",
                )
            )
            for entry, failed, covered in excuses.exceeded()
        ]
        conclusion = self._conclusion(item, stream, log)
        verdict = log.verdict(item, stopped=context.left() <= 0)
        verdict = replace(
            verdict, drawn=columns(stream.cases()), thin=_thin(stream, log, verdict.examples)
        )
        if causes:
            if conclusion is not None:
                causes = [causes[0].noting(conclusion.message), *causes[1:]]
            return verdicts.failed(replace(verdict, excuses=excuses.listed()), causes)
        verdict = verdicts.conclude(verdict, excuses.listed(), log.mostly_inapplicable)
        return (
            verdict
            if conclusion is None or verdict.status == "known"
            else self._with(verdict, conclusion)
        )

    def _conclusion(self, item: Item, stream: Stream, log: Log) -> Conclusion | None:
        """The check's conclusion from the answers to all cases together; None if it has none."""
        conclude = EVERY_CHECK[item.check].conclude
        if conclude is None:
            return None
        return conclude([Answer(stream[k], log.reason(k)) for k in log.answered()])

    def _with(self, verdict: Verdict, conclusion: Conclusion) -> Verdict:
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
            reproducer=reproducer(trial, verdict.check, conclusion.message),
        )

    def _turns(self, context: ItemContext) -> Iterator[tuple[int, Case]]:
        """Yield the cases in the order in which they are checked, with their indices.

        After the cases that every backend gets, further rounds of the same seed follow while
        nothing is compared. They also follow if the backend declines cases, until enough cases and
        structures are checked, or a round brings no new structure. Enough means the numbers for a
        backend that declines none.
        """
        stream, log, left = context.stream, context.log, context.left
        cases = stream.cases()
        for index in self._order(cases):
            # Without any evidence, continue even if the time is over.
            if left() <= 0 and log.telling():
                return
            yield index, cases[index]
        declined = [k for k in range(len(cases)) if log.letter(k) == "d"]
        concluding = EVERY_CHECK[stream.item.check].conclude is not None
        if concluding or (stream.invalid and self.values > 1):
            return
        if log.telling() and not (declined and log.checked):
            return
        wanted = log.checked + len(declined)
        judged = log.judged()
        all_structures = structures([cases[k] for k in (*judged, *declined)])
        seen = {structure(cases[k]) for k in judged}
        for round in range(1, ROUNDS):
            further, before = stream.cases(round), len(seen)
            log.extend(len(cases))
            for place, case in enumerate(further):
                enough = log.checked >= wanted and len(seen) >= all_structures
                if log.telling() and (enough or left() <= 0):
                    return
                index = round * len(cases) + place
                yield index, case
                if log.letter(index) in JUDGED:
                    seen.add(structure(case))
            if log.telling() and log.checked >= wanted and len(seen) == before:
                return

    def _order(self, cases: Sequence[Case]) -> Sequence[int]:
        """The indices of an item's cases; within a budget the most informative ones come first.

        With few structures, the cases already begin with those that bring most values of arguments.
        Cases with an empty input come last, because they have nothing to compare.
        """
        if self.budget is None:
            return range(len(cases))
        first = 0 if self.values > 1 else min(1, len(cases)) % max(len(cases), 1)
        order = (*range(first, len(cases)), *range(first))
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
        row = CATALOGUE[case.call.layer]
        case = on_device(case, item.device)
        trial = Trial(backend or self.backend, row, case, numerics, self.answers)
        return EVERY_CHECK[item.check].run(trial)

    def outcome(
        self,
        item: Item,
        case: Case,
        numerics: Numerics | None = None,
        backend: Backend | None = None,
    ) -> Outcome:
        """The outcome of one check on one case; the arguments are those of `try_case`."""
        before = hits_of(self.backend) if backend is None and self.counts else None
        found = self._tried(item, case, numerics, backend)
        if before is None:
            return found
        after = hits_of(self.backend) or {}
        hits = {name: max(after.get(name, 0) - count, 0) for name, count in before.items()}
        return replace(found, hits=hits)

    def _tried(
        self, item: Item, case: Case, numerics: Numerics | None, backend: Backend | None
    ) -> Outcome:
        try:
            return Outcome("passed", evidence=self.try_case(item, case, numerics, backend))
        except Unsupported as declined:
            return Outcome("unsupported", written(declined))
        except Accepted as accepted:
            return Outcome("invalid", str(accepted), accepted=accepted.broken)
        except Inapplicable as inapplicable:
            return Outcome("invalid", str(inapplicable))
        except Failure as failure:
            return Outcome.failed(failure.finding)

    def script(
        self,
        item: Item,
        case: Case,
        message: str,
        *,
        deadly: bool,
        write: Callable[[str], None] | None = None,
    ) -> str:
        """Write the reproducer of a case.

        Args:
            item: the check, and the device.
            message: the message of its failure.
            deadly: the case ends the process.
            write: for such a case, called before each step with the script up to that step; None =
                the case does not run.
        """
        row, case = CATALOGUE[case.call.layer], on_device(case, item.device)
        trial = Trial(self.backend, row, case, answers=self.answers)
        return reproducer(trial, item.check, message, deadly=deadly, write=write)


def _thin(stream: Stream, log: Log, examples: Examples) -> str | None:
    """Why the checked cases have too few structures to reach every argument's values.

    None if they have enough, or if no case was declined, stopped by the budget or left out.
    """
    reasons = {
        "declined": examples.declined, "budget": examples.stopped, "left out": examples.left_out
    }  # fmt: skip
    if not log.checked or not any(reasons.values()):
        return None
    least, checked = needed(stream.cases()), structures([stream[k] for k in log.judged()])
    if checked >= least:
        return None
    most = max(reasons, key=lambda name: reasons[name])
    return f"{checked} of {least} structures ({most})"


def _unlimited() -> float:
    """The remaining seconds without a budget."""
    return math.inf


def _nothing(phase: str, index: int, checked: int) -> None:
    """Take the place of a journal; records nothing."""
