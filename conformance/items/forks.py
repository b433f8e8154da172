"""Run cases that may end the process in a forked copy of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from conformance.backends.capabilities import compiling
from conformance.checks import EVERY_CHECK
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import Known, applying
from conformance.known.matches import Excuses
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike
    from conformance.model.protocols import Backend

# Calls a function in a copy of the process, for a number of seconds at most; None if it cannot.
Copied = Callable[[Callable[[], Outcome], float], Outcome | None]


@dataclass(frozen=True)
class Expendable:
    """A process that may be lost.

    Args:
        note: called before each step with `(phase, index, checked)` of `isolation.journal`.
        copied: calls a function in a copy of the process; None = copies are not available.
    """

    note: Callable[[str, int, int], None]
    copied: Copied | None = None


ALLOWED = {"crashed": 10.0, "hung": 1.0}
"""Seconds that a case may take in a copy, by its expected end; a normal case takes milliseconds."""
TRIED = 10
"""Plain cases of an item that are tried until one is answered in a copy."""
HANGING = 5.0
"""Seconds that the cases of one item may hang in copies; further cases are left out."""


class Copies:
    """Runs cases in copies of the engine's process.

    A copy costs milliseconds, a new process seconds. Some frameworks die or hang in any copy, and
    then copies prove nothing. So copies are trusted only after a case that no known failure covers
    survives in one. The case must survive again after this process has computed it, too.

    Args:
        engine: runs the cases.
        copied: calls a function in a copy; None = copies are not available.
    """

    def __init__(self, engine: EngineLike, copied: Copied | None) -> None:
        self._engine, self._copied = engine, copied
        self._trusted = False
        self._hanging: tuple[Item | None, float] = (None, 0.0)

    def deadly(self, item: Item, case: Case, entry: Known) -> Outcome | None:
        """The outcome of a case that a known failure marks as ending the process.

        Returns:
            None if copies are not trusted, or hanging cases have used up their time.
        """
        if not self.serve(item):
            return None
        return self._within_patience(item, case, ALLOWED[entry.status])

    def careful(self, item: Item, case: Case) -> Outcome | None:
        """The outcome of a case in a copy, because another case of the layer ended the process.

        Returns:
            None if hanging cases have used up their time.
        """
        return self._within_patience(item, case, ALLOWED["hung"])

    def renew_patience(self) -> None:
        """Reset the time that cases may hang: a new search begins."""
        self._hanging = (None, 0.0)

    def _within_patience(self, item: Item, case: Case, seconds: float) -> Outcome | None:
        spent = self._hanging[1] if self._hanging[0] == item else 0.0
        if spent > HANGING:
            return None
        started = time.monotonic()
        outcome = self.run(item, case, seconds)
        if outcome is not None and outcome.status == "hung":
            self._hanging = item, spent + time.monotonic() - started
        return outcome

    def run(
        self, item: Item, case: Case, seconds: float, backend: Backend | None = None
    ) -> Outcome | None:
        """The outcome of a case in a copy; None if copies are not available.

        Args:
            seconds: time limit of the copy, without the time for compiling.
            backend: the backend to run on; None = the one under test.
        """
        if self._copied is None:
            return None
        engine = self._engine
        numerics = engine.numerics(item.dtype)
        return self._copied(
            lambda: engine.outcome(item, case, numerics, backend),
            seconds + compiling(engine.backend),
        )

    def serve(self, item: Item) -> bool:
        """Whether a plain case of an item survives in a copy; the answer is remembered."""
        if self._copied is None or self._trusted:
            return self._copied is not None
        if EVERY_CHECK[item.check].invalid:
            # A refusal computes nothing: it survives even in copies where all else dies.
            item = replace(item, check="shape")
        engine = self._engine
        known = applying(engine.known, item, engine.backend.name, engine.base(item.layer))
        deadly = Excuses(tuple(known.values()), EVERY_CHECK[item.check]).deadly
        plain = (
            case
            for case in self._engine.cases(item)
            if deadly(case) is None and all(array.size for array in case.operands)
        )
        for case in islice(plain, TRIED):
            outcome = self.run(item, case, ALLOWED["crashed"])
            if outcome is not None and outcome.status in ("unsupported", "invalid"):
                continue
            self._trusted = self._lives(outcome)
            if self._trusted:
                # A framework starts threads when it first computes; later copies lack them.
                self._engine.outcome(item, case, self._engine.numerics(item.dtype))
                self._trusted = self._lives(self.run(item, case, ALLOWED["crashed"]))
            if not self._trusted:
                self._copied = None
            return self._trusted
        return False

    @staticmethod
    def _lives(outcome: Outcome | None) -> bool:
        return outcome is not None and not outcome.lost
