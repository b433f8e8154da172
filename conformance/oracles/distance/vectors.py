"""Cosine similarity and distances by a p-norm.

Sources: the pages torch.nn.CosineSimilarity, torch.nn.PairwiseDistance,
torch.nn.functional.cosine_similarity, pairwise_distance and pdist of the PyTorch documentation.

In half precision torch composes the first two of kernels, each of which stores its result. Norms
and sums are computed wide, as everywhere. Unit vectors, differences and the steps of a norm's
gradient are stored in the dtype before the next kernel reads them. The oracles do the same; a
single kernel that stores once errs less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.choices import maximum as larger
from conformance.arithmetic.elementary import absolute, constant, power, sqrt, square
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.reductions import maximum, total
from conformance.arithmetic.rounded import Rounded, traced, unbroadcast

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def cosine_similarity(
    state: State, x1: Rounded, x2: Rounded, *, dim: int = 1, eps: float = 1e-8
) -> Choices:
    """x₁·x₂ ÷ max(‖x₁‖·‖x₂‖, eps) by the module's page, or the formula of the function's page.

    By the latter each norm is at least eps. torch's module calls its function, so both are right.
    """
    of_function = functional_cosine_similarity({}, x1, x2, dim=dim, eps=eps)
    a, b = (widened(x) for x in _broadcast(x1, x2))
    both = norm(a, 2.0, dim) * norm(b, 2.0, dim)
    product = total(a * b, dim, keepdims=True)
    quotient = product / larger(both, constant(eps, a))
    of_module = _settled(_without(stored(quotient, x1.precision), dim), a, b, dim)
    return Choices((of_function, of_module))


def functional_cosine_similarity(
    state: State, x1: Rounded, x2: Rounded, *, dim: int = 1, eps: float = 1e-8
) -> Rounded:
    """x₁/max(‖x₁‖, eps) · x₂/max(‖x₂‖, eps), with a bound for any order of the divisions.

    Dividing first rounds each element of the unit vectors and has the largest bound.
    """
    a, b = _broadcast(x1, x2)
    units = []
    for x in (a, b):
        units.append(x / larger(norm(x, 2.0, dim), constant(eps, x)))
    similarity = total(widened(units[0] * units[1]), dim, keepdims=True)
    return _settled(_without(stored(similarity, x1.precision), dim), a, b, dim)


def cosine_similarity_shape(x1: Shape, x2: Shape, *, dim: int = 1, eps: float = 1e-8) -> tuple[
    Shape, ...
]:  # fmt: skip
    """The common shape without `dim`."""
    whole = list(np.broadcast_shapes(x1, x2))
    del whole[dim]
    return (tuple(whole),)


def pairwise_distance(
    state: State,
    x1: Rounded,
    x2: Rounded,
    *,
    p: float = 2.0,
    eps: float = 1e-6,
    keepdim: bool = False,
) -> Rounded:
    """‖x₁ − x₂ + eps‖ₚ along the last axis."""
    apart = (x1 - x2) + constant(eps, x1)
    found = norm(apart, p, -1)
    lost = np.isnan(apart.value).any(-1, keepdims=True) & (p != 0)
    endless = np.isinf(apart.value).any(-1, keepdims=True) & (p > 0) & ~lost
    found = _replaced(found, lost, endless)
    return found if keepdim else _without(found, -1)


def pdist(state: State, input: Rounded, *, p: float = 2.0) -> Rounded:
    """‖xᵢ − xⱼ‖ₚ for all i < j, sorted by i, then by j."""
    first, second = np.triu_indices(input.shape[0], 1)
    apart = take(input, first) - take(input, second)
    found = norm(apart, p, -1)
    lost = np.isnan(apart.value).any(-1, keepdims=True) & (p != 0)
    endless = np.isinf(apart.value).any(-1, keepdims=True) & (p > 0) & ~lost
    if p == 0:
        # The page does not say whether NaN counts as a number other than 0.
        open_ = np.isnan(apart.value).any(-1, keepdims=True)
        found = found.with_error(np.where(open_, np.inf, found.error))
    return _without(_replaced(found, lost, endless), -1)


def norm(x: Rounded, p: float, axis: int) -> Rounded:
    """(Σ|x|ᵖ)^(1/p) along an axis, kept with length 1.

    For p = ∞ it is the largest |x|, for p = 0 the number of elements that are not 0.

    Args:
        p: any number.
    """
    if not x.shape[axis] or p == 1:
        return stored(total(widened(absolute(x)), axis, keepdims=True), x.precision)
    if p == math.inf:
        return maximum(absolute(x), axis, keepdims=True)
    if p == 0:
        count = (x.value != 0).sum(axis, keepdims=True).astype(float)
        doubt = ((x.error >= x.size) & (x.error > 0)).sum(axis, keepdims=True).astype(float)
        return stored(Rounded(count, doubt, widened(x.bare).precision), x.precision)
    bare, wide = x.bare, widened(x.bare)
    if p == 2:
        length = sqrt(total(square(wide), axis, keepdims=True), nonnegative=True)
    else:
        raised = power(absolute(wide), p, nonnegative=True)
        length = power(total(raised, axis, keepdims=True), 1 / p, nonnegative=True)
    result = stored(length, x.precision).bare
    return traced(result, [x], lambda cotangent: [_pulled(bare, result, p, cotangent)])


def _pulled(x: Rounded, length: Rounded, p: float, cotangent: Rounded) -> Rounded:
    """Gradient of the norm: c·x·|x|ᵖ⁻² ÷ ‖x‖ᵖ⁻¹, each step stored in the dtype.

    Where all elements are 0, any subgradient is right: for p ≥ 1 each element of it is ≤ |c|. For p
    < 1 there is no subgradient, and no slope at an element that is 0.
    """
    if p == 2:
        found = x * (cotangent.bare / length)
        # c·(x/‖x‖): the quotient of a small element may first be rounded to a subnormal number.
        other = cotangent.bare * (x / length)
        found = found.with_error(np.maximum(found.error, other.error))
    else:
        unsure = (x.error >= x.size) & (x.error > 0)
        sign = Rounded(np.sign(x.value), np.where(unsure, np.inf, 0.0), x.precision)
        slope = sign * power(absolute(x), p - 1, nonnegative=True)
        if p > 2:
            other = x * power(absolute(x), p - 2, nonnegative=True)
            slope = slope.with_error(np.maximum(slope.error, other.error))
        found = slope * (cotangent.bare / power(length, p - 1, nonnegative=True))
        if p < 1:
            # (c·slope)·‖x‖¹⁻ᵖ: the first product may leave the range.
            other = (slope * cotangent.bare) * power(length, 1 - p, nonnegative=True)
            found = found.with_error(np.maximum(found.error, other.error))
    value, error = found.value, found.error
    nothing = np.broadcast_to((length.value == 0) & (length.error == 0), x.shape)
    if p >= 1:
        reach = np.broadcast_to(cotangent.reach, x.shape)
        value, error = np.where(nothing, 0.0, value), np.where(nothing, reach, error)
    else:
        steep = nothing | (x.value == 0)
        value, error = np.where(steep, 0.0, value), np.where(steep, np.inf, error)
    return Rounded(value, error, x.precision)


def _broadcast(x1: Rounded, x2: Rounded) -> tuple[Rounded, Rounded]:
    """Broadcast both operands to their common shape."""
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    first, second = (spread(x, shape) for x in (x1, x2))
    return first, second


def spread(x: Rounded, shape: Shape) -> Rounded:
    """Broadcast to a shape; the gradient is summed over the copies."""
    if x.shape == shape:
        return x
    value, error = (np.broadcast_to(array, shape) for array in (x.value, x.error))
    result = Rounded(value, error, x.precision)
    return traced(result, [x], lambda cotangent: [unbroadcast(cotangent, x.shape)])


def _without(x: Rounded, axis: int) -> Rounded:
    return x.map(lambda array: np.squeeze(array, axis))


def _settled(found: Rounded, a: Rounded, b: Rounded, dim: int) -> Rounded:
    """Set an exact NaN for each vector with NaN or ∞: its quotient by its norm has NaN."""
    lost = ~(np.isfinite(a.value) & np.isfinite(b.value)).all(dim)
    return _replaced(found, lost, np.zeros(lost.shape, bool))


def _replaced(found: Rounded, lost: np.ndarray, endless: np.ndarray) -> Rounded:
    """Set exact NaN and ∞."""
    if not (lost.any() or endless.any()):
        return found
    value = np.where(lost, np.nan, np.where(endless, np.inf, found.value))
    error = np.where(lost | endless, 0.0, found.error)
    return traced(Rounded(value, error, found.precision), [found], lambda cotangent: [cotangent])
