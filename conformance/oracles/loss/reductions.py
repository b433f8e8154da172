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
from conformance.arithmetic.reductions import divide_by_count, total
from conformance.arithmetic.rounded import Rounded, move_cotangent, with_pullback

Shape = tuple[int, ...]


def reduce_losses(losses: Rounded, reduction: str, count: float | None = None) -> Rounded:
    """The losses themselves, their sum, or the sum divided by a count.

    Args:
        losses: one for each element.
        reduction: `"none"`, `"sum"`, or the name of a mean.
        count: the divisor of a stored sum; None = the mean of all losses.
    """
    if reduction == "none":
        return losses
    detached_losses = losses.detached
    wide = total(widened(detached_losses))
    divisor: float | None = None
    with np.errstate(all="ignore"):
        if reduction == "sum":
            reduced_value = stored(wide, losses.precision).detached
        elif count is None:
            divisor = float(losses.value.size)
            reduced_value = stored(divide_by_count(wide, divisor), losses.precision).detached
        else:
            divisor = count
            reduced_value = divide_by_count(stored(wide, losses.precision).detached, divisor)
    result = _special_sum(reduced_value, detached_losses)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        gradient = cotangent if divisor is None else divide_by_count(cotangent, divisor)
        return [move_cotangent(gradient, lambda array: np.broadcast_to(array, losses.shape).copy())]

    return with_pullback(result, [losses], pull)


def stored_sum(x: Rounded) -> Rounded:
    """A wide sum, stored in the dtype, such as the sum of weights."""
    return stored(total(widened(x)), x.precision)


def with_special_values(
    losses: Rounded,
    *operands: Rounded,
    factors: tuple[Rounded, ...] = (),
    where: np.ndarray | None = None,
) -> Rounded:
    """The losses with exact NaN and ∞ where every form of the formula gives them.

    Args:
        losses: the losses, computed by a formula from exact operands.
        operands: the formula's operands: NaN gives NaN, an infinity the formula's result.
        factors: factors of the losses: NaN gives NaN, an infinite one leaves open whether it is
            multiplied by 0.
        where: elements for which this holds; None = all.
    """
    gives_nan, has_infinity, undecided = (np.zeros(losses.shape, bool) for _ in range(3))
    for x in (*operands, *factors):
        gives_nan = gives_nan | (np.isnan(x.value) & (x.error == 0))
    for x in operands:
        has_infinity = has_infinity | (np.isinf(x.value) & (x.error == 0))
    for x in factors:
        undecided = undecided | np.isinf(x.value)
    certain = gives_nan | (has_infinity & ~undecided & ~np.isfinite(losses.value))
    if where is not None:
        certain, gives_nan = certain & where, gives_nan & where
    if not certain.any():
        return losses
    value = np.where(gives_nan, np.nan, losses.value)
    result = Rounded(value, np.where(certain, 0.0, losses.error), losses.precision)
    return with_pullback(result, [losses], lambda cotangent: [cotangent])


def weight_losses(losses: Rounded, weight: Rounded | None) -> Rounded:
    """The weighted losses; NaN where either is NaN, open where an infinite weight may multiply 0.

    Args:
        losses: one for each element.
        weight: broadcasts against the losses; None = no weight.
    """
    if weight is None:
        return losses
    with np.errstate(all="ignore"):
        return with_special_values(losses * weight, losses, factors=(weight,))


def with_open_gradient(x: Rounded, undefined: np.ndarray) -> Rounded:
    """The same numbers, with an open gradient at some of them.

    Args:
        undefined: elements at which the formula has no slope.
    """

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        value = np.where(undefined, 0.0, cotangent.value)
        return [Rounded(value, np.where(undefined, np.inf, cotangent.error), x.precision)]

    return with_pullback(x.detached, [x], pull)


def cover_forms(first: Rounded, *others: Rounded) -> Rounded:
    """A number with a bound that covers several forms of computing it.

    The forms' float64 values may differ where one form loses all digits.

    Args:
        first: the form that gives the value and the gradients.
        others: the same number by other forms.
    """
    error = first.error
    for other in others:
        with np.errstate(invalid="ignore"):
            distance = np.where(other.value == first.value, 0.0, np.abs(other.value - first.value))
            needed_error = other.error + distance
        error = np.maximum(error, np.where(np.isnan(needed_error), np.inf, needed_error))
    return first.with_error(error)


def _special_sum(reduced_value: Rounded, losses: Rounded) -> Rounded:
    """An exact NaN for a sum with NaN or with ±∞, an exact ∞ for a sum with ∞ of one sign."""
    exact = losses.error == 0
    any_nan = bool((np.isnan(losses.value) & exact).any())
    any_positive, any_negative = (
        bool(((losses.value == end) & exact).any()) for end in (np.inf, -np.inf)
    )
    if not (any_nan or any_positive or any_negative):
        return reduced_value
    if any_nan or (any_positive and any_negative):
        value = np.nan
    elif np.isfinite(np.where(np.isinf(losses.value) & exact, 0.0, losses.abs_bound)).all():
        value = np.inf if any_positive else -np.inf
    else:
        return reduced_value  # a finite loss may have overflowed to ∞ of the other sign
    return Rounded(np.array(value), np.zeros(()), reduced_value.precision)


def common_shape(
    *shapes: Shape | None, reduction: str = "mean", **unused: Any
) -> tuple[Shape, ...]:
    """The operands' common shape without reduction, else ().

    Args:
        shapes: the operands' shapes; None for an operand that is left out.
        reduction: as torch's argument.
    """
    present_shapes = [shape for shape in shapes if shape is not None]
    return (np.broadcast_shapes(*present_shapes) if reduction == "none" else (),)
