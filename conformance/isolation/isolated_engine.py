"""Run items in a child process, and find the minimal case that crashes or hangs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from conformance.backends.capabilities import DEFAULT_TIMEOUT
from conformance.checks import EVERY_CHECK
from conformance.generation.cases import MANY_CASES
from conformance.isolation.process import Child, ChildDied, ChildError, ForgedAnswer
from conformance.items import verdicts
from conformance.items.case_class import case_class
from conformance.items.outcomes import Outcome, on_device
from conformance.items.planning import Item, case_count
from conformance.items.stream import Stream
from conformance.known.entry import KnownFailure, applicable_entries
from conformance.known.matches import Excuses
from conformance.layers.describe import case_text
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.budget import Budget
from conformance.model.case import Case, Examples, Verdict
from conformance.model.cause import Cause, Excuse
from conformance.model.finding import Finding

# Seconds for shrinking in one item, and in the run. After each candidate that ends the process a
# new process must import the framework, which takes seconds.
SHRINKING_ITEM = 40.0
SHRINKING_RUN = 300.0
# Most cases of one item that may end the process. Each costs a new process, which runs the item's
# other cases again.
MAX_LOST_CASES = 3
# Seconds that a case may hang while it is shrunk; ordinary cases take milliseconds.
HANGS = 1.0
# Bytes by which a process may have grown when another layer or dtype begins. It keeps mostly
# compiled kernels of the previous layer, which are useless by then. A new process costs seconds.
MAX_GROWTH = 512 << 20


@dataclass(frozen=True, kw_only=True)
class LostOutcome(Outcome):
    """The outcome of a case that crashed or hung the process.

    Args:
        died: where the process was at its end.
    """

    died: ChildDied

    @classmethod
    def from_death(cls, died: ChildDied) -> LostOutcome:
        """The outcome of the case during which the process ended."""
        finding = Finding("lost", died.status, says=died.cause, frame=died.frame)
        return cls(died.status, died.cause, failure=finding, died=died)


@dataclass
class IsolatedEngine:
    """An engine that runs items in a child process, so that a crash or hang costs one verdict.

    Args:
        child: the process.
        backend: the backend's name.
        examples, seed: options of the run.
        known: the same known failures that the child reads.
        interrupted: called before each item and each candidate of shrinking; True means Ctrl-C.
        values_per_structure: cases of one structure; see `values_per_structure`.
        budget: time for each item, None = no limit; the time of lost processes counts as well.
        bases: layer → the backend whose kernels it calls, if there is one.
    """

    child: Child
    backend: str
    examples: int
    seed: int
    known: Sequence[KnownFailure] = ()
    interrupted: Callable[[], bool] = lambda: False
    cases_per_structure: int = 1
    budget: Budget | None = None
    bases: Mapping[str, str] = field(default_factory=dict)
    _ending_pinned: set[tuple[int, str, str]] = field(default_factory=set)
    _minimal_cases: dict[tuple[str, str, bool], Case] = field(default_factory=dict)
    _lost_cases: dict[tuple[str, str, str, bool, int], dict[int, str]] = field(default_factory=dict)
    _shrink_seconds: float = 0.0
    _group: tuple[str, str, str] | None = None

    def run(self, item: Item) -> Verdict:
        """Run an item and return its verdict, as `Engine.run` does."""
        if self.interrupted():
            raise KeyboardInterrupt
        started = time.perf_counter()
        remaining = _no_limit if self.budget is None else self.budget.begin()
        if remaining is None:
            return verdicts.left_out_verdict(item, case_count(item, self.examples))
        try:
            verdict = self._run(item, remaining)
        except (ChildError, ForgedAnswer) as error:
            verdict = _lost_verdict(item, str(error))
        remaining()
        return replace(verdict, seconds=round(time.perf_counter() - started, 4))

    def close(self) -> None:
        """End the child process."""
        self.child.stop()

    def _stop_if_grown(self, item: Item) -> None:
        """Stop a process that has taken much memory when the layer, dtype or device changes.

        A backend that compiles keeps its process, because it frees its compiled kernels itself.
        """
        group = item.layer, item.dtype, item.device
        allowed = MAX_GROWTH if self.examples <= MANY_CASES else 0
        if (
            group != self._group
            and self.cases_per_structure == 1
            and self.child.memory_growth() > allowed
        ):
            self.child.stop()
        self._group = group

    def _run(self, item: Item, remaining: Callable[[], float | None]) -> Verdict:
        """Request an item's verdict from the child, again after each case that ends the process."""
        self._stop_if_grown(item)
        causes: list[Cause] = []
        inherited: list[Excuse] = []
        classes: dict[str, list[str]] = {"causes": [], "inherited": []}
        invalid = EVERY_CHECK[item.check].invalid
        group = (item.layer, item.dtype, item.device, invalid, item.step(self.examples))
        lost_cases = self._lost_cases.setdefault(group, {})
        while True:
            ending_pinned = [
                k
                for k, dtype, device in self._ending_pinned
                if (dtype, device) == (item.dtype, item.device)
            ]
            has_history = self.child.answer_count > 0
            seconds = remaining()
            if causes and seconds is not None and seconds <= 0:
                return self._stopped_verdict(item, causes, lost_cases)
            request = {
                "item": item,
                "dead": ending_pinned,
                "seconds": seconds,
                "lost": {str(index): item_id for index, item_id in lost_cases.items()},
            }
            try:
                answer = self.child.ask(request)
            except ForgedAnswer:
                raise
            except ChildDied as died:
                if died.entry.phase == "pinned":
                    # The known failure still exists; the other cases of the item must still run.
                    self._ending_pinned.add((died.entry.index, item.dtype, item.device))
                    continue
                if died.entry.phase not in ("checking", "shrinking"):
                    drawing = died.entry.phase == "drawing"
                    when = "while cases were drawn" if drawing else "before any case ran"
                    return _lost_verdict(item, died.cause, died.status, during=when)
                result = self._investigate(item, died)
                lost_cases[died.entry.index] = item.id
                lost_class = case_class(self._stream(item)[died.entry.index])
                if isinstance(result, Excuse):
                    inherited.append(result)
                    classes["inherited"].append(lost_class)
                else:
                    causes.append(result)
                    classes["causes"].append(lost_class)
                if len(causes) == MAX_LOST_CASES:
                    return self._stopped_verdict(item, causes, lost_cases)
                continue
            if "verdict" in answer:
                verdict = msgspec.convert(answer["verdict"], Verdict, strict=False)
                if verdict.id != item.id:
                    self.child.stop()
                    return _lost_verdict(
                        item, f"the process answered with a verdict of {verdict.id}"
                    )
                verdict = _note_lost_items(verdict, item, lost_cases)
                verdict = verdicts.with_inherited_failures(verdict, inherited, classes["inherited"])
                return verdicts.with_lost_cases(verdict, causes, classes["causes"])
            # The state of that process is unknown. Earlier items may have used up its memory, so
            # the item then runs again in a new process. Any other error of the suite is reported.
            self.child.stop()
            if has_history and "MemoryError" in answer["raised"].splitlines()[-1]:
                continue
            message = f"the suite's own code failed:\n{answer['raised']}"
            finding = Finding("internal", says=message)
            return verdicts.with_failure(verdicts.open_verdict(item), "crashed", finding)

    def _stopped_verdict(
        self, item: Item, causes: Sequence[Cause], lost_cases: Mapping[int, str]
    ) -> Verdict:
        """The verdict of an item that stops early, because too many cases end the process."""
        case_count = len(self._stream(item).cases())
        examples = Examples(
            case_count, len(causes), failed=len(causes), lost=len(lost_cases) - len(causes)
        )
        return verdicts.failed_verdict(verdicts.open_verdict(item, examples), causes)

    def _investigate(self, item: Item, died: ChildDied) -> Cause | Excuse:
        """Find the minimal case that ends the process; an excuse if it ends the base alike."""
        first_outcome: Outcome = LostOutcome.from_death(died)
        if died.entry.phase == "shrinking":
            # That case only failed. An unknown, simpler case ended the process during shrinking.
            message = f"it failed, and while it was shrunk {died.cause}"
            first_outcome = Outcome.from_finding(Finding("lost", died.status, says=message))
        case, outcome = self._minimise(item, died.entry.index, first_outcome)
        case, base = on_device(case, item.device), self.bases.get(item.layer, "")
        base_outcome = (
            self._try_case(item, case, base=True, fork=self._fork_seconds(outcome))
            if base
            else None
        )
        if base_outcome is not None and base_outcome.status == outcome.status:
            reason = f"{base} is ended alike, not among its known failures"
            return Excuse(reason, "", 1, 1, 0, base)
        reference = None if base_outcome is None else f"{base}: differs"
        return self._build_cause(item, case, outcome, reference)

    def _stream(self, item: Item) -> Stream:
        return Stream(item, self.examples, self.seed, self.cases_per_structure)

    def _minimise(self, item: Item, index: int, first_outcome: Outcome) -> tuple[Case, Outcome]:
        """Shrink a case that ended the process, or failed, within the time limits of shrinking.

        Args:
            index: index of the case.
            first_outcome: outcome of the case.
        """
        stream = self._stream(item)
        key = (item.layer, item.dtype, stream.invalid)
        known_case = self._minimal_cases.get(key)
        if known_case is not None:
            # Usually another check of the layer has already found the same crash.
            minimal_outcome = self._failing_outcome(item, known_case)
            if minimal_outcome is not None:
                return known_case, minimal_outcome
            self.child.stop()  # only a child that has run nothing is forked
        known = applicable_entries(self.known, item, self.backend, self.bases.get(item.layer, ""))
        find_ending = Excuses(tuple(known.values()), EVERY_CHECK[item.check]).find_process_ending
        started = time.monotonic()
        time_limit = min(SHRINKING_ITEM, SHRINKING_RUN - self._shrink_seconds)
        options = self._fork_options(item, stream, index, first_outcome, find_ending)

        def fails(candidate: Case) -> Outcome | None:
            if self.interrupted():
                raise KeyboardInterrupt
            if time.monotonic() - started > time_limit or find_ending(candidate) is not None:
                return None
            outcome = self._failing_outcome(item, candidate, **options)
            # A simpler case that only fails would hide what ends the process.
            return (
                outcome
                if outcome and (outcome.process_lost or not first_outcome.process_lost)
                else None
            )

        minimal = stream.shrink(index, fails)
        self._shrink_seconds += time.monotonic() - started
        # Run it again, because candidates had less time than usual, or ran in a fork.
        minimal_outcome = None if minimal is None else self._failing_outcome(item, minimal[0])
        if minimal is None or minimal_outcome is None:
            return stream[index], first_outcome
        self._minimal_cases[key] = minimal[0]
        return minimal[0], minimal_outcome

    def _fork_options(
        self,
        item: Item,
        stream: Stream,
        index: int,
        first_outcome: Outcome,
        find_ending: Callable[[Case], KnownFailure | None],
    ) -> dict[str, float]:
        """Request options that run cases in forks of the child: milliseconds instead of seconds.

        Empty if a fork does not behave like the child, because some frameworks hang in a fork.
        """
        options = {"fork": self._fork_seconds(first_outcome)}
        earlier_cases = (stream[k] for k in range(min(index, 50)))
        passing = next((case for case in earlier_cases if find_ending(case) is None), None)
        if passing is None:
            return {}
        outcome = self._failing_outcome(item, stream[index], **options)
        is_alike = outcome is not None and outcome.status == first_outcome.status
        return (
            options if is_alike and self._failing_outcome(item, passing, **options) is None else {}
        )

    def _failing_outcome(self, item: Item, case: Case, **options: Any) -> Outcome | None:
        """The outcome of a case that fails or ends the process; None if it passes or is unknown."""
        outcome = self._try_case(item, case, **options)
        return outcome if outcome is not None and outcome.is_failure else None

    def _try_case(self, item: Item, case: Case, **options: Any) -> Outcome | None:
        """Run one case in the child; None if its outcome is unknown.

        Args:
            options: further options of the request: `fork`, `base`.
        """
        try:
            outcome = self.child.outcome(item, case, **options)
        except ForgedAnswer:
            raise
        except ChildDied as died:
            return LostOutcome.from_death(died)
        return None if outcome.status == "unknown" else outcome

    def _fork_seconds(self, outcome: Outcome) -> float:
        """Seconds that a case may take in a fork of the child.

        The limit is short, because each candidate that hangs uses all of it. Other cases take
        milliseconds.
        """
        compile_seconds = self.child.limits.seconds - DEFAULT_TIMEOUT
        min_seconds = HANGS if outcome.status == "hung" else self.child.limits.seconds / 5
        return max(min_seconds, HANGS, min(compile_seconds, self.child.limits.seconds / 5))

    def _build_cause(
        self, item: Item, case: Case, outcome: Outcome, reference: str | None
    ) -> Cause:
        """Describe a minimal case, and the step at which it ended the process."""
        call, finding = case_text(case), outcome.failure
        assert finding is not None
        if isinstance(outcome, LostOutcome) and outcome.died.step is not None:
            step, encoded = outcome.died.step
            finding = replace(finding, what=step)
            if outcome.died.inner_call:
                finding = finding.noting(f"in {outcome.died.inner_call}")
            step_call = case_text(decode_case(encoded))
            if step_call != call:
                # A law, for example, makes other calls from the case.
                call, finding = step_call, finding.in_context(f"while checking {call}")
        return Cause.from_finding(
            finding if reference is None else finding.noting(reference),
            call,
            case=encode_case(case),
            reproducer=self.child.script(
                item, case, outcome.message, ends_process=outcome.process_lost
            ),
            failed=1,
            status=outcome.status,
            reference=reference,
        )


def _lost_verdict(
    item: Item, message: str, status: str = "crashed", *, during: str = ""
) -> Verdict:
    """The verdict of an item whose process ended, or became untrusted, outside of any case."""
    finding = Finding("lost", status, during=during, says=message)
    return verdicts.with_failure(verdicts.open_verdict(item), status, finding)


def _note_lost_items(verdict: Verdict, item: Item, lost_cases: Mapping[int, str]) -> Verdict:
    """Add the items in which the verdict's lost cases ended the process."""
    other_items = dict.fromkeys(item_id for item_id in lost_cases.values() if item_id != item.id)
    if not other_items or not verdict.examples.lost:
        return verdict
    return verdict.noting(f"cases lost: see {', '.join(other_items)}")


def _no_limit() -> None:
    """Report no time limit: the remaining time without a budget."""
