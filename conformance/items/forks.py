"""Run cases that may end the process in a forked copy of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from conformance.backends.capabilities import compile_allowance
from conformance.checks import EVERY_CHECK
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure, applicable_entries
from conformance.known.matches import Excuses
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike
    from conformance.model.protocols import Backend

# Calls a function in a copy of the process, for a number of seconds at most; None if it cannot.
RunInFork = Callable[[Callable[[], Outcome], float], Outcome | None]


@dataclass(frozen=True)
class ExpendableProcess:
    """A process that may be lost.

    Args:
        note: called before each step with `(phase, index, checked)` of `isolation.journal`.
        run_in_fork: calls a function in a copy of the process; None = copies are not available.
        run_here: calls a function in this process, because the backend has another one that may be
            lost; None = it has none, so the function runs in a copy.
        note_copies_fail: called once if a copy of this process dies or hangs in a plain case.
    """

    note: Callable[[str, int, int], None]
    run_in_fork: RunInFork | None = None
    run_here: RunInFork | None = None
    note_copies_fail: Callable[[], None] = lambda: None


ALLOWED_SECONDS = {"crashed": 10.0, "hung": 1.0}
"""Seconds that a case may take in a copy, by its expected end; a normal case takes milliseconds."""
PROBE_CASES = 10
"""Plain cases of an item that are tried until one is answered in a copy."""
MAX_HANGING_SECONDS = 5.0
"""Seconds that the cases of one item may hang in copies; further cases are left out."""


class Forks:
    """Runs cases in copies of the engine's process.

    A copy costs milliseconds, a new process seconds. Some frameworks die or hang in any copy, and
    then copies prove nothing. So copies are trusted only after a case that no known failure covers
    survives in one. The case must survive again after this process has computed it, too, and end as
    it did here: torch may refuse gradients in copies, once it has started threads.

    Args:
        engine: runs the cases.
        process: the engine's process; None if it may not be lost.
    """

    def __init__(self, engine: EngineLike, process: ExpendableProcess | None) -> None:
        self._engine = engine
        self._process = process
        self._run_in_fork = None if process is None else process.run_in_fork
        self._run_here = None if process is None else process.run_here
        self._trusted_by_check = dict[str, bool]()
        self._hanging_item_and_seconds: tuple[Item | None, float] = (None, 0.0)

    def run_expected_loss(self, item: Item, case: Case, entry: KnownFailure) -> Outcome | None:
        """The outcome of a case that a known failure marks as ending the process.

        Returns:
            None if copies are not trusted, or hanging cases have used up their time.
        """
        if not self.can_run(item):
            return None
        return self._run_within_patience(item, case, ALLOWED_SECONDS[entry.status])

    def run_after_loss(self, item: Item, case: Case) -> Outcome | None:
        """The outcome of a case in a copy, because another case of the layer ended the process.

        Returns:
            None if hanging cases have used up their time.
        """
        return self._run_within_patience(item, case, ALLOWED_SECONDS["hung"])

    def reset_hang_time(self) -> None:
        """Reset the time that cases may hang: a new search begins."""
        self._hanging_item_and_seconds = (None, 0.0)

    def _run_within_patience(self, item: Item, case: Case, seconds: float) -> Outcome | None:
        spent = (
            self._hanging_item_and_seconds[1] if self._hanging_item_and_seconds[0] == item else 0.0
        )
        if spent > MAX_HANGING_SECONDS:
            return None
        started = time.monotonic()
        outcome = self.run(item, case, seconds)
        if outcome is not None and outcome.status == "hung":
            self._hanging_item_and_seconds = item, spent + time.monotonic() - started
        return outcome

    def run(
        self, item: Item, case: Case, seconds: float, backend: Backend | None = None
    ) -> Outcome | None:
        """The outcome of a case in a copy; None if copies are not available.

        Args:
            seconds: time limit of the copy, without the time for compiling.
            backend: the backend to run on; None = the one under test.
        """
        if self._run_in_fork is None:
            return None
        engine = self._engine

        def run_case() -> Outcome:
            if backend is None:
                return engine.graded_outcome(item, case)
            return engine.outcome(item, case, engine.numerics(item), backend)

        # A base runs in the engine's process.
        run = self._run_in_fork if backend is not None else self._run_here or self._run_in_fork
        return run(run_case, seconds + compile_allowance(engine.backend))

    def can_run(self, item: Item) -> bool:
        """Whether a plain case of an item ends in a copy as here; remembered for its check."""
        if self._run_in_fork is None:
            return False
        if EVERY_CHECK[item.check].invalid:
            # A refusal computes nothing: it survives even in copies where all else dies.
            item = replace(item, check="shape")
        elif EVERY_CHECK[item.check].facts.says_nothing_in_copies:
            item = replace(item, check="values")
        if item.check in self._trusted_by_check:
            return self._trusted_by_check[item.check]
        engine = self._engine
        entries = applicable_entries(
            engine.known, item, engine.backend.name, engine.base(item.layer)
        )
        find_process_ending = Excuses(
            tuple(entries.values()), EVERY_CHECK[item.check]
        ).find_process_ending
        plain_cases = (
            case
            for case in self._engine.cases(item)
            if find_process_ending(case) is None and all(array.size for array in case.operands)
        )
        for case in islice(plain_cases, PROBE_CASES):
            copied = self.run(item, case, ALLOWED_SECONDS["crashed"])
            if copied is not None and copied.status in ("unsupported", "invalid"):
                continue
            if copied is not None and not copied.process_lost:
                # A framework starts threads when it first computes; later copies lack them.
                here = self._engine.outcome(item, case, self._engine.numerics(item))
                copied = self.run(item, case, ALLOWED_SECONDS["crashed"])
                if copied is not None and not copied.process_lost:
                    self._trusted_by_check[item.check] = copied.status == here.status
                    return self._trusted_by_check[item.check]
            self._run_in_fork = None
            if self._process is not None:
                self._process.note_copies_fail()
            return False
        return False
