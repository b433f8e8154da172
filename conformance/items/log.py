"""Outcome of each case of an item, and what they add up to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from conformance.checks.trial import Evidence
from conformance.generation.argument_columns import DESCRIBED, run_lengths
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.items.verdicts import begin
from conformance.layers.describe import case_text
from conformance.model.case import Case, Examples, Verdict

JUDGED = "pfk"
"""The letters of cases in which the check looked at the backend's answer."""


class Log:
    """Counts of an item's cases.

    Args:
        cases: those that every backend is asked; a backend that declines some is asked others.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.first = len(cases)
        self.checked = 0
        self.accepted: Counter[str] = Counter()
        self._evidence = Evidence()
        self._reasons: dict[int, str] = {}
        self._inapplicable: Counter[str] = Counter()
        self._excess: dict[int, float] = {}
        self._letters = ["n"] * len(cases)
        self._worst: Case | None = None
        self._since: float | None = None
        self._hits: Counter[str] = Counter()

    def extend(self, count: int) -> None:
        """So many further cases are drawn."""
        self._letters += ["n"] * count

    def ran(self, outcome: Outcome | None) -> None:
        """Count what ran in a case that is under test."""
        if outcome is not None and outcome.hits is not None:
            for name, count in outcome.hits.items():
                self._hits[name] += count

    def passed(self, index: int, case: Case, evidence: Evidence) -> None:
        """The check finds nothing wrong with a case."""
        before = self._evidence.margin
        self._evidence += evidence
        if self._evidence.margin != before:
            self._worst = case
        self._mark(index, "p", checked=True)

    def failed(self, index: int, *, excess: float | None = None, excused: bool = False) -> None:
        """The check fails on a case, perhaps as a known failure says.

        Args:
            excess: largest error ÷ bound.
            excused: a known failure explains it.
        """
        if excess is not None:
            self._excess[index] = excess
        self._mark(index, "k" if excused else "f", checked=True)

    def declined(self, index: int, reason: str) -> None:
        """The backend declines a case."""
        self._reasons[index] = reason
        self._mark(index, "d")

    def inapplicable(self, index: int, reason: str = "") -> None:
        """The check does not apply to a case."""
        self._inapplicable[reason] += 1
        self._mark(index, "b")

    @property
    def mostly_inapplicable(self) -> str:
        """Why the check most often did not apply; "" where it always did, or no reason is known."""
        return max(self._inapplicable, key=self._inapplicable.__getitem__, default="")

    def left_out(self, index: int) -> None:
        """A known failure would end the process."""
        self._mark(index, "x")

    def lost(self, index: int) -> None:
        """The case has ended the process before."""
        self._mark(index, "l")

    def _mark(self, index: int, letter: str, *, checked: bool = False) -> None:
        self._letters[index] = letter
        self.checked += checked

    def reason(self, index: int) -> str | None:
        """Why the backend declined a case; None where it did not."""
        return self._reasons.get(index)

    def excess(self, index: int) -> float | None:
        """The largest error ÷ bound of a failing case; None where it has none."""
        return self._excess.get(index)

    def letter(self, index: int) -> str:
        """The outcome of a case, a letter of `OUTCOMES`."""
        return self._letters[index]

    def judged(self) -> list[int]:
        """The cases in which the check looked at the backend's answer."""
        return [index for index, letter in enumerate(self._letters) if letter in JUDGED]

    def passing(self) -> list[int]:
        """The cases that passed."""
        return [index for index, letter in enumerate(self._letters) if letter == "p"]

    def answered(self) -> list[int]:
        """The cases that passed or were declined."""
        return [index for index, letter in enumerate(self._letters) if letter in "pd"]

    def telling(self) -> bool:
        """Whether a verdict can rest on the cases so far.

        Numbers were compared, a case went wrong, or all to which the check applies were declined.
        """
        if self._evidence.comparisons or any(x not in "nbpd" for x in self._letters):
            return True
        return "d" in self._letters and not self.checked

    def surveyed(self) -> float:
        """Seconds since this was first asked, which is when a case failed."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since

    def examples(self, *, stopped: bool) -> Examples:
        """The counts.

        Args:
            stopped: the time budget is spent.
        """
        number = Counter(self._letters)
        return Examples(
            drawn=len(self._letters) - number["n"],
            checked=self.checked,
            unsupported=dict(Counter(self._reasons.values())),
            invalid=number["b"],
            stopped=Counter(self._letters[: self.first])["n"] if stopped else 0,
            failed=number["f"] + number["k"],
            excused=number["k"],
            left_out=number["x"],
            lost=number["l"],
        )

    def verdict(self, item: Item, *, stopped: bool) -> Verdict:
        """What was compared, as a verdict whose status is still open.

        Args:
            item: what it is about.
            stopped: the budget left no time for the cases that have not run.
        """
        return replace(
            begin(item, self.examples(stopped=stopped)),
            comparisons=self._evidence.comparisons,
            margin=self._evidence.margin,
            ulps=dict(self._evidence.ulps),
            ratios=dict(self._evidence.ratios),
            farthest=self._evidence.farthest,
            outcomes=run_lengths(self._letters[: min(self.first, DESCRIBED)]),
            worst=None if self._worst is None else case_text(self._worst),
            hits=dict(self._hits),
            accepted=dict(self.accepted),
        )
