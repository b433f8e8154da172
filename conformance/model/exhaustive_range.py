"""Counts and largest errors over a range of inputs to a function of single numbers."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.model.max_error import Farthest, larger_error


@dataclass(frozen=True)
class RangeResult:
    """Result of a function over a range of inputs.

    Args:
        numbers: how many inputs the function got.
        compared: how many of the answers have a bound.
        wrong: how many of the compared answers exceed their bound.
        ratio, ratio_at: largest error ÷ bound among answers within their bound, and its input.
        farthest: the answer with the largest error, within its bound or not.
        failed: why a part could not be computed; None if all were.
    """

    numbers: int = 0
    compared: int = 0
    wrong: int = 0
    ratio: float = 0.0
    ratio_at: float | None = None
    farthest: Farthest | None = None
    failed: str | None = None

    def __add__(self, other: RangeResult) -> RangeResult:
        """Add the counts of two ranges; keep the larger errors."""
        worse = other if other.ratio > self.ratio else self
        return RangeResult(
            self.numbers + other.numbers,
            self.compared + other.compared,
            self.wrong + other.wrong,
            worse.ratio,
            worse.ratio_at,
            larger_error(self.farthest, other.farthest),
            self.failed or other.failed,
        )
