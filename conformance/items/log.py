"""Record of the outcome of each case of an item, and the counts for its verdict."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from conformance.checks.trial import Evidence
from conformance.generation.argument_columns import MAX_DESCRIBED_CASES, run_lengths
from conformance.items.case_class import case_class
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.items.verdicts import open_verdict
from conformance.layers.describe import case_text
from conformance.model.case import Case, Examples, Verdict
from conformance.model.grades import ClassCounts

JUDGED_LETTERS = "pfk"
"""Letters of the outcomes in which the check looked at the backend's answer."""


class Log:
    """Outcomes of an item's cases.

    Args:
        cases: the cases of round 0, which every backend gets. A backend that declines some of them
            gets further rounds.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.first_round_count = len(cases)
        self.checked = 0
        self.accepted: Counter[str] = Counter()
        self._evidence = Evidence()
        self._decline_reasons: dict[int, str] = {}
        self._declined_in_every_call = 0
        self._inapplicable: Counter[str] = Counter()
        self._error_ratios: dict[int, float] = {}
        self._grades: Counter[str] = Counter()
        self._classes: dict[str, ClassCounts] = {}
        self._letters = ["n"] * len(cases)
        self._worst: Case | None = None
        self._first_failure_time: float | None = None
        self._hits: Counter[str] = Counter()

    def add_cases(self, count: int) -> None:
        """Add `count` further cases that have not run."""
        self._letters += ["n"] * count

    def count_hits(self, outcome: Outcome | None) -> None:
        """Add how often the functions under test ran in a case."""
        if outcome is not None and outcome.hits is not None:
            for name, count in outcome.hits.items():
                self._hits[name] += count

    def record_passed(self, index: int, case: Case, outcome: Outcome) -> None:
        """Record that a case passes."""
        previous_margin = self._evidence.margin
        self._evidence += outcome.evidence
        if self._evidence.margin != previous_margin:
            self._worst = case
        self._count_judged(case, outcome.grade, ClassCounts(1))
        self._mark(index, "p", checked=True)

    def record_failed(
        self, index: int, case: Case, outcome: Outcome, *, excused: bool = False
    ) -> None:
        """Record that a case fails; `excused` says that a known failure explains it."""
        if outcome.error_ratio is not None:
            self._error_ratios[index] = outcome.error_ratio
        self._count_judged(case, outcome.grade, ClassCounts(1, 1, int(excused)))
        self._mark(index, "k" if excused else "f", checked=True)

    def _count_judged(self, case: Case, grade: str, counts: ClassCounts) -> None:
        name = case_class(case)
        self._classes[name] = self._classes.get(name, ClassCounts()) + counts
        if grade:
            self._grades[grade] += 1

    def record_declined(self, index: int, reason: str, *, in_every_call: bool = False) -> None:
        """Record that the backend declines a case, perhaps for a reason that holds for each."""
        self._decline_reasons[index] = reason
        self._declined_in_every_call += in_every_call
        self._mark(index, "d")

    def record_inapplicable(self, index: int, reason: str = "") -> None:
        """Record that the check does not apply to a case."""
        self._inapplicable[reason] += 1
        self._mark(index, "b")

    @property
    def main_inapplicable_reason(self) -> str:
        """The most frequent reason why the check did not apply; "" if there is none."""
        return max(self._inapplicable, key=self._inapplicable.__getitem__, default="")

    def record_left_out(self, index: int) -> None:
        """Record that a case does not run because a known failure would end the process."""
        self._mark(index, "x")

    def record_lost(self, index: int) -> None:
        """Record that a case has ended the process."""
        self._mark(index, "l")

    def _mark(self, index: int, letter: str, *, checked: bool = False) -> None:
        self._letters[index] = letter
        self.checked += checked

    def decline_reason(self, index: int) -> str | None:
        """Why the backend declined a case; None if it did not."""
        return self._decline_reasons.get(index)

    def error_ratio(self, index: int) -> float | None:
        """The largest error ÷ bound of a failing case; None if it has none."""
        return self._error_ratios.get(index)

    def letter(self, index: int) -> str:
        """The outcome of a case, a letter of `OUTCOMES`."""
        return self._letters[index]

    def judged_indices(self) -> list[int]:
        """Indices of the cases in which the check looked at the backend's answer."""
        return [index for index, letter in enumerate(self._letters) if letter in JUDGED_LETTERS]

    def passing_indices(self) -> list[int]:
        """Indices of the cases that passed."""
        return [index for index, letter in enumerate(self._letters) if letter == "p"]

    def answered_indices(self) -> list[int]:
        """Indices of the cases that passed or were declined."""
        return [index for index, letter in enumerate(self._letters) if letter in "pd"]

    def has_evidence(self, *, counting_lost: bool = True) -> bool:
        """Whether the cases so far are enough for a verdict.

        True if numbers were compared, a case failed, was left out or lost, or the backend declined
        every case to which the check applies.

        Args:
            counting_lost: False = a case that was left out or lost is no evidence.
        """
        without_evidence = "nbpd" if counting_lost else "nbpdxl"
        if self._evidence.comparisons or any(x not in without_evidence for x in self._letters):
            return True
        return "d" in self._letters and not self.checked

    def is_declined_as_drawn(self) -> bool:
        """Whether every case so far was declined, most for what the call holds; another may do.

        Cases to which the check does not apply do not count. The backend may decline a call before
        it meets what it lacks in every call.
        """
        is_as_drawn = self.declined_count > 2 * self._declined_in_every_call
        return is_as_drawn and self.judged_none()

    @property
    def declined_count(self) -> int:
        """How many cases the backend declined."""
        return len(self._decline_reasons)

    def judged_none(self) -> bool:
        """Whether every case so far was declined, or the check does not apply to it."""
        return set(self._letters) <= set("nbd")

    def seconds_since_first_failure(self) -> float:
        """Seconds since the first call of this method, which follows the first failure."""
        now = time.monotonic()
        if self._first_failure_time is None:
            self._first_failure_time = now
        return now - self._first_failure_time

    def examples(self, *, stopped: bool) -> Examples:
        """The counts of cases by outcome.

        Args:
            stopped: whether the time budget is spent.
        """
        letter_counts = Counter(self._letters)
        return Examples(
            drawn=len(self._letters) - letter_counts["n"],
            checked=self.checked,
            unsupported=dict(Counter(self._decline_reasons.values())),
            invalid=letter_counts["b"],
            stopped=Counter(self._letters[: self.first_round_count])["n"] if stopped else 0,
            failed=letter_counts["f"] + letter_counts["k"],
            excused=letter_counts["k"],
            left_out=letter_counts["x"],
            lost=letter_counts["l"],
            classes=dict(self._classes),
        )

    def _outcomes_text(self) -> str:
        """The run lengths of the first round's outcomes, and of later rounds if there are any."""
        first_round = self._letters[: min(self.first_round_count, MAX_DESCRIBED_CASES)]
        later = "".join(self._letters[self.first_round_count :]).rstrip("n")
        if len(first_round) < self.first_round_count or not later:
            return run_lengths(first_round)
        return run_lengths([*first_round, *later])

    def open_verdict(self, item: Item, *, stopped: bool) -> Verdict:
        """The verdict with all counts and comparisons; its status is still open.

        Args:
            stopped: whether the budget left no time for the cases that have not run.
        """
        return replace(
            open_verdict(item, self.examples(stopped=stopped)),
            comparisons=self._evidence.comparisons,
            margin=self._evidence.margin,
            ulps=dict(self._evidence.ulps),
            ratios=dict(self._evidence.ratios),
            farthest=self._evidence.farthest,
            outcomes=self._outcomes_text(),
            worst=None if self._worst is None else case_text(self._worst),
            hits=dict(self._hits),
            grades=dict(self._grades),
            bits=dict(self._evidence.bits),
            accepted=dict(self.accepted),
        )
