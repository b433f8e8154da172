"""Pooling by the p-norm of a window.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the pages torch.nn.LPPool1d, LPPool2d, LPPool3d and those of their functions in the PyTorch
documentation. They write xᵖ, not |x|ᵖ: a sum of odd powers may be negative, and its root of odd
degree is then negative, too. Only for p = ∞ they say that absolute values are compared.

torch composes the layer of kernels, each of which stores its result. In half precision the powers,
their mean, k times the mean, and its root are stored in the dtype. The oracle does the same; a
single kernel that stores once errs less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.elementary import absolute, constant, power
from conformance.arithmetic.rounded import Rounded, with_pullback
from conformance.oracles.pooling.average import average_taps
from conformance.oracles.pooling.maximum import max_over_taps
from conformance.oracles.pooling.windows import Shape, Size, make_windows, window_taps

State = Mapping[str, Rounded]


def lp_pool(
    dims: int,
    state: State,
    input: Rounded,
    *,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Rounded | Choices:
    """f(X) = (Σ over x in X of xᵖ)^(1/p); max over |x| at p = ∞.

    X are the elements of the input in the window. With `ceil_mode` a window may extend beyond the
    input; that part has no elements.

    Args:
        dims: number of spatial dimensions.
        input: (N, C, *) or (C, *).
    """
    tap_table = window_taps(make_windows(input.shape[-dims:], kernel_size, stride, 0, 1, ceil_mode))
    if norm_type == math.inf:
        (value,) = max_over_taps(absolute(input), tap_table, indices=False)
        return value
    # The sum is k times the mean, which is exact if k is a power of two.
    size = tap_table.index.shape[1]
    mean = average_taps(
        power(input, norm_type), tap_table, np.full(len(tap_table.index), float(size))
    )
    return _root(mean * constant(float(size), mean), norm_type)


def lp_pool_shape(
    dims: int,
    input: Shape,
    *,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> tuple[Shape, ...]:
    """(*, H, W) → (*, H_out, W_out)."""
    windows = make_windows(input[-dims:], kernel_size, stride, 0, 1, ceil_mode)
    return ((*input[:-dims], *(w.outputs for w in windows)),)


lp_pool1d, lp_pool2d, lp_pool3d = (partial(lp_pool, dims) for dims in (1, 2, 3))


def _root(summed: Rounded, p: float) -> Rounded:
    """The p-th root, negative for a negative number and odd p; its gradient at 0 is 0.

    For an even or fractional p a sum is negative only by rounding.
    """
    odd = float(p).is_integer() and p % 2 == 1
    size = Rounded(summed.abs_value, summed.error, summed.precision)
    root = size if p == 1 else power(size, 1.0 / p, nonnegative=True)
    sign = np.sign(summed.value) if odd else np.where(summed.value < 0, np.nan, 1.0)
    value, error = sign * root.value, root.error
    if odd:
        # Where the sign is uncertain, either root is possible.
        doubtful = summed.error >= summed.abs_value
        with np.errstate(all="ignore"):
            error = np.where(doubtful & (summed.error > 0), error + 2 * root.abs_bound, error)
    result = Rounded(value, error, summed.precision)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        gradient = cotangent.detached
        if p != 1:
            slope = constant(1.0 / p, size) * power(size, 1.0 / p - 1.0, nonnegative=True)
            gradient = gradient * slope
        zero_sum = (summed.value == 0) & (summed.error == 0)
        value = np.where(zero_sum, 0.0, gradient.value)
        # Where the sum may be 0, the gradient may be that at 0.
        may_be_zero = (summed.error > 0) & (summed.error >= summed.abs_value)
        error = np.where(may_be_zero, gradient.error + gradient.abs_value, gradient.error)
        return [Rounded(value, np.where(zero_sum, 0.0, error), gradient.precision)]

    return with_pullback(result, [summed], pull)
