"""Runs items in a child process, and finds the minimal case of what ends or stops it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec

from conformance.backends.declared import TIMEOUT
from conformance.checks import EVERY_CHECK
from conformance.generation.cases import MANY
from conformance.generation.drawing import shrink
from conformance.isolation.process import Child, ChildError, Died, Forged
from conformance.items import verdicts
from conformance.items.planning import Item, asked_of
from conformance.items.stream import Stream
from conformance.known.entry import Known, applying
from conformance.known.matches import Excuses
from conformance.layers.describe import case_text
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.budget import Budget
from conformance.model.case import Case, Examples, Verdict
from conformance.model.cause import Cause, Excuse
from conformance.model.failure import Failure
from conformance.model.finding import Finding

# Each probe that ends the process costs a new one: importing a framework takes seconds.
SHRINKING_ITEM = 40.0
SHRINKING_RUN = 300.0
# Cases of one item that may end the process; each costs a new one, and the item's other cases anew.
MOST = 3
# Seconds that a case may hang while it is shrunk: plain cases take milliseconds.
HANGS = 1.0
# Bytes that a process may have taken when another layer or dtype begins. What it keeps, compiled
# kernels above all, served the one before; a new process costs seconds.
GROWN = 512 << 20


class Lost(Failure):
    """A case on which the process was lost.

    Args:
        status: `"crashed"` or `"hung"`.
        message: what ended it.
        died: what is known of where it was.
    """

    def __init__(self, status: str, message: str, died: Died | None = None) -> None:
        frame = "" if died is None else died.frame
        super().__init__(Finding("lost", status, says=message, frame=frame))
        self.status, self.step = status, None if died is None else died.step
        self.within = "" if died is None else died.within


@dataclass
class IsolatedEngine:
    """An engine whose items run in a child process: losing it costs one verdict.

    Args:
        child: the process.
        backend: the backend's name.
        examples, seed: of the run.
        known: known failures, as the child reads them.
        interrupted: asked before each case that is tried while shrinking.
        values: cases of one structure; see `values_per_structure`.
        budget: time for each item, None = as much as it takes; what a process that was lost has
            spent counts as well.
        bases: for each layer the backend whose kernels it inherits, where it does.
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
        """Run an item; see `Engine.run`.

        Args:
            item: what to check.
        """
        if self.interrupted():
            raise KeyboardInterrupt
        started = time.perf_counter()
        left = _unlimited if self.budget is None else self.budget.begin()
        if left is None:
            return verdicts.left_out(item, asked_of(item, self.examples))
        try:
            verdict = self._run(item, left)
        except (ChildError, Forged) as error:
            finding = Finding("lost", "crashed", says=str(error))
            verdict = verdicts.wrong(verdicts.begin(item), "crashed", finding)
        left()
        return replace(verdict, seconds=round(time.perf_counter() - started, 4))

    def close(self) -> None:
        """End the child."""
        self.child.stop()

    def _renew(self, item: Item) -> None:
        """Between layers, and dtypes, end a process that has taken much memory.

        Not that of a backend to which new shapes are dear: it lets go itself of what it compiled.
        """
        group = item.layer, item.dtype, item.device
        allowed = GROWN if self.examples <= MANY else 0
        if group != self._group and self.values == 1 and self.child.grown() > allowed:
            self.child.stop()
        self._group = group

    def _run(self, item: Item, left: Callable[[], float | None]) -> Verdict:
        """Ask the child for an item's verdict, again after each case that ends the process."""
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
                "item": dataclasses.asdict(item),
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
                    # The known failure still is one; the rest of the item has yet to run.
                    self._dead.add((died.entry.index, item.dtype, item.device))
                    continue
                if died.entry.phase not in ("checking", "shrinking"):
                    return self._before_any_case(item, died)
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
                    return self._of_another(item, verdict.id)
                verdict = _with_references(verdict, item, lost)
                return verdicts.joined(verdicts.inheriting(verdict, inherited), causes)
            # The state of that process is unknown. Memory that earlier items have used up is
            # not this one's; any other error of ours is reported, whenever it comes.
            self.child.stop()
            if burdened and "MemoryError" in answer["raised"].splitlines()[-1]:
                continue
            message = f"the suite's own code failed:\n{answer['raised']}"
            finding = Finding("internal", says=message)
            return verdicts.wrong(verdicts.begin(item), "crashed", finding)

    def _of_another(self, item: Item, id: str) -> Verdict:
        """The verdict of an item to which the process answered with that of another."""
        self.child.stop()
        failure = Finding("lost", "crashed", says=f"the process answered with a verdict of {id}")
        return verdicts.wrong(verdicts.begin(item), "crashed", failure)

    def _before_any_case(self, item: Item, died: Died) -> Verdict:
        """The verdict of an item whose process is lost while no case runs."""
        when = "while cases were drawn" if died.entry.phase == "drawing" else "before any case ran"
        failure = Finding("lost", died.status, during=when, says=died.how)
        return verdicts.wrong(verdicts.begin(item), died.status, failure)

    def _without_others(
        self, item: Item, causes: Sequence[Cause], lost: Mapping[int, str]
    ) -> Verdict:
        """The verdict of an item whose other cases are not run: too many end the process."""
        number = len(self._stream(item).cases())
        examples = Examples(number, len(causes), failed=len(causes), lost=len(lost) - len(causes))
        return verdicts.failed(verdicts.begin(item, examples), causes)

    def _investigated(self, item: Item, died: Died) -> Cause | Excuse:
        """The minimal case of what ended the process; an excuse where it ends the base as well."""
        entry = died.entry
        first: Failure = Lost(died.status, died.how, died)
        if entry.phase == "shrinking":
            # That case only failed; what was lost is a plainer one, of which nothing is known.
            message = f"it failed, and while it was shrunk {died.how}"
            first = Failure(Finding("lost", died.status, says=message))
        case, failure = self._minimised(item, self._stream(item)[entry.index], entry.index, first)
        case = replace(case, call=replace(case.call, device=item.device))
        text, base = case_text(case), self.bases.get(item.layer, "")
        reference = self._reference(item, case, failure) if base else None
        if reference == "same":
            reason = f"{base} is ended alike, not among its known failures"
            return Excuse(reason, "", 1, 1, 0, base)
        notes = [f"{base}: {reference}"] if reference else []
        finding = failure.finding
        if isinstance(failure, Lost) and failure.step is not None:
            step, encoded = failure.step
            finding = replace(finding, what=step)
            if failure.within:
                finding = finding.noting(f"in {failure.within}")
            at_work = case_text(decode_case(encoded))
            if at_work != text:
                # A law, for example, makes other calls of the case.
                text, finding = at_work, finding.within(f"while checking {text}")
        return Cause.of(
            finding.noting(*notes),
            text,
            case=encode_case(case),
            reproducer=self._script(item, case, failure),
            failed=1,
            status=_status(failure),
            reference=f"{base}: {reference}" if reference else None,
        )

    def _reference(self, item: Item, case: Case, failure: Failure) -> str | None:
        """`"same"` where the base is lost on a case, too, else `"differs"`; None if unknown."""
        request = {
            "item": dataclasses.asdict(item),
            "case": encode_case(case),
            "base": True,
            "fork": self._patience(failure),
        }
        try:
            status = self.child.ask(request).get("status")
        except Died as died:
            status = died.status
        if status is None:
            return None
        return "same" if status == _status(failure) else "differs"

    def _stream(self, item: Item) -> Stream:
        return Stream(item, self.examples, self.seed, self.values)

    def _minimised(
        self, item: Item, case: Case, index: int, first: Failure
    ) -> tuple[Case, Failure]:
        """The plainest case that is lost, or fails, as far as the time for it goes."""
        invalid = EVERY_CHECK[item.check].invalid
        key = (item.layer, item.dtype, invalid)
        before = self._minimal.get(key)
        # Usually another check of the layer met the same crash.
        failure = None if before is None else self._probe(item, before)
        if before is not None:
            if failure is not None:
                return before, failure
            self.child.stop()  # copies are made of a child that has run nothing
        started = time.monotonic()
        left = min(SHRINKING_ITEM, SHRINKING_RUN - self._spent)
        patience = self._patience(first)
        probe = self._probe
        if self._forks(item, case, index, first, patience):
            probe = lambda item, case: self._forked(item, case, patience)  # noqa: E731

        def fails(candidate: Case) -> Failure | None:
            if self.interrupted():
                raise KeyboardInterrupt
            spent = time.monotonic() - started > left
            if spent or self._is_known(item, candidate):
                return None
            found = probe(item, candidate)
            # A plainer case that fails in another way would hide how the process is lost.
            return found if isinstance(found, Lost) or not isinstance(first, Lost) else None

        stream = self._stream(item)
        round, place = stream.drawn_as(index)
        found = shrink(
            item.layer, item.dtype, stream.examples, self.seed, place, fails,
            invalid=invalid, values=self.values, round=round,
        )  # fmt: skip
        self._spent += time.monotonic() - started
        # Probes had less time than a case has, or ran in a copy.
        failure = None if found is None else self._probe(item, found[0])
        if found is None or failure is None:
            return case, first
        self._minimal[key] = found[0]
        return found[0], failure

    def _probe(self, item: Item, case: Case) -> Failure | None:
        """One case in the child: how it failed or was lost, None where it did not."""
        try:
            answer = self.child.ask({"item": dataclasses.asdict(item), "case": encode_case(case)})
        except Forged:
            raise
        except Died as died:
            return Lost(died.status, died.how, died)
        return _failure(answer)

    def _patience(self, failure: Failure) -> float:
        """Seconds that a case may take in a copy of the child.

        One that hangs takes all of them each time; plainer cases take milliseconds otherwise.
        """
        compiling = self.child.limits.seconds - TIMEOUT
        least = HANGS if _status(failure) == "hung" else self.child.limits.seconds / 5
        return max(least, HANGS, min(compiling, self.child.limits.seconds / 5))

    def _forked(self, item: Item, case: Case, seconds: float) -> Failure | None:
        """One case in a copy of the child, which costs milliseconds in place of seconds."""
        request = {
            "item": dataclasses.asdict(item),
            "case": encode_case(case),
            "fork": seconds,
        }
        answer = self.child.ask(request)
        status = answer.get("status")
        if status in ("crashed", "hung"):
            return Lost(status, answer.get("message") or f"no answer within {seconds:g} s")
        return _failure(answer)

    def _forks(self, item: Item, case: Case, index: int, first: Failure, seconds: float) -> bool:
        """Whether a copy of the child does as the child did: some frameworks hang in copies."""
        stream = self._stream(item)
        before = (stream[k] for k in range(index))
        passing = next((c for c in islice(before, 50) if not self._is_known(item, c)), None)
        if passing is None:
            return False
        failure = self._forked(item, case, seconds)
        same = type(failure) is type(first) and _status(failure) == _status(first)
        return same and self._forked(item, passing, seconds) is None

    def _is_known(self, item: Item, case: Case) -> bool:
        found = applying(
            self.known, dataclasses.asdict(item), self.backend, self.bases.get(item.layer, "")
        )
        excuses = Excuses(tuple(found.values()), EVERY_CHECK[item.check])
        return excuses.deadly(case) is not None

    def _script(self, item: Item, case: Case, failure: Failure) -> str | None:
        request = {
            "item": dataclasses.asdict(item),
            "case": encode_case(case),
            "script": str(failure),
            "deadly": isinstance(failure, Lost),
        }
        try:
            script = self.child.ask(request).get("script")
        except Died as died:
            return died.script or None
        return None if script is None else str(script)


def _with_references(verdict: Verdict, item: Item, lost: Mapping[int, str]) -> Verdict:
    """A verdict that names the items in which its lost cases ended the process."""
    elsewhere = dict.fromkeys(met for met in lost.values() if met != item.id)
    if not elsewhere or not verdict.examples.lost:
        return verdict
    return verdict.noting(f"cases lost: see {', '.join(elsewhere)}")


def _failure(answer: Mapping[str, Any]) -> Failure | None:
    """The failure in a child's answer about a case; None where it did not fail."""
    if answer.get("status") != "failed":
        return None
    return Failure(msgspec.convert(answer["failure"], Finding, strict=False))


def _unlimited() -> None:
    """No budget."""


def _status(failure: Failure | None) -> str:
    return failure.status if isinstance(failure, Lost) else "failed"
