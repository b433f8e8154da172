"""What came of an item's cases, one after the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from .case import Case, Examples
from .describe import case_text
from .drawn import DESCRIBED, run_lengths
from .trial import Evidence
from .verdicts import facts_of


class Log:
    """Counts of an item's cases.

    Args:
        cases: all that were drawn.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = cases
        self.checked = 0
        self._evidence = Evidence()
        self._reasons: dict[int, str] = {}
        self._letters = ["n"] * len(cases)
        self._worst: int | None = None
        self._since: float | None = None

    def passed(self, index: int, evidence: Evidence) -> None:
        """The check found nothing wrong with a case."""
        before = self._evidence.margin
        self._evidence += evidence
        if self._evidence.margin != before:
            self._worst = index
        self.checked += 1
        self._letters[index] = "p"

    def failed(self, index: int) -> None:
        """The check failed on a case."""
        self.checked += 1
        self._letters[index] = "f"

    def declined(self, index: int, reason: str) -> None:
        """The backend declined a case."""
        self._reasons[index] = reason
        self._letters[index] = "d"

    def beside(self, index: int) -> None:
        """The check does not apply to a case."""
        self._letters[index] = "b"

    def answers(self) -> list[tuple[Case, str | None]]:
        """The cases that passed or were declined, the latter with the reason."""
        return [
            (self.cases[index], self._reasons.get(index))
            for index, letter in enumerate(self._letters)
            if letter in "pd"
        ]

    def surveyed(self) -> float:
        """Seconds since this was first asked, which is when a failure has been shrunk."""
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
            drawn=len(self.cases) - number["n"],
            checked=self.checked,
            unsupported=dict(Counter(self._reasons.values())),
            invalid=number["b"],
            stopped=number["n"] if stopped else 0,
            failed=number["f"],
        )

    def facts(self) -> dict[str, object]:
        """What was compared, as fields of a verdict."""
        worst = None if self._worst is None else case_text(self.cases[self._worst])
        outcomes = run_lengths(self._letters[:DESCRIBED])
        return {**facts_of(self._evidence), "outcomes": outcomes, "worst": worst}
