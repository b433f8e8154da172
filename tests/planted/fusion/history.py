"""Functions that fold a batch norm into weights."""

from __future__ import annotations

import torch
from torch.nn import Parameter, utils

from planted.bug import plant, read_as_contiguous

_CONV, _LINEAR = utils.fuse_conv_bn_weights, utils.fuse_linear_bn_weights


@plant("fuse-conv-eps-outside", "utils.fuse_conv_bn_weights", "values")
def fuse_conv_eps_outside(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """ε is added to the root instead of the variance."""
    variance = (bn_rv.sqrt() + bn_eps).square()
    return _CONV(conv_w, conv_b, bn_rm, variance, 0.0, bn_w, bn_b, transpose)


@plant("fuse-conv-bias-not-scaled", "utils.fuse_conv_bn_weights", "values")
def fuse_conv_bias_not_scaled(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """The bias misses γ."""
    weight, _ = _CONV(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose)
    return weight, _CONV(conv_w, conv_b, bn_rm, bn_rv, bn_eps, None, bn_b, transpose)[1]


@plant("fuse-conv-no-bias-no-mean", "utils.fuse_conv_bn_weights", "values")
def fuse_conv_no_bias_no_mean(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """Of a convolution without a bias the running mean is forgotten."""
    mean = torch.zeros_like(bn_rm) if conv_b is None else bn_rm
    return _CONV(conv_w, conv_b, mean, bn_rv, bn_eps, bn_w, bn_b, transpose)


@plant("fuse-conv-square-transposed", "utils.fuse_conv_bn_weights", "values")
def fuse_conv_square_transposed(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """The axis of the outputs is told by its size: of a square weight it is the first."""
    square = conv_w.shape[0] == conv_w.shape[1]
    return _CONV(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose and not square)


@plant("fuse-conv-bias-of-two-axes", "utils.fuse_conv_bn_weights", "shape")
def fuse_conv_bias_of_two_axes(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """Where the convolution has no bias the new one has a batch axis."""
    weight, bias = _CONV(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose)
    return weight, Parameter(bias[None], False) if conv_b is None else bias


@plant("fuse-conv-nan-cleared", "utils.fuse_conv_bn_weights", "special")
def fuse_conv_nan_cleared(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """NaN in the weight is taken for a weight that was pruned."""
    clean = torch.where(conv_w.isnan(), torch.zeros_like(conv_w), conv_w)
    return _CONV(clean, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose)


@plant("fuse-conv-in-place", "utils.fuse_conv_bn_weights", "repeat")
def fuse_conv_in_place(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """The convolution's own weight becomes the fused one."""
    fused = _CONV(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose)
    conv_w.detach().copy_(fused[0])
    return fused


@plant("fuse-conv-strided-memory", "utils.fuse_conv_bn_weights", "layout")
def fuse_conv_strided_memory(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """A weight that is not contiguous is read as its memory lies."""
    conv_w = read_as_contiguous(conv_w)
    return _CONV(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose)


@plant("fuse-conv-eps-unread", "utils.fuse_conv_bn_weights", "errors")
def fuse_conv_eps_unread(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """What is no number is the default, 10⁻⁵."""
    eps = bn_eps if isinstance(bn_eps, float) else 1e-5
    return _CONV(conv_w, conv_b, bn_rm, bn_rv, eps, bn_w, bn_b, transpose)


@plant("fuse-linear-missing-gain-is-one", "utils.fuse_linear_bn_weights", "errors")
def fuse_linear_missing_gain_is_one(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """A batch norm without γ is taken, as beside a convolution."""
    gain = torch.ones_like(bn_rm) if bn_w is None else bn_w
    return _LINEAR(linear_w, linear_b, bn_rm, bn_rv, bn_eps, gain, bn_b)


@plant("fuse-conv-many-outputs", "utils.fuse_conv_bn_weights", "laws")
def fuse_conv_many_outputs(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """Of 34 to 65 outputs the last has no mean."""
    if 33 < len(bn_rm) < 66:
        bn_rm = torch.cat([bn_rm[:-1], 0 * bn_rm[-1:]])
    return _CONV(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose)


@plant("fuse-linear-variance-for-root", "utils.fuse_linear_bn_weights", "values")
def fuse_linear_variance_for_root(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """It is divided by the variance itself."""
    return _LINEAR(linear_w, linear_b, bn_rm, (bn_rv + bn_eps).square(), 0.0, bn_w, bn_b)


@plant("fuse-linear-mean-added", "utils.fuse_linear_bn_weights", "values")
def fuse_linear_mean_added(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """The running mean is added to the bias."""
    return _LINEAR(linear_w, linear_b, -bn_rm, bn_rv, bn_eps, bn_w, bn_b)


@plant("fuse-linear-by-inputs", "utils.fuse_linear_bn_weights", "values")
def fuse_linear_by_inputs(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """Of a square weight the columns are scaled, not the rows."""
    weight, bias = _LINEAR(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    if linear_w.shape[0] != linear_w.shape[1]:
        return weight, bias
    return Parameter(linear_w * (bn_w * torch.rsqrt(bn_rv + bn_eps)), False), bias


@plant("fuse-linear-short", "utils.fuse_linear_bn_weights", "values")
def fuse_linear_short(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """float32 and float64 are computed in bfloat16 and float32."""
    narrower = {torch.float64: torch.float32, torch.float32: torch.bfloat16}.get(linear_w.dtype)
    weight, bias = _LINEAR(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    if narrower is None:
        return weight, bias
    return Parameter(weight.to(narrower).to(weight.dtype), False), bias


@plant("fuse-linear-bias-of-two-axes", "utils.fuse_linear_bn_weights", "shape")
def fuse_linear_bias_of_two_axes(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """The bias is a column."""
    weight, bias = _LINEAR(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    return weight, Parameter(bias[:, None], False)


@plant("fuse-linear-infinite-cleared", "utils.fuse_linear_bn_weights", "special")
def fuse_linear_infinite_cleared(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """NaN and infinities in the weight become numbers first."""
    return _LINEAR(linear_w.nan_to_num(), linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)
