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
from conformance.arithmetic.rounded import Rounded, unbroadcast, with_pullback

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
    norm_product = norm(a, 2.0, dim) * norm(b, 2.0, dim)
    product = total(a * b, dim, keepdims=True)
    quotient = product / larger(norm_product, constant(eps, a))
    of_module = _nan_for_nonfinite(_drop_axis(stored(quotient, x1.precision), dim), a, b, dim)
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
    return _nan_for_nonfinite(_drop_axis(stored(similarity, x1.precision), dim), a, b, dim)


def cosine_similarity_shape(x1: Shape, x2: Shape, *, dim: int = 1, eps: float = 1e-8) -> tuple[
    Shape, ...
]:  # fmt: skip
    """The common shape without `dim`."""
    common = list(np.broadcast_shapes(x1, x2))
    del common[dim]
    return (tuple(common),)


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
    difference = (x1 - x2) + constant(eps, x1)
    distance = norm(difference, p, -1)
    gives_nan = np.isnan(difference.value).any(-1, keepdims=True) & (p != 0)
    gives_infinity = np.isinf(difference.value).any(-1, keepdims=True) & (p > 0) & ~gives_nan
    distance = _with_special_values(distance, gives_nan, gives_infinity)
    return distance if keepdim else _drop_axis(distance, -1)


def pdist(state: State, input: Rounded, *, p: float = 2.0) -> Rounded:
    """‖xᵢ − xⱼ‖ₚ for all i < j, sorted by i, then by j."""
    first, second = np.triu_indices(input.shape[0], 1)
    difference = take(input, first) - take(input, second)
    distance = norm(difference, p, -1)
    gives_nan = np.isnan(difference.value).any(-1, keepdims=True) & (p != 0)
    gives_infinity = np.isinf(difference.value).any(-1, keepdims=True) & (p > 0) & ~gives_nan
    if p == 0:
        # The page does not say whether NaN counts as a number other than 0.
        undecided = np.isnan(difference.value).any(-1, keepdims=True)
        distance = distance.with_error(np.where(undecided, np.inf, distance.error))
    return _drop_axis(_with_special_values(distance, gives_nan, gives_infinity), -1)


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
        uncertain_count = (
            ((x.error >= x.abs_value) & (x.error > 0)).sum(axis, keepdims=True).astype(float)
        )
        return stored(Rounded(count, uncertain_count, widened(x.detached).precision), x.precision)
    bare, wide = x.detached, widened(x.detached)
    if p == 2:
        length = sqrt(total(square(wide), axis, keepdims=True), nonnegative=True)
    else:
        powers = power(absolute(wide), p, nonnegative=True)
        length = power(total(powers, axis, keepdims=True), 1 / p, nonnegative=True)
    result = stored(length, x.precision).detached
    return with_pullback(
        result, [x], lambda cotangent: [_norm_gradient(bare, result, p, cotangent)]
    )


def _norm_gradient(x: Rounded, length: Rounded, p: float, cotangent: Rounded) -> Rounded:
    """Gradient of the norm: c·x·|x|ᵖ⁻² ÷ ‖x‖ᵖ⁻¹, each step stored in the dtype.

    Where all elements are 0, any subgradient is right: for p ≥ 1 each element of it is ≤ |c|. For p
    < 1 there is no subgradient, and no slope at an element that is 0.
    """
    if p == 2:
        gradient = x * (cotangent.detached / length)
        # c·(x/‖x‖): the quotient of a small element may first be rounded to a subnormal number.
        alternative = cotangent.detached * (x / length)
        gradient = gradient.with_error(np.maximum(gradient.error, alternative.error))
    else:
        sign_uncertain = (x.error >= x.abs_value) & (x.error > 0)
        sign = Rounded(np.sign(x.value), np.where(sign_uncertain, np.inf, 0.0), x.precision)
        slope = sign * power(absolute(x), p - 1, nonnegative=True)
        if p > 2:
            alternative = x * power(absolute(x), p - 2, nonnegative=True)
            slope = slope.with_error(np.maximum(slope.error, alternative.error))
        gradient = slope * (cotangent.detached / power(length, p - 1, nonnegative=True))
        if p < 1:
            # (c·slope)·‖x‖¹⁻ᵖ: the first product may leave the range.
            alternative = (slope * cotangent.detached) * power(length, 1 - p, nonnegative=True)
            gradient = gradient.with_error(np.maximum(gradient.error, alternative.error))
    value, error = gradient.value, gradient.error
    zero_vector = np.broadcast_to((length.value == 0) & (length.error == 0), x.shape)
    if p >= 1:
        largest = np.broadcast_to(cotangent.abs_bound, x.shape)
        value, error = np.where(zero_vector, 0.0, value), np.where(zero_vector, largest, error)
    else:
        undefined = zero_vector | (x.value == 0)
        value, error = np.where(undefined, 0.0, value), np.where(undefined, np.inf, error)
    return Rounded(value, error, x.precision)


def _broadcast(x1: Rounded, x2: Rounded) -> tuple[Rounded, Rounded]:
    """Broadcast both operands to their common shape."""
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    first, second = (broadcast(x, shape) for x in (x1, x2))
    return first, second


def broadcast(x: Rounded, shape: Shape) -> Rounded:
    """Broadcast to a shape; the gradient is summed over the copies."""
    if x.shape == shape:
        return x
    value, error = (np.broadcast_to(array, shape) for array in (x.value, x.error))
    result = Rounded(value, error, x.precision)
    return with_pullback(result, [x], lambda cotangent: [unbroadcast(cotangent, x.shape)])


def _drop_axis(x: Rounded, axis: int) -> Rounded:
    return x.map(lambda array: np.squeeze(array, axis))


def _nan_for_nonfinite(similarity: Rounded, a: Rounded, b: Rounded, dim: int) -> Rounded:
    """Set an exact NaN for each vector with NaN or ∞: its quotient by its norm has NaN."""
    gives_nan = ~(np.isfinite(a.value) & np.isfinite(b.value)).all(dim)
    return _with_special_values(similarity, gives_nan, np.zeros(gives_nan.shape, bool))


def _with_special_values(
    result: Rounded, gives_nan: np.ndarray, gives_infinity: np.ndarray
) -> Rounded:
    """Set exact NaN and ∞."""
    if not (gives_nan.any() or gives_infinity.any()):
        return result
    value = np.where(gives_nan, np.nan, np.where(gives_infinity, np.inf, result.value))
    error = np.where(gives_nan | gives_infinity, 0.0, result.error)
    return with_pullback(
        Rounded(value, error, result.precision), [result], lambda cotangent: [cotangent]
    )
