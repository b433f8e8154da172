"""Elements with several right values, selection by index, and undecided branches.

Where a few separate numbers are right they are `Choices`: a comparison accepts any one of them,
element by element. Where all numbers between two ends are right, such as the slopes at a kink, they
are an ordinary `Rounded`, made by `interval`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import (
    ORACLE_UNIT,
    Rounded,
    join,
    multilinear,
    unbroadcast,
    with_pullback,
)


@dataclass(frozen=True, eq=False)
class Choices:
    """Alternatives, each with its own bound; each element may equal any of them.

    Args:
        alternatives: arrays of one shape, at least one.

    Raises:
        ValueError: for no alternatives, or for several shapes.
    """

    alternatives: tuple[Rounded, ...]

    def __post_init__(self) -> None:
        shapes = {alternative.shape for alternative in self.alternatives}
        if len(shapes) != 1:
            raise ValueError(f"alternatives of shapes {sorted(shapes)}: expected one shape")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the values."""
        return self.alternatives[0].shape

    @property
    def precision(self) -> Precision:
        """How the implementation rounds."""
        return self.alternatives[0].precision

    def __getitem__(self, index: object) -> Choices:
        return Choices(tuple(alternative[index] for alternative in self.alternatives))

    def nearest(self, actual: np.ndarray) -> Rounded:
        """For each element the alternative with the smallest error ÷ bound, the first if equal.

        Args:
            actual: the answer, of the same shape.
        """
        value, error = self.alternatives[0].value, self.alternatives[0].error
        best_ratio = _error_ratio(actual, self.alternatives[0])
        for other in self.alternatives[1:]:
            ratio = _error_ratio(actual, other)
            better = ratio < best_ratio
            best_ratio = np.where(better, ratio, best_ratio)
            value = np.where(better, other.value, value)
            error = np.where(better, other.error, error)
        return Rounded(value, error, self.precision)


def enclose(x: Rounded | Choices) -> Rounded:
    """One value for each element, with a bound that covers all alternatives.

    The error is ∞ where the alternatives are not all finite and not all equal.

    Args:
        x: one value for each element, or several.
    """
    if isinstance(x, Rounded):
        return x
    first, *others = x.alternatives
    low, high, error = first.value, first.value, first.error
    all_nan = np.isnan(first.value)
    for other in others:
        low, high = np.minimum(low, other.value), np.maximum(high, other.value)
        error = np.maximum(error, other.error)
        all_nan = all_nan & np.isnan(other.value)
    with np.errstate(invalid="ignore"):
        width = np.where((low == high) | all_nan, 0.0, high - low)
    return Rounded(first.value, error + np.where(np.isnan(width), np.inf, width), first.precision)


def join_choices(parts: Sequence[Rounded | Choices], axis: int) -> Rounded | Choices:
    """`numpy.concatenate` of parts, any of which may have several right values.

    The k-th alternative of the result joins the k-th of each part, or its last one.

    Args:
        parts: one or more.
        axis: the axis to concatenate along.
    """
    part_alternatives = [x.alternatives if isinstance(x, Choices) else (x,) for x in parts]
    count = max(map(len, part_alternatives))
    joined_parts = [
        join([x[min(k, len(x) - 1)] for x in part_alternatives], axis) for k in range(count)
    ]
    return joined_parts[0] if count == 1 else Choices(tuple(joined_parts))


