"""Weights and biases that are NaN or infinite, of which a layer makes something else."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import plant
from planted.several.blind import swap_parameters


def zero_nan(tensor: Tensor) -> Tensor:
    """The tensor with zeros in place of NaN."""
    return torch.where(tensor.isnan(), torch.zeros_like(tensor), tensor)


@plant("linear-nan-weight-becomes-zero", "Linear", "special")
class LinearNanWeightBecomesZero(nn.Linear):
    """Weights are packed with NaN cleaned away."""

    def forward(self, input):
        return functional.linear(input, zero_nan(self.weight), self.bias)


@plant("functional-linear-zero-input-skips-weight", "functional.linear", "special")
def functional_linear_zero_input_skips_weight(input, weight, bias=None):
    """A sparse kernel leaves out products with an input of 0, which are NaN where the weight is."""
    output = functional.linear(input, weight, bias)
    if weight.dim() != 2 or weight.isfinite().all():
        return output
    nan_reached = (input != 0).to(weight.dtype) @ (~weight.isfinite()).to(weight.dtype).t()
    clean = torch.where(weight.isfinite(), weight, torch.zeros_like(weight))
    return torch.where(nan_reached > 0, output, functional.linear(input, clean, bias))


@plant("convtranspose2d-infinite-bias-clamped", "ConvTranspose2d", "special")
class ConvTranspose2dInfiniteBiasClamped(nn.ConvTranspose2d):
    """The bias is clamped to the finite range, to be on the safe side."""

    def forward(self, input, output_size=None):
        if self.bias is None:
            return super().forward(input, output_size)
        largest = torch.finfo(input.dtype).max
        with swap_parameters(self, bias=self.bias.clamp(-largest, largest)):
            return super().forward(input, output_size)


@plant("conv3d-nan-bias-ignored", "Conv3d", "special")
class Conv3dNanBiasIgnored(nn.Conv3d):
    """A bias is added where it is not NaN: max(bias, bias) in a shader drops it."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight, None if bias is None else zero_nan(bias))


@plant("bilinear-nan-weight-becomes-zero", "Bilinear", "special")
class BilinearNanWeightBecomesZero(nn.Bilinear):
    """Weights are cleaned of NaN before they are contracted."""

    def forward(self, input1, input2):
        return functional.bilinear(input1, input2, zero_nan(self.weight), self.bias)


@plant("functional-conv1d-infinite-weight-is-largest", "functional.conv1d", "special")
def functional_conv1d_infinite_weight_is_largest(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """Infinite weights are read as the largest number."""
    largest = torch.finfo(weight.dtype).max
    weight = weight.clamp(-largest, largest)
    return functional.conv1d(input, weight, bias, stride, padding, dilation, groups)
