"""Elements with several right values, selection by index, and branches left in doubt.

Where the right answers are a few numbers apart from each other they are `Choices`, which a
comparison accepts one of, element by element. Where they are all the numbers between two, such as
the slopes at a kink, they are an ordinary `Rounded`, `between` the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import OWN, Rounded, join, multilinear, traced, unbroadcast


@dataclass(frozen=True, eq=False)
class Choices:
    """Alternatives, one of which holds for each element, each exact or with a bound.

    Args:
        alternatives: arrays of one shape; an element has as many right values.

    Raises:
        ValueError: for none, or for several shapes.
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

    def nearest(self, got: np.ndarray) -> Rounded:
        """For each element the alternative that an answer is nearest to, measured by its bound.

        Of alternatives that are missed alike it is the first.

        Args:
            got: the answer, of the same shape.
        """
        value, error = self.alternatives[0].value, self.alternatives[0].error
        least = _missed(got, self.alternatives[0])
        for other in self.alternatives[1:]:
            missed = _missed(got, other)
            better = missed < least
            least = np.where(better, missed, least)
            value = np.where(better, other.value, value)
            error = np.where(better, other.error, error)
        return Rounded(value, error, self.precision)


def enclosed(x: Rounded | Choices) -> Rounded:
    """A number with a bound that holds between any two right values.

    Where the alternatives are no two finite numbers nothing is known.

    Args:
        x: one value for each element, or several.
    """
    if isinstance(x, Rounded):
        return x
    first, *others = x.alternatives
    low, high, error = first.value, first.value, first.error
    missing = np.isnan(first.value)
    for other in others:
        low, high = np.minimum(low, other.value), np.maximum(high, other.value)
        error = np.maximum(error, other.error)
        missing = missing & np.isnan(other.value)
    with np.errstate(invalid="ignore"):
        apart = np.where((low == high) | missing, 0.0, high - low)
    return Rounded(first.value, error + np.where(np.isnan(apart), np.inf, apart), first.precision)


def joined(parts: Sequence[Rounded | Choices], axis: int) -> Rounded | Choices:
    """`numpy.concatenate` of numbers of which any may have several right values.

    Args:
        parts: one or more.
        axis: along which they are put side by side.
    """
    several = [x.alternatives if isinstance(x, Choices) else (x,) for x in parts]
    most = max(map(len, several))
    ways = [join([x[min(k, len(x) - 1)] for x in several], axis) for k in range(most)]
    return ways[0] if most == 1 else Choices(tuple(ways))


