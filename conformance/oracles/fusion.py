"""Weights and biases with a batch norm of running statistics folded in.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page.

Sources: the pages torch.nn.utils.fuse_conv_bn_weights and fuse_linear_bn_weights of the PyTorch
documentation, which describe the purpose. The formula is that of BatchNorm2d, (y − μ)/√(v + ε)·γ +
β of y = W·x + b. torch composes it of kernels, each of which stores its result. The order in which
γ and 1/√(v + ε) are multiplied is not documented: the bound covers both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.elementary import constant, reciprocal_sqrt
from conformance.arithmetic.rounded import Rounded

State = Mapping[str, Rounded]


def _times(a: Rounded, b: Rounded) -> Rounded:
    """a·b with exact NaN and ∞: NaN where either is NaN and for ∞·0; ∞ for ∞ times another number.

    The product of ∞ and a number that may be read as 0, or has an infinite error, is left open.
    """
    product = a.bare * b.bare
    lost, endless = np.isnan(product.value), np.isinf(a.value) | np.isinf(b.value)
    settled = np.isfinite(a.error) & np.isfinite(b.error)
    for x in (a, b):
        least = x.precision.normal if x.precision.flushes else 0.0
        apart = (x.size - x.error > least) | np.isinf(x.value) | ((x.value == 0) & (x.error == 0))
        settled = settled & (apart | np.isnan(x.value))
    known = (np.isnan(a.value) | np.isnan(b.value)) | (settled & (endless | lost))
    error = np.where(known, 0.0, np.where(endless | lost, np.inf, product.error))
    return Rounded(product.value, error, product.precision)


def _plus(a: Rounded, b: Rounded) -> Rounded:
    """a + b with exact NaN where either is NaN, and exact ∞ for ∞ plus a number."""
    added = a.bare + b.bare
    missing = np.isnan(a.value) | np.isnan(b.value)
    endless = np.isinf(added.value) & (a.error == 0) & (b.error == 0)
    endless &= np.isinf(a.value) | np.isinf(b.value)
    return Rounded(added.value, np.where(missing | endless, 0.0, added.error), added.precision)


def _either(one: Rounded, other: Rounded) -> Rounded:
    """A number with a bound that covers two forms of computing it."""
    known = np.isnan(one.value) | (np.isinf(one.value) & (one.error == 0))
    error = np.maximum(one.error, other.error)
    return Rounded(one.value, np.where(known, one.error, error), one.precision)


def fused(
    weight: Rounded,
    bias: Rounded | None,
    mean: Rounded,
    variance: Rounded,
    gain: Rounded | None,
    shift: Rounded | None,
    eps: float,
    axis: int,
) -> tuple[Rounded, Rounded]:
    """W·γ/√(v + ε) and (b − μ)·γ/√(v + ε) + β; a missing γ is 1, a missing b or β is 0.

    Args:
        weight, bias: W and b of the preceding layer.
        mean, variance, gain, shift, eps: μ, v, γ, β and ε of the batch norm.
        axis: the weight's axis of outputs.
    """
    inverse = reciprocal_sqrt(_plus(variance, constant(eps, variance)))
    missing = np.isnan(variance.value)
    inverse = inverse.with_error(np.where(missing, 0.0, inverse.error))
    shape = [1] * len(weight.shape)
    shape[axis] = -1

    def across(x: Rounded) -> Rounded:
        return x.map(lambda array: array.reshape(shape))

    centred = -mean if bias is None else _plus(bias, -mean)
    if gain is None:
        whole, moved = _times(weight, across(inverse)), _times(centred, inverse)
    else:
        factor = _times(gain, inverse)
        whole = _either(
            _times(weight, across(factor)), _times(_times(weight, across(inverse)), across(gain))
        )
        moved = _either(_times(centred, factor), _times(_times(centred, inverse), gain))
    return whole, moved if shift is None else _plus(moved, shift)


def fuse_conv_bn_weights(
    state: State,
    conv_w: Rounded,
    conv_b: Rounded | None,
    bn_rm: Rounded,
    bn_rv: Rounded,
    bn_w: Rounded | None = None,
    bn_b: Rounded | None = None,
    *,
    bn_eps: float,
    transpose: bool = False,
) -> tuple[Rounded, Rounded]:
    """For a convolution, or a transposed one, whose weight has its outputs in the second axis."""
    return fused(conv_w, conv_b, bn_rm, bn_rv, bn_w, bn_b, bn_eps, 1 if transpose else 0)


def fuse_linear_bn_weights(
    state: State,
    linear_w: Rounded,
    linear_b: Rounded | None,
    bn_rm: Rounded,
    bn_rv: Rounded,
    bn_w: Rounded,
    bn_b: Rounded,
    *,
    bn_eps: float,
) -> tuple[Rounded, Rounded]:
    """For a linear map."""
    return fused(linear_w, linear_b, bn_rm, bn_rv, bn_w, bn_b, bn_eps, 0)
