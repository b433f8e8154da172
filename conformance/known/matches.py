"""Match an item's failures with known failures, and count the cases that each one explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from conformance.known.entry import Known
from conformance.matching.facts import Facts
from conformance.model.case import Case
from conformance.model.cause import Excuse
from conformance.model.finding import Finding


class Calls(Protocol):
    """How a check derives the calls that it makes from a case (`Check`)."""

    @property
    def relaid(self) -> Callable[[Case], tuple[Case, Mapping[str, str]]] | None:
        """Function that returns a case and its memory layouts as the check chooses them."""

    @property
    def larger(self) -> Callable[[Case], Case | None] | None:
        """Function that returns the case of another size with which it also calls the layer."""


@dataclass
class _Count:
    covered: int = 0
    excused: int = 0
    left_out: int = 0


class Excuses:
    """The known failures that apply to an item, with counts of the cases that each explains.

    Args:
        entries: the known failures, the backend's own before those of its base.
        check: derives calls from cases; None = the check calls the cases unchanged.
    """

    def __init__(self, entries: Sequence[Known], check: Calls | None = None) -> None:
        self.entries = tuple(entries)
        self._relaid = None if check is None else check.relaid
        self._larger = None if check is None else check.larger
        self._own: dict[int, _Count] = {}
        self._told: dict[tuple[str, str, str], _Count] = {}
        self._facts: tuple[Case, list[Facts]] | None = None
        for entry in self.entries:
            self._counts(entry)

    def begin(self, case: Case) -> None:
        """Count a case for every entry that covers it."""
        if self.entries:
            calls = self._calls(case)
            met = [self._counts(e) for e in self.entries if any(map(e.met_by, calls))]
            # A case counts once for a reason, even if several entries with that reason cover it.
            for count in {id(count): count for both in met for count in both}.values():
                count.covered += 1

    def deadly(self, case: Case, status: str = "") -> Known | None:
        """The first entry that covers a case and states that it ends the process.

        Args:
            status: how the process ends, `"crashed"` or `"hung"`; empty for either.
        """
        if not any(entry.deadly for entry in self.entries):
            return None
        calls = self._calls(case)
        fits = (e for e in self.entries if e.deadly and status in ("", e.status))
        return next((e for e in fits if any(map(e.met_by, calls))), None)

    def explaining(self, case: Case, message: str, failure: Finding | None = None) -> Known | None:
        """The first entry that explains the failure of a case; the backend's own come first.

        Args:
            message: the failure's message.
            failure: the failure as data; None if only the message is known.
        """
        if not self.entries:
            return None
        excess = None if failure is None else failure.excess
        found = self._failing(case, failure)
        return next((e for e in self.entries if e.explains(found, message, excess)), None)

    def _failing(self, case: Case, failure: Finding | None) -> Facts:
        """Facts of the call that failed."""
        calls = self._calls(case)
        if failure is not None and failure.larger:
            return calls[-1]
        if failure is None or failure.layouts is None:
            return calls[0]
        return Facts(calls[0].case, failure.layouts)

    def excuse(self, entry: Known) -> None:
        """Count a case whose failure an entry explains."""
        for count in self._counts(entry):
            count.excused += 1

    def leave_out(self, entry: Known) -> None:
        """Count a case that does not run because an entry states that it ends the process."""
        for count in self._counts(entry):
            count.left_out += 1

    def exceeded(self) -> list[tuple[Known, int, int]]:
        """Entries whose `at_most` is exceeded, with their numbers of excused and covered cases."""
        counted = [(entry, self._counts(entry)[0]) for entry in self.entries]
        return [
            (entry, count.excused, count.covered)
            for entry, count in counted
            if entry.is_exceeded(count.excused, count.covered)
        ]

    def listed(self) -> tuple[Excuse, ...]:
        """The excuses, one for all entries with the same reason, those with most cases first."""
        found = [
            Excuse(reason, link, count.covered, count.excused, count.left_out, base)
            for (reason, link, base), count in self._told.items()
        ]
        return tuple(sorted(found, key=lambda e: (-e.excused, -e.left_out)))

    def _counts(self, entry: Known) -> tuple[_Count, _Count]:
        """The counts of an entry, and those of all entries with its reason."""
        told = (entry.reason, entry.link, entry.base)
        own = self._own.setdefault(id(entry), _Count())
        return own, self._told.setdefault(told, _Count())

    def _calls(self, case: Case) -> list[Facts]:
        """Facts of a case, and of its variant of another size if the check calls that, too."""
        if self._facts is None or self._facts[0] is not case:
            laid, layouts = (case, None) if self._relaid is None else self._relaid(case)
            found = [Facts(laid, layouts)]
            other = None if self._larger is None else self._larger(case)
            if other is not None:
                found.append(Facts(other))
            self._facts = case, found
        return self._facts[1]
