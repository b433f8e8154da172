"""Pooling by average.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the pages torch.nn.AvgPool1d, AvgPool2d, AvgPool3d and those of their functions in the
PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce

import numpy as np

from conformance.arithmetic.elementary import constants
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.reductions import total
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, with_node, with_pullback
from conformance.oracles.pooling.windows import Shape, Size, Taps, Window, make_windows, window_taps

State = Mapping[str, Rounded]


def avg_pool(
    dims: int,
    state: State,
    input: Rounded,
    *,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Rounded:
    """out(N, C, h, w) = Σ over m, n of input(N, C, stride[0]·h + m, stride[1]·w + n) / (kH·kW).

    Args:
        dims: number of spatial dimensions.
        input: (N, C, *) or (C, *).
        count_include_pad: the zero-padding counts. With `ceil_mode` a window may extend beyond the
            padding; that part never counts, which the page does not mention.
        divisor_override: replaces the number of elements; AvgPool1d does not have it.
    """
    windows = make_windows(input.shape[-dims:], kernel_size, stride, padding, 1, ceil_mode)
    tap_table = window_taps(windows)
    if divisor_override is not None:
        divisors = np.full(len(tap_table.index), float(divisor_override))
    elif count_include_pad:
        divisors = _product([_padded_counts(window) for window in windows])
    else:
        divisors = tap_table.inside.sum(axis=1).astype(float)
    return average_taps(input, tap_table, divisors)


def avg_pool_shape(
    dims: int,
    input: Shape,
    *,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Shape, ...]:
    """(*, H, W) → (*, H_out, W_out)."""
    windows = make_windows(input[-dims:], kernel_size, stride, padding, 1, ceil_mode)
    return ((*input[:-dims], *(w.outputs for w in windows)),)


avg_pool1d, avg_pool2d, avg_pool3d = (partial(avg_pool, dims) for dims in (1, 2, 3))


def _padded_counts(window: Window) -> np.ndarray:
    """Number of taps of each window that lie in the padded input."""
    in_padded = window.positions < window.length + window.padding
    return np.asarray(in_padded.sum(axis=1).astype(float))


def _product(counts: Sequence[np.ndarray]) -> np.ndarray:
    """The products for every combination of windows, flat."""
    return np.asarray(reduce(lambda a, b: np.multiply.outer(a, b).reshape(-1), counts))


def average_taps(input: Rounded, tap_table: Taps, divisors: np.ndarray) -> Rounded:
    """The sum of each window's elements divided by its divisor.

    Half precision accumulates in float32 and stores once. The gradients of overlapping windows may
    be summed in the dtype itself, like the gradients of convolutions.

    Args:
        input: (*, plane).
        tap_table: the taps of each window.
        divisors: one for each window.
    """
    shape = tap_table.shape(input)

    def mean(x: Rounded) -> Rounded:
        quotient = _divide(total(tap_table.gather(x, 0.0), -1), divisors)
        return quotient.map(lambda array: array.reshape(shape))

    value = stored(mean(widened(input.detached)), input.precision)
    return value if input.node is None else with_node(value, mean(input).node)


def _divide(x: Rounded, divisors: np.ndarray) -> Rounded:
    """Sums (*, windows) divided by divisors (windows).

    The bound covers the quotient, and a product with the reciprocal. It also covers the form on the
    page of AvgPool3d, which divides each term before the sum. That is at most one more rounding of
    each term. With a power of two all are exact.
    """
    quotient = x.detached / constants(divisors, x)
    if len(divisors):
        # |x| alone would ignore terms that cancel: each term is rounded.
        terms = x.abs_value if x.magnitude is None else x.magnitude
        reciprocal_error = (x.precision.unit + ORACLE_UNIT) * (terms + x.error) / np.abs(divisors)
        exact = (np.frexp(np.abs(divisors))[0] == 0.5) | (terms + x.error == 0)
        reciprocal_error = np.where(exact, 0.0, reciprocal_error + x.precision.underflow)
        quotient = quotient.with_error(quotient.error + reciprocal_error)
    return with_pullback(quotient, [x], lambda cotangent: [_divide(cotangent, divisors)])
