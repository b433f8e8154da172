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


def _multiply(a: Rounded, b: Rounded) -> Rounded:
    """a·b with exact NaN and ∞: NaN where either is NaN and for ∞·0; ∞ for ∞ times another number.

    The product of ∞ and a number that may be read as 0, or has an infinite error, is left open.
    """
    product = a.detached * b.detached
    is_nan, is_infinite = np.isnan(product.value), np.isinf(a.value) | np.isinf(b.value)
    bounded_operands = np.isfinite(a.error) & np.isfinite(b.error)
    for x in (a, b):
        smallest = x.precision.normal if x.precision.flushes else 0.0
        nonzero = (
            (x.abs_value - x.error > smallest)
            | np.isinf(x.value)
            | ((x.value == 0) & (x.error == 0))
        )
        bounded_operands = bounded_operands & (nonzero | np.isnan(x.value))
    certain = (np.isnan(a.value) | np.isnan(b.value)) | (bounded_operands & (is_infinite | is_nan))
    error = np.where(certain, 0.0, np.where(is_infinite | is_nan, np.inf, product.error))
    return Rounded(product.value, error, product.precision)


def _add(a: Rounded, b: Rounded) -> Rounded:
    """a + b with exact NaN where either is NaN, and exact ∞ for ∞ plus a number."""
    added = a.detached + b.detached
    is_nan = np.isnan(a.value) | np.isnan(b.value)
    is_infinite = np.isinf(added.value) & (a.error == 0) & (b.error == 0)
    is_infinite &= np.isinf(a.value) | np.isinf(b.value)
    return Rounded(added.value, np.where(is_nan | is_infinite, 0.0, added.error), added.precision)


def _cover_both_forms(first: Rounded, second: Rounded) -> Rounded:
    """A number with a bound that covers two forms of computing it."""
    certain = np.isnan(first.value) | (np.isinf(first.value) & (first.error == 0))
    error = np.maximum(first.error, second.error)
    return Rounded(first.value, np.where(certain, first.error, error), first.precision)


def fuse(
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
    inverse = reciprocal_sqrt(_add(variance, constant(eps, variance)))
    is_nan = np.isnan(variance.value)
    inverse = inverse.with_error(np.where(is_nan, 0.0, inverse.error))
    shape = [1] * len(weight.shape)
    shape[axis] = -1

    def along_outputs(x: Rounded) -> Rounded:
        return x.map(lambda array: array.reshape(shape))

    centred = -mean if bias is None else _add(bias, -mean)
    if gain is None:
        fused_weight, fused_bias = (
            _multiply(weight, along_outputs(inverse)),
            _multiply(centred, inverse),
        )
    else:
        factor = _multiply(gain, inverse)
        fused_weight = _cover_both_forms(
            _multiply(weight, along_outputs(factor)),
            _multiply(_multiply(weight, along_outputs(inverse)), along_outputs(gain)),
        )
        fused_bias = _cover_both_forms(
            _multiply(centred, factor), _multiply(_multiply(centred, inverse), gain)
        )
    return fused_weight, fused_bias if shift is None else _add(fused_bias, shift)


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
    return fuse(conv_w, conv_b, bn_rm, bn_rv, bn_w, bn_b, bn_eps, 1 if transpose else 0)


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
    return fuse(linear_w, linear_b, bn_rm, bn_rv, bn_w, bn_b, bn_eps, 0)
