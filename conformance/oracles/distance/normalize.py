"""Vectors divided by their norms.

Source: the page torch.nn.functional.normalize of the PyTorch documentation.

Like a cosine similarity it is composed of kernels, each of which stores its result. In half
precision the norm is computed wide and stored in the dtype before the division.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from conformance.arithmetic.choices import maximum as larger
from conformance.arithmetic.elementary import constant, ratio
from conformance.arithmetic.rounded import Rounded, with_pullback
from conformance.oracles.distance.vectors import State, norm


def normalize(
    state: State,
    input: Rounded,
    *,
    p: float = 2.0,
    dim: int | Sequence[int] = 1,
    eps: float = 1e-12,
) -> Rounded:
    """v = v/max(‖v‖ₚ, eps) of every vector v along `dim`, an axis or several."""
    rank = len(input.shape)
    axes = [axis % rank for axis in ((dim,) if isinstance(dim, int) else dim)]
    order = [*(axis for axis in range(rank) if axis not in axes), *axes]
    sizes = tuple(input.shape[axis] for axis in order)
    leading = sizes[: rank - len(axes)]
    vectors = input.map(
        lambda array: array.transpose(order).reshape(*leading, math.prod(sizes[len(leading) :]))
    )
    inverse_order = np.argsort(order)
    return _unit_vectors(vectors, p, eps).map(
        lambda array: array.reshape(sizes).transpose(inverse_order)
    )


def _unit_vectors(x: Rounded, p: float, eps: float) -> Rounded:
    """v/max(‖v‖ₚ, eps) along the last axis."""
    length, floor = norm(x, p, -1), constant(eps, x)
    quotient = ratio(x, larger(length, floor))
    # 0/eps is 0, even if the format cannot represent eps: float16 has no 1e-12.
    zero_vector = (length.value == 0) & (length.error == 0) & (eps > 0)
    value, error = quotient.value, np.where(zero_vector, 0.0, quotient.error)
    value = np.where(zero_vector, 0.0, value)
    is_nan, is_infinite = np.isnan(x.value), np.isinf(x.value)
    if p == 0:
        # The page does not say whether NaN counts as a number other than 0.
        gives_nan, unknown = is_nan, is_nan.any(-1, keepdims=True)
    else:
        # A finite element is divided by ∞; an implementation that scales the sum gives NaN.
        gives_nan = is_nan.any(-1, keepdims=True) | is_infinite
        unknown = is_infinite.any(-1, keepdims=True)
    error = np.where(gives_nan, 0.0, np.where(unknown, np.inf, error))
    result = Rounded(np.where(gives_nan, np.nan, value), error, x.precision)
    return with_pullback(result, [quotient], lambda cotangent: [cotangent])
