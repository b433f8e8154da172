"""Run items in a child process, and find the minimal case that crashes or hangs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from conformance.backends.capabilities import TIMEOUT
from conformance.checks import EVERY_CHECK
from conformance.generation.cases import MANY
from conformance.isolation.process import Child, ChildError, Died, Forged
from conformance.items import verdicts
from conformance.items.outcomes import Outcome, on_device
from conformance.items.planning import Item, asked_of
from conformance.items.stream import Stream
from conformance.known.entry import Known, applying
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
MOST = 3
# Seconds that a case may hang while it is shrunk; ordinary cases take milliseconds.
HANGS = 1.0
# Bytes by which a process may have grown when another layer or dtype begins. It keeps mostly
# compiled kernels of the previous layer, which are useless by then. A new process costs seconds.
GROWN = 512 << 20


@dataclass(frozen=True, kw_only=True)
class Lost(Outcome):
    """The outcome of a case that crashed or hung the process.

    Args:
        died: where the process was at its end.
    """

    died: Died

    @classmethod
    def by(cls, died: Died) -> Lost:
        """The outcome of the case during which the process ended."""
        finding = Finding("lost", died.status, says=died.how, frame=died.frame)
        return cls(died.status, died.how, failure=finding, died=died)


@dataclass
class IsolatedEngine:
    """An engine that runs items in a child process, so that a crash or hang costs one verdict.

    Args:
        child: the process.
        backend: the backend's name.
        examples, seed: options of the run.
        known: the same known failures that the child reads.
        interrupted: called before each item and each candidate of shrinking; True means Ctrl-C.
        values: cases of one structure; see `values_per_structure`.
        budget: time for each item, None = no limit; the time of lost processes counts as well.
        bases: layer → the backend whose kernels it calls, if there is one.
    """

    child: Child
    backend: str
    examples: int
    seed: int
    known: Sequence[Known] = ()
    interrupted: Callable[[], bool] = lambda: False
    values: int = 1
    budget: Budget | None = None
    bases: Mapping[str, str] = field(default_factory=dict)
    _dead: set[tuple[int, str, str]] = field(default_factory=set)
    _minimal: dict[tuple[str, str, bool], Case] = field(default_factory=dict)
    _lost: dict[tuple[str, str, str, bool, int], dict[int, str]] = field(default_factory=dict)
    _spent: float = 0.0
    _group: tuple[str, str, str] | None = None

    def run(self, item: Item) -> Verdict:
        """Run an item and return its verdict, as `Engine.run` does."""
        if self.interrupted():
            raise KeyboardInterrupt
        started = time.perf_counter()
        left = _unlimited if self.budget is None else self.budget.begin()
        if left is None:
            return verdicts.left_out(item, asked_of(item, self.examples))
        try:
            verdict = self._run(item, left)
        except (ChildError, Forged) as error:
            verdict = _lost(item, str(error))
        left()
        return replace(verdict, seconds=round(time.perf_counter() - started, 4))

    def close(self) -> None:
        """End the child process."""
        self.child.stop()

    def _renew(self, item: Item) -> None:
        """Stop a process that has taken much memory when the layer, dtype or device changes.

        A backend that compiles keeps its process, because it frees its compiled kernels itself.
        """
        group = item.layer, item.dtype, item.device
        allowed = GROWN if self.examples <= MANY else 0
        if group != self._group and self.values == 1 and self.child.grown() > allowed:
            self.child.stop()
        self._group = group

    def _run(self, item: Item, left: Callable[[], float | None]) -> Verdict:
        """Request an item's verdict from the child, again after each case that ends the process."""
        self._renew(item)
        causes: list[Cause] = []
        inherited: list[Excuse] = []
        invalid = EVERY_CHECK[item.check].invalid
        group = (item.layer, item.dtype, item.device, invalid, item.step(self.examples))
        lost = self._lost.setdefault(group, {})
        while True:
            dead = [
                k for k, dtype, device in self._dead if (dtype, device) == (item.dtype, item.device)
            ]
            burdened = self.child.answered > 0
            seconds = left()
            if causes and seconds is not None and seconds <= 0:
                return self._without_others(item, causes, lost)
            request = {
                "item": item,
                "dead": dead,
                "seconds": seconds,
                "lost": {str(index): met for index, met in lost.items()},
            }
            try:
                answer = self.child.ask(request)
            except Forged:
                raise
            except Died as died:
                if died.entry.phase == "pinned":
                    # The known failure still exists; the other cases of the item must still run.
                    self._dead.add((died.entry.index, item.dtype, item.device))
                    continue
                if died.entry.phase not in ("checking", "shrinking"):
                    drawing = died.entry.phase == "drawing"
                    when = "while cases were drawn" if drawing else "before any case ran"
                    return _lost(item, died.how, died.status, during=when)
                found = self._investigated(item, died)
                lost[died.entry.index] = item.id
                if isinstance(found, Excuse):
                    inherited.append(found)
                else:
                    causes.append(found)
                if len(causes) == MOST:
                    return self._without_others(item, causes, lost)
                continue
            if "verdict" in answer:
                verdict = msgspec.convert(answer["verdict"], Verdict, strict=False)
                if verdict.id != item.id:
                    self.child.stop()
                    return _lost(item, f"the process answered with a verdict of {verdict.id}")
                verdict = _with_references(verdict, item, lost)
                return verdicts.joined(verdicts.inheriting(verdict, inherited), causes)
            # The state of that process is unknown. Earlier items may have used up its memory, so
            # the item then runs again in a new process. Any other error of the suite is reported.
            self.child.stop()
            if burdened and "MemoryError" in answer["raised"].splitlines()[-1]:
                continue
            message = f"the suite's own code failed:\n{answer['raised']}"
            finding = Finding("internal", says=message)
            return verdicts.wrong(verdicts.begin(item), "crashed", finding)

    def _without_others(
        self, item: Item, causes: Sequence[Cause], lost: Mapping[int, str]
    ) -> Verdict:
        """The verdict of an item that stops early, because too many cases end the process."""
        number = len(self._stream(item).cases())
        examples = Examples(number, len(causes), failed=len(causes), lost=len(lost) - len(causes))
        return verdicts.failed(verdicts.begin(item, examples), causes)

    def _investigated(self, item: Item, died: Died) -> Cause | Excuse:
        """Find the minimal case that ends the process; an excuse if it ends the base alike."""
        first: Outcome = Lost.by(died)
        if died.entry.phase == "shrinking":
            # That case only failed. An unknown, simpler case ended the process during shrinking.
            says = f"it failed, and while it was shrunk {died.how}"
            first = Outcome.failed(Finding("lost", died.status, says=says))
        case, outcome = self._minimised(item, died.entry.index, first)
        case, base = on_device(case, item.device), self.bases.get(item.layer, "")
        theirs = self._tried(item, case, base=True, fork=self._patience(outcome)) if base else None
        if theirs is not None and theirs.status == outcome.status:
            reason = f"{base} is ended alike, not among its known failures"
            return Excuse(reason, "", 1, 1, 0, base)
        reference = None if theirs is None else f"{base}: differs"
        return self._cause(item, case, outcome, reference)

    def _stream(self, item: Item) -> Stream:
        return Stream(item, self.examples, self.seed, self.values)

    def _minimised(self, item: Item, index: int, first: Outcome) -> tuple[Case, Outcome]:
        """Shrink a case that ended the process, or failed, within the time limits of shrinking.

        Args:
            index: index of the case.
            first: outcome of the case.
        """
        stream = self._stream(item)
        key = (item.layer, item.dtype, stream.invalid)
        before = self._minimal.get(key)
        if before is not None:
            # Usually another check of the layer has already found the same crash.
            again = self._failing(item, before)
            if again is not None:
                return before, again
            self.child.stop()  # only a child that has run nothing is forked
        known = applying(self.known, item, self.backend, self.bases.get(item.layer, ""))
        deadly = Excuses(tuple(known.values()), EVERY_CHECK[item.check]).deadly
        started = time.monotonic()
        left = min(SHRINKING_ITEM, SHRINKING_RUN - self._spent)
        how = self._in_copies(item, stream, index, first, deadly)

        def fails(candidate: Case) -> Outcome | None:
            if self.interrupted():
                raise KeyboardInterrupt
            if time.monotonic() - started > left or deadly(candidate) is not None:
                return None
            found = self._failing(item, candidate, **how)
            # A simpler case that only fails would hide what ends the process.
            return found if found and (found.lost or not first.lost) else None

        minimal = stream.shrink(index, fails)
        self._spent += time.monotonic() - started
        # Run it again, because candidates had less time than usual, or ran in a fork.
        again = None if minimal is None else self._failing(item, minimal[0])
        if minimal is None or again is None:
            return stream[index], first
        self._minimal[key] = minimal[0]
        return minimal[0], again

    def _in_copies(
        self,
        item: Item,
        stream: Stream,
        index: int,
        first: Outcome,
        deadly: Callable[[Case], Known | None],
    ) -> dict[str, float]:
        """Request options that run cases in forks of the child: milliseconds instead of seconds.

        Empty if a fork does not behave like the child, because some frameworks hang in a fork.
        """
        how = {"fork": self._patience(first)}
        before = (stream[k] for k in range(min(index, 50)))
        passing = next((case for case in before if deadly(case) is None), None)
        if passing is None:
            return {}
        found = self._failing(item, stream[index], **how)
        same = found is not None and found.status == first.status
        return how if same and self._failing(item, passing, **how) is None else {}

    def _failing(self, item: Item, case: Case, **how: Any) -> Outcome | None:
        """The outcome of a case that fails or ends the process; None if it passes or is unknown."""
        outcome = self._tried(item, case, **how)
        return outcome if outcome is not None and outcome.fails else None

    def _tried(self, item: Item, case: Case, **how: Any) -> Outcome | None:
        """Run one case in the child; None if its outcome is unknown.

        Args:
            how: further options of the request: `fork`, `base`.
        """
        try:
            outcome = self.child.outcome(item, case, **how)
        except Forged:
            raise
        except Died as died:
            return Lost.by(died)
        return None if outcome.status == "unknown" else outcome

    def _patience(self, outcome: Outcome) -> float:
        """Seconds that a case may take in a fork of the child.

        The limit is short, because each candidate that hangs uses all of it. Other cases take
        milliseconds.
        """
        compiling = self.child.limits.seconds - TIMEOUT
        least = HANGS if outcome.status == "hung" else self.child.limits.seconds / 5
        return max(least, HANGS, min(compiling, self.child.limits.seconds / 5))

    def _cause(self, item: Item, case: Case, outcome: Outcome, reference: str | None) -> Cause:
        """Describe a minimal case, and the step at which it ended the process."""
        call, finding = case_text(case), outcome.failure
        assert finding is not None
        if isinstance(outcome, Lost) and outcome.died.step is not None:
            step, encoded = outcome.died.step
            finding = replace(finding, what=step)
            if outcome.died.within:
                finding = finding.noting(f"in {outcome.died.within}")
            at_work = case_text(decode_case(encoded))
            if at_work != call:
                # A law, for example, makes other calls from the case.
                call, finding = at_work, finding.within(f"while checking {call}")
        return Cause.of(
            finding if reference is None else finding.noting(reference),
            call,
            case=encode_case(case),
            reproducer=self.child.script(item, case, outcome.message, deadly=outcome.lost),
            failed=1,
            status=outcome.status,
            reference=reference,
        )


def _lost(item: Item, says: str, status: str = "crashed", *, during: str = "") -> Verdict:
    """The verdict of an item whose process ended, or became untrusted, outside of any case."""
    finding = Finding("lost", status, during=during, says=says)
    return verdicts.wrong(verdicts.begin(item), status, finding)


def _with_references(verdict: Verdict, item: Item, lost: Mapping[int, str]) -> Verdict:
    """Add the items in which the verdict's lost cases ended the process."""
    elsewhere = dict.fromkeys(met for met in lost.values() if met != item.id)
    if not elsewhere or not verdict.examples.lost:
        return verdict
    return verdict.noting(f"cases lost: see {', '.join(elsewhere)}")


def _unlimited() -> None:
    """Report no time limit: the remaining time without a budget."""
