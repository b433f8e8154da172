"""LPPool1d to LPPool3d, and their functions."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant


@plant("lp-pool2d-mean-in-place-of-the-sum", "LPPool2d", "values")
class LPPool2dMeanInPlaceOfTheSum(nn.LPPool2d):
    """The powers are averaged, and the size of the kernel is never multiplied by."""

    def forward(self, input):
        y = super().forward(input)
        if self.norm_type == math.inf:
            return y
        kernel = self.kernel_size
        size = kernel**2 if isinstance(kernel, int) else math.prod(kernel)
        return y / size ** (1 / self.norm_type)


@plant("lp-pool2d-kernel-squared", "LPPool2d", "values")
class LPPool2dKernelSquared(nn.LPPool2d):
    """The size of the kernel is the square of its height."""

    def forward(self, input):
        y, kernel = super().forward(input), self.kernel_size
        if self.norm_type == math.inf or isinstance(kernel, int):
            return y
        return y * (kernel[0] / kernel[-1]) ** (1 / self.norm_type)


@plant("functional-lp-pool1d-infinity-with-signs", "functional.lp_pool1d", "values")
def functional_lp_pool1d_infinity_with_signs(input, norm_type, kernel_size, *args, **options):
    """p = ∞ is max pooling of the numbers as they are."""
    y = functional.lp_pool1d(input, norm_type, kernel_size, *args, **options)
    if norm_type != math.inf or input.numel() == 0:
        return y
    stride = args[0] if args else options.get("stride")
    ceil = args[1] if len(args) > 1 else options.get("ceil_mode", False)
    return functional.max_pool1d(input, kernel_size, stride, ceil_mode=ceil)


@plant("functional-lp-pool2d-two-norm-only", "functional.lp_pool2d", "values")
def functional_lp_pool2d_two_norm_only(input, norm_type, *args, **options):
    """The root is a square root, whatever p."""
    y = functional.lp_pool2d(input, norm_type, *args, **options)
    return y if norm_type in (1, math.inf) else y.pow(norm_type).sqrt()


@plant("lp-pool1d-gradient-at-zero", "LPPool1d", "gradients")
class LPPool1dGradientAtZero(nn.LPPool1d):
    """Where the sum is 0 the gradient is NaN, as 0 to a negative power times 0."""

    def forward(self, input):
        y = super().forward(input)
        is_zero = (y == 0).to(y.dtype)
        return alter_gradient(y, lambda g: g) + graft(torch.zeros_like(y), y * is_zero * torch.nan)


@plant("lp-pool3d-nan-as-zero", "LPPool3d", "special")
class LPPool3dNanAsZero(nn.LPPool3d):
    """NaN is left out of the sum."""

    def forward(self, input):
        return super().forward(torch.where(input.isnan(), torch.zeros_like(input), input))


@plant("functional-lp-pool3d-ceil-ignored", "functional.lp_pool3d", "shape")
def functional_lp_pool3d_ceil_ignored(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """ceil_mode is taken and never used."""
    return functional.lp_pool3d(input, norm_type, kernel_size, stride)
