"""What becomes of the losses of all samples: themselves, their sum, their mean.

torch takes the sum and the mean by kernels of their own: in half precision they are computed wide
and stored once, whatever the losses went through before.
"""

from __future__ import annotations

import numpy as np

from conformance.arithmetic.reductions import Axes, over, total
from conformance.arithmetic.rounded import Rounded, traced
from conformance.arithmetic.wide import stored, widened

Shape = tuple[int, ...]


def reduced(losses: Rounded, reduction: str) -> Rounded:
    """The losses, their sum, or their mean, which is NaN where there are none.

    Args:
        losses: of all samples.
        reduction: `"none"`, `"sum"` or `"mean"`.
    """
    if reduction == "none":
        return losses
    whole = summed(widened(losses))
    if reduction == "mean":
        whole = settled(over(whole, losses.value.size), whole)
    return settled(stored(whole, losses.precision), whole)


def reduced_shape(losses: Shape, reduction: str) -> tuple[Shape, ...]:
    """A scalar, unless the losses stay as they are.

    Args:
        losses: their shape.
        reduction: as of `reduced`.
    """
    return (losses if reduction == "none" else (),)


def summed(terms: Rounded, axes: Axes = None) -> Rounded:
    """The sum; NaN for certain where a term is, infinite where some are, all of one sign.

    Args:
        terms: what is added up.
        axes: along which axes; None = all.
    """
    whole = total(terms, axes)
    if np.isfinite(terms.value).all():
        return whole
    along = tuple(range(len(terms.shape))) if axes is None else axes
    certain, endless = terms.error == 0, np.isinf(terms.value)
    lost = (np.isnan(terms.value) & certain).any(along)
    # Of finite terms a partial sum may still overflow to the other side.
    finite = np.where(np.isfinite(terms.value), terms.reach, 0.0).sum(along)
    plain = ((certain & endless) | np.isfinite(terms.reach)).all(along) & endless.any(along)
    clear = lost | (plain & (finite <= terms.precision.largest))
    value = np.where(lost, np.nan, whole.value)
    result = Rounded(value, np.where(clear, 0.0, whole.error), terms.precision)
    return traced(result, [whole], lambda cotangent: [cotangent])


def settled(result: Rounded, *operands: Rounded) -> Rounded:
    """A result that is certain where an operand is NaN or infinite for certain.

    Every form of such a formula then gives NaN, an infinity, or the 0 of a hinge.

    Args:
        result: of the operands, element by element.
        operands: of shapes that broadcast to the result's.
    """
    if all(np.isfinite(x.value).all() for x in operands):
        return result
    special = np.zeros(result.shape, bool)
    sure = np.ones(result.shape, bool)
    for x in operands:
        special = special | ~np.isfinite(x.value)
        sure = sure & (np.isfinite(x.reach) | (x.error == 0))
    plain = ~np.isfinite(result.value) | (result.value == 0)
    error = np.where(special & sure & plain, 0.0, result.error)
    found = Rounded(result.value, error, result.precision)
    return traced(found, [result], lambda cotangent: [cotangent])