def _error_ratio(actual: np.ndarray, expected: Rounded) -> np.ndarray:
    """Error ÷ bound; 1 where any value is right, so that a closer alternative goes first."""
    with np.errstate(all="ignore"):
        ratio = np.abs(actual - expected.value) / expected.error
        same = (actual == expected.value) | (np.isnan(actual) & np.isnan(expected.value))
    ratio = np.where(same, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
    return np.where(expected.decided, ratio, 1.0)


def interval(low: Rounded, high: Rounded) -> Rounded:
    """An interval, such as a subdifferential, as its middle ± half its width.

    Args:
        low, high: the ends, in either order, each with its error; where both are equal the result
            is that number.
    """
    bottom = np.minimum(low.value - low.error, high.value - high.error)
    top = np.maximum(low.value + low.error, high.value + high.error)
    same = (low.value == high.value) & (low.error == high.error)
    with np.errstate(invalid="ignore", over="ignore"):
        value = np.where(same, low.value, 0.5 * bottom + 0.5 * top)
        largest_end = np.maximum(np.abs(bottom), np.abs(top))
        # Roundings: an end, 1; its distance from the value, up to 2·reach, 2; second order, 1.
        error = np.maximum(top - value, value - bottom) + 4 * ORACLE_UNIT * largest_end
    # Infinite ends have no middle.
    undefined = ~np.isfinite(value) & ~same
    error = np.where(same, low.error, np.where(undefined | np.isnan(error), np.inf, error))
    return Rounded(np.where(undefined, 0.0, value), error, low.precision)


def where_undecided(
    z: Rounded, threshold: float, above: Rounded, below: Rounded, *, inclusive: bool = False
) -> Rounded:
    """One branch where a computed number is above a threshold, and the other elsewhere.

    Where the error of z leaves the side undecided, either branch is right: the result's error then
    extends to the other branch. The gradient of each branch is then anything from 0 to all of it.

    Args:
        z: the number compared with the threshold.
        above: result where z > threshold.
        below: result elsewhere, and where z is NaN.
        inclusive: z = threshold counts as above.
    """
    is_above = z.value >= threshold if inclusive else z.value > threshold
    with np.errstate(invalid="ignore"):
        certain = (z.error == 0) | (np.abs(z.value - threshold) > z.error)
        value = np.where(is_above, above.value, below.value)
        chosen_error = np.where(is_above, above.error, below.error)
        other_error = np.where(is_above, below.error, above.error)
        error = np.maximum(chosen_error, np.abs(above.value - below.value) + other_error)
    # For a number that may be NaN the branch is unknown.
    error = np.where(np.isfinite(z.error) & ~np.isnan(error), error, np.inf)
    result = Rounded(value, np.where(certain, chosen_error, error), z.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        up, down = certain & is_above, certain & ~is_above
        return [
            unbroadcast(_split_cotangent(cotangent, up, down), above.shape),
            unbroadcast(_split_cotangent(cotangent, down, up), below.shape),
        ]

    return with_pullback(result, [above, below], pull)


def maximum(a: Rounded, b: Rounded) -> Rounded:
    """The larger of two numbers, copied without rounding; NaN where either is NaN.

    |max(a + e, b + f) − max(a, b)| ≤ max(|e|, |f|), and |e| where a is certainly larger. Where the
    two are equal or undecided, the gradient may go to either or be shared.

    Args:
        a, b: of shapes that broadcast against each other.
    """
    with np.errstate(invalid="ignore"):
        value = np.maximum(a.value, b.value)
        first, second = a.value - a.error > b.value + b.error, b.value - b.error > a.value + a.error
        error = np.where(first, a.error, np.where(second, b.error, np.maximum(a.error, b.error)))
    error = np.where(np.isnan(error), np.inf, error)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [
            unbroadcast(_split_cotangent(cotangent, first, second), a.shape),
            unbroadcast(_split_cotangent(cotangent, second, first), b.shape),
        ]

    return with_pullback(Rounded(value, error, a.precision), [a, b], pull)


def minimum(a: Rounded, b: Rounded) -> Rounded:
    """The smaller of two: −max(−a, −b).

    Args:
        a, b: of shapes that broadcast against each other.
    """
    return -maximum(-a, -b)


def gather(x: Rounded, index: np.ndarray, axis: int) -> Rounded:
    """`numpy.take_along_axis`: copies; the gradients of an element's copies are added up.

    Args:
        index: integers, of x's shape except along `axis`.
        axis: the axis that `index` counts along.
    """
    return _copy_elements(x, lambda array: np.take_along_axis(array, index, axis))


def take(
    x: Rounded,
    index: np.ndarray,
    axis: int = 0,
    *,
    inside: np.ndarray | None = None,
    fill: float = 0.0,
) -> Rounded:
    """`numpy.take`, such as rows of an embedding; the gradients of a row's copies are added up.

    Args:
        index: integers of any shape.
        axis: the axis that `index` counts along.
        inside: where to copy, of a shape that broadcasts to the result's; None = everywhere.
        fill: the value elsewhere, such as the padding around an input.
    """
    return _copy_elements(x, lambda array: np.take(array, index, axis=axis), inside, fill)


def _split_cotangent(
    cotangent: Rounded, receives_all: np.ndarray, receives_none: np.ndarray
) -> Rounded:
    """The part of a cotangent that one branch gets: all, nothing, or anything in between."""
    doubtful = ~(receives_all | receives_none)
    value = np.where(receives_none, 0.0, np.where(doubtful, 0.5 * cotangent.value, cotangent.value))
    error = np.where(receives_none, 0.0, cotangent.error)
    error = np.where(doubtful, 0.5 * cotangent.abs_value + cotangent.error, error)
    return Rounded(value, error, cotangent.precision)


def _copy_elements(
    x: Rounded,
    move: Callable[[np.ndarray], np.ndarray],
    inside: np.ndarray | None = None,
    fill: float = 0.0,
) -> Rounded:
    """Copy elements by `move`; an element may appear several times, or not at all."""
    value, error = move(x.value), move(x.error)
    if inside is not None:
        value, error = np.where(inside, value, fill), np.where(inside, error, 0.0)
    result = Rounded(value, error, x.precision)
    if x.node is None:
        return result
    copied = np.broadcast_to(True if inside is None else inside, value.shape)
    sources = move(np.arange(x.value.size).reshape(x.shape))[copied]
    counts = np.bincount(sources, minlength=x.value.size).reshape(x.shape)

    def scatter_add(array: np.ndarray) -> np.ndarray:
        sums = np.zeros(x.value.size, array.dtype)
        np.add.at(sums, sources, array[copied])
        return sums.reshape(x.shape)

    def grain(cotangent: Rounded) -> np.ndarray:
        smallest = np.full(x.value.size, np.inf)
        np.minimum.at(smallest, sources, cotangent.quanta[copied])
        return smallest.reshape(x.shape)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        max_copies = int(counts.max(initial=1))
        summed = multilinear(
            scatter_add, cotangent.detached, terms=max(max_copies - 1, 1), grain=grain
        )
        # The gradient of a single copy needs no sum.
        error = np.where(counts > 1, summed.error, scatter_add(cotangent.error))
        return [
            Rounded(
                summed.value, error, summed.precision, summed.magnitude, summed.grain, max_copies
            )
        ]

    return with_pullback(result, [x], pull)