def _missed(got: np.ndarray, expected: Rounded) -> np.ndarray:
    """Error ÷ bound; 1 where anything is right: what is nearer to another one counts as that."""
    with np.errstate(all="ignore"):
        ratio = np.abs(got - expected.value) / expected.error
        same = (got == expected.value) | (np.isnan(got) & np.isnan(expected.value))
    ratio = np.where(same, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
    return np.where(expected.decided, ratio, 1.0)


def between(low: Rounded, high: Rounded) -> Rounded:
    """Any number from one to another: a subdifferential, say, as its middle ± half its width.

    Args:
        low, high: the ends, in either order, each with its error; where they are equal it is that
            number.
    """
    bottom = np.minimum(low.value - low.error, high.value - high.error)
    top = np.maximum(low.value + low.error, high.value + high.error)
    same = (low.value == high.value) & (low.error == high.error)
    with np.errstate(invalid="ignore", over="ignore"):
        value = np.where(same, low.value, 0.5 * bottom + 0.5 * top)
        reach = np.maximum(np.abs(bottom), np.abs(top))
        # An end rounds: 1; so does its distance from the value, up to 2·reach: 2; second order: 1.
        error = np.maximum(top - value, value - bottom) + 4 * OWN * reach
    # The middle of endless numbers is none.
    lost = ~np.isfinite(value) & ~same
    error = np.where(same, low.error, np.where(lost | np.isnan(error), np.inf, error))
    return Rounded(np.where(lost, 0.0, value), error, low.precision)


def where_undecided(
    z: Rounded, threshold: float, above: Rounded, below: Rounded, *, inclusive: bool = False
) -> Rounded:
    """One branch where a computed number is above a threshold, and the other elsewhere.

    Where its error leaves the side in doubt an answer may be either branch's: the one here has an
    error that reaches to the other's. The gradient of either may then be all or nothing.

    Args:
        z: what decides.
        threshold: the branch changes there.
        above: where z > threshold.
        below: elsewhere, and where z is NaN.
        inclusive: z = threshold counts as above.
    """
    over = z.value >= threshold if inclusive else z.value > threshold
    with np.errstate(invalid="ignore"):
        certain = (z.error == 0) | (np.abs(z.value - threshold) > z.error)
        value = np.where(over, above.value, below.value)
        chosen = np.where(over, above.error, below.error)
        other = np.where(over, below.error, above.error)
        error = np.maximum(chosen, np.abs(above.value - below.value) + other)
    # Which branches a number that may be NaN takes is unknown.
    error = np.where(np.isfinite(z.error) & ~np.isnan(error), error, np.inf)
    result = Rounded(value, np.where(certain, chosen, error), z.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        up, down = certain & over, certain & ~over
        return [
            unbroadcast(_shared(cotangent, up, down), above.shape),
            unbroadcast(_shared(cotangent, down, up), below.shape),
        ]

    return traced(result, [above, below], pull)


def maximum(a: Rounded, b: Rounded) -> Rounded:
    """The larger of two, which is copied; NaN where one is.

    |max(a + e, b + f) − max(a, b)| ≤ max(|e|, |f|), and |e| where a is larger for certain. Where
    they are equal or in doubt a gradient goes to either or is shared.

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
            unbroadcast(_shared(cotangent, first, second), a.shape),
            unbroadcast(_shared(cotangent, second, first), b.shape),
        ]

    return traced(Rounded(value, error, a.precision), [a, b], pull)


def minimum(a: Rounded, b: Rounded) -> Rounded:
    """The smaller of two: −max(−a, −b).

    Args:
        a, b: of shapes that broadcast against each other.
    """
    return -maximum(-a, -b)


def gather(x: Rounded, index: np.ndarray, axis: int) -> Rounded:
    """`numpy.take_along_axis`: copies; gradients of an element that is taken often are added up.

    Args:
        x: what is copied from.
        index: whole numbers, of x's shape but along the axis.
        axis: along which they count.
    """
    return _copied(x, lambda array: np.take_along_axis(array, index, axis))


def take(
    x: Rounded,
    index: np.ndarray,
    axis: int = 0,
    *,
    inside: np.ndarray | None = None,
    fill: float = 0.0,
) -> Rounded:
    """`numpy.take`: rows of an embedding, say; gradients of a row that is taken often add up.

    Args:
        x: what is copied from.
        index: whole numbers of any shape.
        axis: along which they count.
        inside: where something is copied, of a shape that broadcasts to the result's; None =
            everywhere.
        fill: what stands elsewhere: the padding around an input.
    """
    return _copied(x, lambda array: np.take(array, index, axis=axis), inside, fill)


def _shared(cotangent: Rounded, all_of_it: np.ndarray, none: np.ndarray) -> Rounded:
    """A cotangent where a branch has it, 0 where it has not, else anything between the two."""
    doubtful = ~(all_of_it | none)
    value = np.where(none, 0.0, np.where(doubtful, 0.5 * cotangent.value, cotangent.value))
    error = np.where(none, 0.0, cotangent.error)
    error = np.where(doubtful, 0.5 * cotangent.size + cotangent.error, error)
    return Rounded(value, error, cotangent.precision)


def _copied(
    x: Rounded,
    move: Callable[[np.ndarray], np.ndarray],
    inside: np.ndarray | None = None,
    fill: float = 0.0,
) -> Rounded:
    """A selection in which an element may appear several times, or not at all."""
    value, error = move(x.value), move(x.error)
    if inside is not None:
        value, error = np.where(inside, value, fill), np.where(inside, error, 0.0)
    result = Rounded(value, error, x.precision)
    if x.node is None:
        return result
    which = np.broadcast_to(True if inside is None else inside, value.shape)
    places = move(np.arange(x.value.size).reshape(x.shape))[which]
    counts = np.bincount(places, minlength=x.value.size).reshape(x.shape)

    def back(array: np.ndarray) -> np.ndarray:
        whole = np.zeros(x.value.size, array.dtype)
        np.add.at(whole, places, array[which])
        return whole.reshape(x.shape)

    def grain(cotangent: Rounded) -> np.ndarray:
        least = np.full(x.value.size, np.inf)
        np.minimum.at(least, places, cotangent.quanta[which])
        return least.reshape(x.shape)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        most = int(counts.max(initial=1))
        summed = multilinear(back, cotangent.bare, terms=max(most - 1, 1), grain=grain)
        # Of one copy there is nothing to add up.
        error = np.where(counts > 1, summed.error, back(cotangent.error))
        return [Rounded(summed.value, error, x.precision, summed.magnitude, summed.grain, most)]

    return traced(result, [x], pull)
