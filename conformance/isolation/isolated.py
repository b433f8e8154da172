"""Runs items in a child process, and finds the minimal case of what ends or stops it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec

from .. import verdicts
from ..budget import Budget
from ..case import Case, Examples, Verdict
from ..cases import MANY
from ..checks import EVERY_CHECK
from ..describe import case_text
from ..drawing import draw_cases, shrink
from ..drawn import columns
from ..encoding import encode_case
from ..items import Item
from ..known import Known, applying
from ..trial import Failure
from .process import Child, Died, ended

# Each probe that ends the process costs a new one: importing a framework takes seconds.
SHRINKING_ITEM = 40.0
SHRINKING_RUN = 300.0
# Bytes that a process may have taken when another layer or dtype begins. What it keeps, compiled
# kernels above all, served the one before; a new process costs seconds.
GROWN = 512 << 20


class Lost(Failure):
    """A case on which the process was lost.

    Args:
        status: `"crashed"` or `"hung"`.
        message: what ended it.
    """

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


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
    """

    child: Child
    backend: str
    examples: int
    seed: int
    known: Sequence[Known] = ()
    interrupted: Callable[[], bool] = lambda: False
    values: int = 1
    budget: Budget | None = None
    _dead: set[tuple[int, str, str]] = field(default_factory=set)
    _minimal: dict[tuple[str, str, bool], Case] = field(default_factory=dict)
    _spent: float = 0.0
    _group: tuple[str, str, str] | None = None

    def run(self, item: Item) -> Verdict:
        """Run an item; see `Engine.run`.

        Args:
            item: what to check.

        Raises:
            ChildError: if no child can be started.
        """
        if self.interrupted():
            raise KeyboardInterrupt
        started = time.perf_counter()
        left = _unlimited if self.budget is None else self.budget.begin()
        if left is None:
            return verdicts.left_out(item, self.examples)
        verdict = self._run(item, left)
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
        self._renew(item)
        while True:
            dead = [
                k for k, dtype, device in self._dead if (dtype, device) == (item.dtype, item.device)
            ]
            burdened = self.child.answered > 0
            try:
                request = {"item": dataclasses.asdict(item), "dead": dead, "seconds": left()}
                answer = self.child.ask(request)
            except Died as died:
                if died.entry.phase == "pinned":
                    # The known failure still is one; the rest of the item has yet to run.
                    self._dead.add((died.entry.index, item.dtype, item.device))
                    continue
                return self._lost(item, died)
            if "verdict" in answer:
                return msgspec.convert(answer["verdict"], Verdict, strict=False)
            # Nobody knows what state that process is in. Memory that earlier items have used up is
            # not this one's; any other error of ours is told, whenever it comes.
            self.child.stop()
            if burdened and "MemoryError" in answer["raised"].splitlines()[-1]:
                continue
            message = f"the suite's own code failed:\n{answer['raised']}"
            return verdicts.make(item, "crashed", Examples(), message=message)

    def _lost(self, item: Item, died: Died) -> Verdict:
        """The verdict of an item whose process was lost."""
        entry = died.entry
        if entry.phase not in ("checking", "shrinking"):
            when = "while cases were drawn" if entry.phase == "drawing" else "before any case ran"
            message = f"{when}: {died.how}"
            return verdicts.make(item, died.status, Examples(), message=message)
        cases = self._cases(item)
        first: Failure = Lost(died.status, died.how)
        if entry.phase == "shrinking":
            # That case only failed; what was lost is a plainer one, of which nothing is known.
            first = Failure(f"it failed, and while it was shrunk {died.how}")
        case, failure = self._minimised(item, cases[entry.index], entry.index, first)
        case = replace(case, call=replace(case.call, device=item.device))
        status = _status(failure)
        text = case_text(case)
        return verdicts.make(
            item,
            status,
            Examples(len(cases), entry.checked + 1),
            drawn=columns(cases),
            message=f"{text}\n{failure}",
            call=text,
            case=encode_case(case),
            reproducer=self._script(item, case, failure),
        )

    def _cases(self, item: Item) -> Sequence[Case]:
        invalid = EVERY_CHECK[item.check].invalid
        return draw_cases(
            item.layer, item.dtype, self.examples, self.seed, invalid=invalid, values=self.values
        )

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
        probe = self._forked if self._forks(item, case, index, first) else self._probe

        def fails(candidate: Case) -> Failure | None:
            if self.interrupted():
                raise KeyboardInterrupt
            spent = time.monotonic() - started > left
            return None if spent or self._is_known(item, candidate) else probe(item, candidate)

        found = shrink(
            item.layer, item.dtype, self.examples, self.seed, index, fails,
            invalid=invalid, values=self.values,
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
        except Died as died:
            return Lost(died.status, died.how)
        return Failure(answer["message"]) if answer.get("status") == "failed" else None

    def _forked(self, item: Item, case: Case) -> Failure | None:
        """One case in a copy of the child, which costs milliseconds in place of seconds."""
        seconds = max(1.0, self.child.limits.seconds / 5)
        request = {
            "item": dataclasses.asdict(item),
            "case": encode_case(case),
            "fork": seconds,
        }
        answer = self.child.ask(request)
        status = answer.get("status")
        if status in ("crashed", "hung"):
            return Lost(status, ended(answer.get("code", 0)))
        return Failure(answer["message"]) if status == "failed" else None

    def _forks(self, item: Item, case: Case, index: int, first: Failure) -> bool:
        """Whether a copy of the child does as the child did: some frameworks hang in copies."""
        before = islice(self._cases(item), index)
        passing = next((c for c in before if not self._is_known(item, c)), None)
        if passing is None:
            return False
        failure = self._forked(item, case)
        same = type(failure) is type(first) and _status(failure) == _status(first)
        return same and self._forked(item, passing) is None

    def _is_known(self, item: Item, case: Case) -> bool:
        found = applying(self.known, dataclasses.asdict(item), self.backend)
        return any(entry.covers(case) for entry in found.values())

    def _script(self, item: Item, case: Case, failure: Failure) -> str | None:
        request = {
            "item": dataclasses.asdict(item),
            "case": encode_case(case),
            "script": str(failure),
            "deadly": isinstance(failure, Lost),
        }
        try:
            script = self.child.ask(request).get("script")
        except Died:
            return None
        return None if script is None else str(script)


def _unlimited() -> None:
    """No budget."""


def _status(failure: Failure | None) -> str:
    return failure.status if isinstance(failure, Lost) else "failed"
