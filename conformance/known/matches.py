"""Match an item's failures with known failures, and count the cases that each one explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from conformance.known.entry import KnownFailure
from conformance.matching.facts import Facts
from conformance.model.case import Case
from conformance.model.cause import Excuse
from conformance.model.checks import CheckFacts
from conformance.model.finding import Finding


class DerivedCases(Protocol):
    """How a check derives the calls that it makes from a case (`Check`)."""

    @property
    def facts(self) -> CheckFacts:
        """The declaration of the check."""

    @property
    def layout_variant(self) -> Callable[[Case], tuple[Case, Mapping[str, str]]] | None:
        """Function that returns a case and its memory layouts as the check chooses them."""

    @property
    def size_variant(self) -> Callable[[Case], Case | None] | None:
        """Function that returns the case of another size with which it also calls the layer."""


@dataclass
class _Counts:
    covered: int = 0
    excused: int = 0
    left_out: int = 0


class Excuses:
    """The known failures that apply to an item, with counts of the cases that each explains.

    Args:
        entries: the known failures, the backend's own before those of its base.
        check: derives calls from cases; None = the check calls the cases unchanged.
    """

    def __init__(self, entries: Sequence[KnownFailure], check: DerivedCases | None = None) -> None:
        self.entries = tuple(entries)
        self._own = tuple(e for e in entries if check is None or e.is_about(check.facts.name))
        self._layout_variant = None if check is None else check.layout_variant
        self._size_variant = None if check is None else check.size_variant
        self._counts_by_entry: dict[int, _Counts] = {}
        self._counts_by_reason: dict[tuple[str, str, str], _Counts] = {}
        self._facts: tuple[Case, list[Facts]] | None = None
        for entry in self.entries:
            self._counts_of(entry)

    def is_covered(self, case: Case, entry: KnownFailure) -> bool:
        """Whether a call that the check makes of a case meets the conditions of an entry."""
        return any(map(entry.matches_facts, self._facts_of_calls(case)))

    def count_covered(self, case: Case) -> None:
        """Count a case for every entry that covers it."""
        if self.entries:
            calls = self._facts_of_calls(case)
            counts_of_entries = [
                self._counts_of(e) for e in self.entries if any(map(e.matches_facts, calls))
            ]
            # A case counts once for a reason, even if several entries with that reason cover it.
            for count in {
                id(count): count for pair in counts_of_entries for count in pair
            }.values():
                count.covered += 1

    def find_process_ending(self, case: Case, status: str = "") -> KnownFailure | None:
        """The first entry that covers a case and states that it ends the process.

        Args:
            status: how the process ends, `"crashed"` or `"hung"`; empty for either.
        """
        if not any(entry.ends_process for entry in self._own):
            return None
        calls = self._facts_of_calls(case)
        if case.unbroken is not None:
            calls = [*calls, Facts(case.unbroken)]  # `errors` may call this, too
        process_ending = (e for e in self._own if e.ends_process and status in ("", e.status))
        return next((e for e in process_ending if any(map(e.matches_facts, calls))), None)

    def find_explanation(
        self, case: Case, message: str, failure: Finding | None = None
    ) -> KnownFailure | None:
        """The first entry that explains the failure of a case; the backend's own come first.

        An entry about wrong values explains a wrong output of any check that compares outputs, if
        it does not depend on memory layouts.

        Args:
            message: the failure's message.
            failure: the failure as data; None if only the message is known.
        """
        if not self.entries:
            return None
        error_ratio = None if failure is None else failure.error_ratio
        facts = self._facts_of_failing_call(case, failure)
        is_of_values = (
            failure is not None
            and failure.kind != "gradient"
            and not (failure.layouts or failure.law)
        )
        entries = self.entries if is_of_values else self._own
        return next((e for e in entries if e.explains(facts, message, error_ratio)), None)

    def _facts_of_failing_call(self, case: Case, failure: Finding | None) -> Facts:
        """Facts of the enlarged call if that failed, else of the case in the failing layouts."""
        calls = self._facts_of_calls(case)
        if failure is not None and failure.larger:
            return calls[-1]
        if failure is None or failure.layouts is None:
            return calls[0]
        return Facts(calls[0].case, failure.layouts)

    def count_excused(self, entry: KnownFailure) -> None:
        """Count a case whose failure an entry explains."""
        for count in self._counts_of(entry):
            count.excused += 1

    def count_left_out(self, entry: KnownFailure) -> None:
        """Count a case that does not run because an entry states that it ends the process."""
        for count in self._counts_of(entry):
            count.left_out += 1

    def exceeded_entries(self) -> list[tuple[KnownFailure, int, int]]:
        """Entries whose `at_most` is exceeded, with their numbers of excused and covered cases."""
        counts = [(entry, self._counts_of(entry)[0]) for entry in self._own]
        return [
            (entry, count.excused, count.covered)
            for entry, count in counts
            if entry.is_exceeded(count.excused, count.covered)
        ]

    def list_excuses(self) -> tuple[Excuse, ...]:
        """The excuses, one for all entries with the same reason, those with most cases first."""
        excuses = [
            Excuse(reason, link, count.covered, count.excused, count.left_out, base)
            for (reason, link, base), count in self._counts_by_reason.items()
        ]
        return tuple(sorted(excuses, key=lambda e: (-e.excused, -e.left_out)))

    def _counts_of(self, entry: KnownFailure) -> tuple[_Counts, _Counts]:
        """The counts of an entry, and those of all entries with its reason."""
        reason_key = (entry.reason, entry.link, entry.base)
        own_counts = self._counts_by_entry.setdefault(id(entry), _Counts())
        return own_counts, self._counts_by_reason.setdefault(reason_key, _Counts())

    def _facts_of_calls(self, case: Case) -> list[Facts]:
        """Facts of a case, and of its variant of another size if the check calls that, too."""
        if self._facts is None or self._facts[0] is not case:
            laid_out_case, layouts = (
                (case, None) if self._layout_variant is None else self._layout_variant(case)
            )
            call_facts = [Facts(laid_out_case, layouts)]
            larger_case = None if self._size_variant is None else self._size_variant(case)
            if larger_case is not None:
                call_facts.append(Facts(larger_case))
            self._facts = case, call_facts
        return self._facts[1]
