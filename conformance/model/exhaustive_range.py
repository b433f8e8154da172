"""What came of so many numbers, each through a function of single numbers."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.model.max_error import Farthest, farther


@dataclass(frozen=True)
class Covered:
    """What came of so many numbers.

    Args:
        numbers: that the function was given.
        compared: of them, those whose answer has a bound.
        wrong: of these, those whose answer is beyond it.
        ratio, ratio_at: largest error ÷ bound of those within, and the number that it is met at.
        farthest: the answer with the largest error, within its bound or not.
        failed: why a part could not be computed.
    """

    numbers: int = 0
    compared: int = 0
    wrong: int = 0
    ratio: float = 0.0
    ratio_at: float | None = None
    farthest: Farthest | None = None
    failed: str | None = None

    def __add__(self, other: Covered) -> Covered:
        """Both together."""
        further = other if other.ratio > self.ratio else self
        return Covered(
            self.numbers + other.numbers,
            self.compared + other.compared,
            self.wrong + other.wrong,
            further.ratio,
            further.ratio_at,
            farther(self.farthest, other.farthest),
            self.failed or other.failed,
        )
