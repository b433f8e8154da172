"""Which failures of an item are known, and how many of its cases each known failure explains."""

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
    """Which calls a check makes of a case, where these are others than the case (`Check`)."""

    @property
    def relaid(self) -> Callable[[Case], tuple[Case, Mapping[str, str]]] | None:
        """The case and its memory layouts as the check chooses them."""

    @property
    def larger(self) -> Callable[[Case], Case | None] | None:
        """The case of another size that it calls the layer with, too."""


@dataclass
class _Count:
    covered: int = 0
    excused: int = 0
    left_out: int = 0


class Excuses:
    """The known failures that apply to an item, with counts of the cases that each explains.

    Args:
        entries: the known failures, the backend's own before those of its base.
        check: what it calls; None = the cases as they are.
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
        """Count which entries cover a case whose turn it is."""
        if self.entries:
            calls = self._calls(case)
            met = [self._counts(e) for e in self.entries if any(map(e.met_by, calls))]
            # A case that several entries of one reason cover is one case of that reason.
            for count in {id(count): count for both in met for count in both}.values():
                count.covered += 1

    def deadly(self, case: Case, status: str = "") -> Known | None:
        """The first entry that covers a case and says that it ends the process.

        Args:
            status: how it ends, `"crashed"` or `"hung"`; empty for either.
        """
        if not any(entry.deadly for entry in self.entries):
            return None
        calls = self._calls(case)
        fits = (e for e in self.entries if e.deadly and status in ("", e.status))
        return next((e for e in fits if any(map(e.met_by, calls))), None)

    def explaining(self, case: Case, message: str, failure: Finding | None = None) -> Known | None:
        """The entry that explains the failure of a case, the backend's own first.

        Args:
            message: what the check says of it.
            failure: the same, as data; None where nothing is known but the message.
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
        """Count a case that is not run because an entry says that it ends the process."""
        for count in self._counts(entry):
            count.left_out += 1

    def exceeded(self) -> list[tuple[Known, int, int]]:
        """Entries that explain more failures than they allow, with failures and covered cases."""
        counted = [(entry, self._counts(entry)[0]) for entry in self.entries]
        return [
            (entry, count.excused, count.covered)
            for entry, count in counted
            if entry.is_exceeded(count.excused, count.covered)
        ]

    def listed(self) -> tuple[Excuse, ...]:
        """What each entry explains, those of one reason together, the most cases first."""
        found = [
            Excuse(reason, link, count.covered, count.excused, count.left_out, base)
            for (reason, link, base), count in self._told.items()
        ]
        return tuple(sorted(found, key=lambda e: (-e.excused, -e.left_out)))

    def _counts(self, entry: Known) -> tuple[_Count, _Count]:
        """Of the entry, and of all entries that are told as one."""
        told = (entry.reason, entry.link, entry.base)
        own = self._own.setdefault(id(entry), _Count())
        return own, self._told.setdefault(told, _Count())

    def _calls(self, case: Case) -> list[Facts]:
        """Facts of a case, and of the larger one that the check calls as well."""
        if self._facts is None or self._facts[0] is not case:
            laid, layouts = (case, None) if self._relaid is None else self._relaid(case)
            found = [Facts(laid, layouts)]
            other = None if self._larger is None else self._larger(case)
            if other is not None:
                found.append(Facts(other))
            self._facts = case, found
        return self._facts[1]
