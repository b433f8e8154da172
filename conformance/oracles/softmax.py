"""Softmin, Softmax, Softmax2d, LogSoftmax, their functions, and possible draws of Gumbel-softmax.

Sources: the pages torch.nn.Softmin, Softmax, Softmax2d, LogSoftmax and torch.nn.functional.softmin,
softmax, log_softmax, gumbel_softmax of the PyTorch documentation. They do not explain a `dim` of
None, which is deprecated. It is 0 for a tensor with 0, 1 or 3 dimensions, else 1: torch has always
done so, and the deprecation is about this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from conformance.arithmetic import reductions
from conformance.arithmetic.choices import Choices
from conformance.arithmetic.half_precision import converted, stored, widened, working_precision
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, with_pullback

State = Mapping[str, Rounded]

_NOISE = {"float64": 750.0}
"""No Gumbel number is that far from 0: −log(−log u) for the u closest to 0 and 1 in the format."""
_DEFAULT_NOISE = 128.0


def softmax(
    state: State, input: Rounded, *, dim: int | None = None, dtype: str | None = None
) -> Rounded:
    """Softmax(xᵢ) = exp(xᵢ)/Σⱼ exp(xⱼ) along an axis, of the input cast to `dtype`."""
    return _softmax_along(reductions.softmax, input, dim, dtype)


def softmin(
    state: State, input: Rounded, *, dim: int | None = None, dtype: str | None = None
) -> Rounded:
    """Softmin(xᵢ) = exp(−xᵢ)/Σⱼ exp(−xⱼ)."""
    return softmax(state, -input, dim=dim, dtype=dtype)


def softmax2d(state: State, input: Rounded) -> Rounded:
    """Softmax over the channels at each pixel of (N, C, H, W) or (C, H, W)."""
    return softmax(state, input, dim=-3)


def log_softmax(
    state: State, input: Rounded, *, dim: int | None = None, dtype: str | None = None
) -> Rounded:
    """LogSoftmax(xᵢ) = log(exp(xᵢ)/Σⱼ exp(xⱼ))."""
    return _softmax_along(reductions.log_softmax, input, dim, dtype)


def gumbel_softmax(
    state: State,
    logits: Rounded,
    *,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
) -> Rounded | Choices:
    """softmax((logits + g)/τ) for Gumbel numbers g; hard: 1 at the largest and 0 elsewhere.

    Any number from 0 to 1 is possible; `laws/softmax/draws.py` checks the frequencies. The
    gradient, even of hard samples, is p(c − Σ c p)/τ. That is p(1 − p)/τ times the difference of c
    and a mean of the other c.
    """
    axis, single = dim % max(logits.value.ndim, 1), _at_least_1d(logits)
    x, precision = single.value, logits.precision
    count = x.shape[axis]
    undecided = _overflows(single, tau, axis)
    undefined = _undefined(x, axis)
    impossible = np.isneginf(x)
    certain = np.broadcast_to(((~impossible).sum(axis, keepdims=True) == 1), x.shape)

    def build_output(value: np.ndarray, error: np.ndarray) -> Rounded:
        value = np.where(impossible, 0.0, np.where(certain, 1.0, value))
        error = np.where(impossible | certain, 0.0, error)
        value, error = np.where(undefined, np.nan, value), np.where(undefined, 0.0, error)
        # NaN has no largest element: a hard sample may be NaN, or have a 1 anywhere.
        unspecified = undecided | undefined if hard else undecided
        output = Rounded(value, np.where(unspecified, np.inf, error), precision)
        output = with_pullback(
            output, [single], lambda cotangent: [_gradient_range(cotangent, tau, axis, count)]
        )
        return output.map(lambda array: array.reshape(logits.shape))

    zero, half = np.zeros(x.shape), np.full(x.shape, 0.5)
    if hard:
        return Choices((build_output(zero, zero), build_output(zero + 1.0, zero)))
    return build_output(half, half)


def sum_error(count: int, like: Rounded) -> float:
    """Largest deviation from 1 of the sum of a softmax of `count` numbers, whatever its operands.

    The results eᵢ/Σe share the same computed eᵢ. Roundings: the sum, (n − 1)u; each quotient, or
    the reciprocal and a product, 2u; storing, once. A product of roundings that add up to k errs by
    at most γ = k/(1 − k) (Higham, *Accuracy and Stability of Numerical Algorithms*, lemma 3.1).

    Args:
        like: any number of the same precision.
    """
    inner, outer = working_precision(like.precision), like.precision
    relative = (count + 1) * inner.unit + (outer.unit if inner != outer else 0.0)
    gamma = relative / (1 - relative) if relative < 1 else np.inf
    return float(gamma + count * (outer.underflow + ORACLE_UNIT))


def resolve_axis(dim: int | None, axes: int) -> int:
    """The axis of a `dim`, counted from 0.

    Args:
        dim: counted from either end; None = the deprecated default.
        axes: number of axes of the input.
    """
    if dim is None:
        return 0 if axes in (0, 1, 3) else 1
    return dim % max(axes, 1)


def _softmax_along(
    function: Callable[[Rounded, int], Rounded],
    input: Rounded,
    dim: int | None,
    dtype: str | None,
) -> Rounded:
    axis = resolve_axis(dim, input.value.ndim)
    x = _at_least_1d(converted(input, dtype))
    y = stored(function(widened(x), axis), x.precision)
    return y.map(lambda array: array.reshape(input.shape))


def _at_least_1d(x: Rounded) -> Rounded:
    """A scalar as a vector of one element."""
    return x if x.shape else x.map(lambda array: array.reshape(1))


def _undefined(x: np.ndarray, axis: int) -> np.ndarray:
    """Where a row has NaN or ∞, or only −∞: its softmax is NaN."""
    largest = x.max(axis, keepdims=True, initial=-np.inf)
    return np.broadcast_to(~np.isfinite(largest), x.shape)


def _overflows(x: Rounded, tau: float, axis: int) -> np.ndarray:
    """Where the quotient by τ may overflow somewhere in the row."""
    noise = _NOISE.get(x.precision.dtype, _DEFAULT_NOISE)
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.where(np.isfinite(x.value), x.abs_value + noise, 0.0) / tau
    largest = size.max(axis, keepdims=True, initial=0.0)
    return np.broadcast_to(largest > x.precision.largest / 2, x.shape)


def _gradient_range(cotangent: Rounded, tau: float, axis: int, count: int) -> Rounded:
    """Any gradient up to ¼·(max c − min c)/τ, plus roundings of p(c − Σ c p)/τ; 0 for one class."""
    c, precision = cotangent, cotangent.precision
    if count < 2:
        return Rounded(np.zeros(c.shape), np.zeros(c.shape), precision)
    high, low = (
        extreme(axis, keepdims=True)
        for extreme in ((c.value + c.error).max, (-(c.value - c.error)).max)
    )
    size = c.abs_bound.max(axis, keepdims=True)
    # Roundings: Σ c p, n + 1; the difference, p's error twice, product, quotient, storing, 6.
    rounding_error = (count + 8) * (precision.unit + ORACLE_UNIT) * size + 4 * precision.underflow
    error = np.broadcast_to((0.25 * (high + low) + rounding_error) / tau, c.shape)
    return Rounded(np.zeros(c.shape), error, precision)
