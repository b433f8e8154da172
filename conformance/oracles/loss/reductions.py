"""Reductions of the losses of all elements: none, their sum, or a mean.

In half precision a loss is stored before it is reduced. The sum is accumulated in float32, divided
there by the number of losses, and rounded once. A division by another number uses the stored sum.
The gradient of a mean is c/n, or c times a stored 1/n, which rounds once more: fused kernels have
1/n in the dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.reductions import over, total
from conformance.arithmetic.rounded import Rounded, moved_cotangent, traced

Shape = tuple[int, ...]


def reduced(losses: Rounded, reduction: str, count: float | None = None) -> Rounded:
    """The losses themselves, their sum, or the sum divided by a count.

    Args:
        losses: one for each element.
        reduction: `"none"`, `"sum"`, or the name of a mean.
        count: the divisor of a stored sum; None = the mean of all losses.
    """
    if reduction == "none":
        return losses
    bare = losses.bare
    wide = total(widened(bare))
    divisor: float | None = None
    with np.errstate(all="ignore"):
        if reduction == "sum":
            found = stored(wide, losses.precision).bare
        elif count is None:
            divisor = float(losses.value.size)
            found = stored(over(wide, divisor), losses.precision).bare
        else:
            divisor = count
            found = over(stored(wide, losses.precision).bare, divisor)
    result = _endless(found, bare)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        each = cotangent if divisor is None else over(cotangent, divisor)
        return [moved_cotangent(each, lambda array: np.broadcast_to(array, losses.shape).copy())]

    return traced(result, [losses], pull)


def added(x: Rounded) -> Rounded:
    """A wide sum, stored in the dtype, such as the sum of weights."""
    return stored(total(widened(x)), x.precision)


def settled(
    found: Rounded,
    *operands: Rounded,
    factors: tuple[Rounded, ...] = (),
    where: np.ndarray | None = None,
) -> Rounded:
    """The losses with exact NaN and ∞ where every form of the formula gives them.

    Args:
        found: the losses, computed by a formula from exact operands.
        operands: the formula's operands: NaN gives NaN, an infinity the formula's result.
        factors: factors of the losses: NaN gives NaN, an infinite one leaves open whether it is
            multiplied by 0.
        where: elements for which this holds; None = all.
    """
    lost, odd, open_ = (np.zeros(found.shape, bool) for _ in range(3))
    for x in (*operands, *factors):
        lost = lost | (np.isnan(x.value) & (x.error == 0))
    for x in operands:
        odd = odd | (np.isinf(x.value) & (x.error == 0))
    for x in factors:
        open_ = open_ | np.isinf(x.value)
    certain = lost | (odd & ~open_ & ~np.isfinite(found.value))
    if where is not None:
        certain, lost = certain & where, lost & where
    if not certain.any():
        return found
    value = np.where(lost, np.nan, found.value)
    result = Rounded(value, np.where(certain, 0.0, found.error), found.precision)
    return traced(result, [found], lambda cotangent: [cotangent])


def weighed(losses: Rounded, weight: Rounded | None) -> Rounded:
    """The weighted losses; NaN where either is NaN, open where an infinite weight may multiply 0.

    Args:
        losses: one for each element.
        weight: broadcasts against the losses; None = no weight.
    """
    if weight is None:
        return losses
    with np.errstate(all="ignore"):
        return settled(losses * weight, losses, factors=(weight,))


def without_slope(x: Rounded, where: np.ndarray) -> Rounded:
    """The same numbers, with an open gradient at some of them.

    Args:
        where: elements at which the formula has no slope.
    """

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        value = np.where(where, 0.0, cotangent.value)
        return [Rounded(value, np.where(where, np.inf, cotangent.error), x.precision)]

    return traced(x.bare, [x], pull)


def loosest(first: Rounded, *others: Rounded) -> Rounded:
    """A number with a bound that covers several forms of computing it.

    The forms' float64 values may differ where one form loses all digits.

    Args:
        first: the form that gives the value and the gradients.
        others: the same number by other forms.
    """
    error = first.error
    for other in others:
        with np.errstate(invalid="ignore"):
            apart = np.where(other.value == first.value, 0.0, np.abs(other.value - first.value))
            reach = other.error + apart
        error = np.maximum(error, np.where(np.isnan(reach), np.inf, reach))
    return first.with_error(error)


def _endless(found: Rounded, losses: Rounded) -> Rounded:
    """An exact NaN for a sum with NaN or with ±∞, an exact ∞ for a sum with ∞ of one sign."""
    exact = losses.error == 0
    lost = bool((np.isnan(losses.value) & exact).any())
    up, down = (bool(((losses.value == end) & exact).any()) for end in (np.inf, -np.inf))
    if not (lost or up or down):
        return found
    if lost or (up and down):
        value = np.nan
    elif np.isfinite(np.where(np.isinf(losses.value) & exact, 0.0, losses.reach)).all():
        value = np.inf if up else -np.inf
    else:
        return found  # a finite loss may have overflowed to ∞ of the other sign
    return Rounded(np.array(value), np.zeros(()), found.precision)


def common_shape(
    *shapes: Shape | None, reduction: str = "mean", **unused: Any
) -> tuple[Shape, ...]:
    """The operands' common shape without reduction, else ().

    Args:
        shapes: the operands' shapes; None for an operand that is left out.
        reduction: as torch's argument.
    """
    given = [shape for shape in shapes if shape is not None]
    return (np.broadcast_shapes(*given) if reduction == "none" else (),)
