"""Which failures of an item are known, and how many of its cases each known failure explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conformance.failures.facts import Facts
from conformance.failures.known import Known
from conformance.model.case import Case
from conformance.model.cause import Excuse

Relaid = Callable[[Case], tuple[Case, Mapping[str, str]]]


@dataclass
class _Count:
    covered: int = 0
    excused: int = 0
    left_out: int = 0


class Excuses:
    """The known failures that apply to an item, with counts of the cases that each explains.

    Args:
        entries: the known failures, the backend's own before those of its base.
        relaid: gives the case and the memory layouts that a check makes of a drawn case.
    """

    def __init__(self, entries: Sequence[Known], relaid: Relaid | None = None) -> None:
        self.entries, self._relaid = tuple(entries), relaid
        self._counts: dict[tuple[str, str, str], _Count] = {}
        self._facts: tuple[Case, Facts] | None = None
        for entry in self.entries:
            self._count(entry)

    def begin(self, case: Case) -> None:
        """Count which entries cover a case whose turn it is."""
        if self.entries:
            found = self._of(case)
            for entry in self.entries:
                if entry.met_by(found):
                    self._count(entry).covered += 1

    def deadly(self, case: Case, status: str = "") -> Known | None:
        """The first entry that covers a case and says that it ends the process.

        Args:
            case: the case.
            status: how it ends, `"crashed"` or `"hung"`; empty for either.
        """
        if not any(entry.deadly for entry in self.entries):
            return None
        found = self._of(case)
        fits = (e for e in self.entries if e.deadly and status in ("", e.status))
        return next((e for e in fits if e.met_by(found)), None)

    def explaining(
        self,
        case: Case,
        message: str,
        layouts: Mapping[str, str] | None = None,
        excess: float | None = None,
    ) -> Known | None:
        """The entry that explains the failure of a case, the backend's own first.

        Args:
            case: the case.
            message: what the check says of it.
            layouts: the fewest memory layouts with which it still fails, by operand.
            excess: largest error ÷ bound.
        """
        if not self.entries:
            return None
        found = self._of(case)
        if layouts is not None:
            case = case if self._relaid is None else self._relaid(case)[0]
            found = Facts(case, layouts)
        return next((e for e in self.entries if e.explains(found, message, excess)), None)

    def excuse(self, entry: Known) -> None:
        """Count a case whose failure an entry explains."""
        self._count(entry).excused += 1

    def leave_out(self, entry: Known) -> None:
        """Count a case that is not run because an entry says that it ends the process."""
        self._count(entry).left_out += 1

    def exceeded(self) -> list[tuple[Known, int, int]]:
        """Entries that explain more failures than they allow, with failures and covered cases."""
        counted = [(entry, self._count(entry)) for entry in self.entries]
        return [
            (entry, count.excused, count.covered)
            for entry, count in counted
            if entry.is_exceeded(count.excused, count.covered)
        ]

    def listed(self) -> tuple[Excuse, ...]:
        """What each entry explains, those of one reason together, the most cases first."""
        found = [
            Excuse(reason, link, count.covered, count.excused, count.left_out, base)
            for (reason, link, base), count in self._counts.items()
        ]
        return tuple(sorted(found, key=lambda e: (-e.excused, -e.left_out)))

    def _count(self, entry: Known) -> _Count:
        return self._counts.setdefault((entry.reason, entry.link, entry.base), _Count())

    def _of(self, case: Case) -> Facts:
        if self._facts is None or self._facts[0] is not case:
            laid, layouts = (case, None) if self._relaid is None else self._relaid(case)
            self._facts = case, Facts(laid, layouts)
        return self._facts[1]
