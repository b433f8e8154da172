"""Record of the outcome of each case of an item, and the counts for its verdict."""

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
"""Letters of the outcomes in which the check looked at the backend's answer."""


class Log:
    """Outcomes of an item's cases.

    Args:
        cases: the cases of round 0, which every backend gets. A backend that declines some of them
            gets further rounds.
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
        """Add `count` further cases that have not run."""
        self._letters += ["n"] * count

    def ran(self, outcome: Outcome | None) -> None:
        """Add how often the functions under test ran in a case."""
        if outcome is not None and outcome.hits is not None:
            for name, count in outcome.hits.items():
                self._hits[name] += count

    def passed(self, index: int, case: Case, evidence: Evidence) -> None:
        """Record that a case passes."""
        before = self._evidence.margin
        self._evidence += evidence
        if self._evidence.margin != before:
            self._worst = case
        self._mark(index, "p", checked=True)

    def failed(self, index: int, *, excess: float | None = None, excused: bool = False) -> None:
        """Record that a case fails.

        Args:
            excess: largest error ÷ bound.
            excused: whether a known failure explains it.
        """
        if excess is not None:
            self._excess[index] = excess
        self._mark(index, "k" if excused else "f", checked=True)

    def declined(self, index: int, reason: str) -> None:
        """Record that the backend declines a case."""
        self._reasons[index] = reason
        self._mark(index, "d")

    def inapplicable(self, index: int, reason: str = "") -> None:
        """Record that the check does not apply to a case."""
        self._inapplicable[reason] += 1
        self._mark(index, "b")

    @property
    def mostly_inapplicable(self) -> str:
        """The most frequent reason why the check did not apply; "" if there is none."""
        return max(self._inapplicable, key=self._inapplicable.__getitem__, default="")

    def left_out(self, index: int) -> None:
        """Record that a case does not run because a known failure would end the process."""
        self._mark(index, "x")

    def lost(self, index: int) -> None:
        """Record that a case has ended the process."""
        self._mark(index, "l")

    def _mark(self, index: int, letter: str, *, checked: bool = False) -> None:
        self._letters[index] = letter
        self.checked += checked

    def reason(self, index: int) -> str | None:
        """Why the backend declined a case; None if it did not."""
        return self._reasons.get(index)

    def excess(self, index: int) -> float | None:
        """The largest error ÷ bound of a failing case; None if it has none."""
        return self._excess.get(index)

    def letter(self, index: int) -> str:
        """The outcome of a case, a letter of `OUTCOMES`."""
        return self._letters[index]

    def judged(self) -> list[int]:
        """Indices of the cases in which the check looked at the backend's answer."""
        return [index for index, letter in enumerate(self._letters) if letter in JUDGED]

    def passing(self) -> list[int]:
        """Indices of the cases that passed."""
        return [index for index, letter in enumerate(self._letters) if letter == "p"]

    def answered(self) -> list[int]:
        """Indices of the cases that passed or were declined."""
        return [index for index, letter in enumerate(self._letters) if letter in "pd"]

    def telling(self) -> bool:
        """Whether the cases so far are enough for a verdict.

        True if numbers were compared, a case failed, was left out or lost, or the backend declined
        every case to which the check applies.
        """
        if self._evidence.comparisons or any(x not in "nbpd" for x in self._letters):
            return True
        return "d" in self._letters and not self.checked

    def surveyed(self) -> float:
        """Seconds since the first call of this method, which follows the first failure."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return now - self._since

    def examples(self, *, stopped: bool) -> Examples:
        """The counts of cases by outcome.

        Args:
            stopped: whether the time budget is spent.
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
        """The verdict with all counts and comparisons; its status is still open.

        Args:
            stopped: whether the budget left no time for the cases that have not run.
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
