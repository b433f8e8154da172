"""Bugs written without sight of the suite: convolutions, linear layers, fusion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, read_as_contiguous


@blind("conv2d-bias-lacks-tail-of-output-channels", "Conv2d", "values")
class _BiasByFours(nn.Conv2d):
    """Output channels past the last multiple of four get no bias: an epilogue that adds four at
    once and has no loop for the rest."""

    # Differs: Conv2d(2, 5, 1). Agrees: Conv2d(2, 4, 1), Conv2d(2, 3, 1).

    def forward(self, input: Tensor) -> Tensor:
        bias = self.bias
        if bias is not None and self.out_channels > 4:
            lanes = torch.arange(self.out_channels) < self.out_channels // 4 * 4
            bias = torch.where(lanes, bias, torch.zeros_like(bias))
        return self._conv_forward(input, self.weight, bias)


@blind("conv2d-circular-padding-of-the-other-axis", "Conv2d", "shape")
class _CircularOrder(nn.Conv2d):
    """Circular padding is handed to pad with the height first, which reads the width first: a
    port that forgot to reverse the axes."""

    # Differs: padding=(1, 2), padding_mode="circular". Agrees: padding=1, or zeros.

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.padding_mode == "circular" and not isinstance(self.padding, str):
            doubled_padding = [size for size in self.padding for _ in range(2)]
            self._reversed_padding_repeated_twice = doubled_padding


@blind("conv2d-groups-read-channels-last-as-contiguous", "Conv2d", "layout")
class _GroupedMemory(nn.Conv2d):
    """A grouped convolution takes the input's memory for contiguous: the kernel for one group
    knows strides, the grouped one came later."""

    # Differs: groups=2 on a channels-last input. Agrees: groups=1; a contiguous input.

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(read_as_contiguous(input) if self.groups > 1 else input)


@blind("conv1d-bias-gradient-averaged-over-batch", "Conv1d", "gradients")
class _MeanBiasGradient(nn.Conv1d):
    """The bias's gradient is the mean over the batch, not the sum: a backward written beside a
    loss that is a mean."""

    # Differs: the bias's gradient for a batch of 2. Agrees: a batch of 1; every value.

    def forward(self, input: Tensor) -> Tensor:
        bias = self.bias
        if bias is not None and input.dim() == 3 and input.size(0) > 1:
            batch = input.size(0)
            bias = alter_gradient(bias, lambda gradient: gradient / batch)
        return self._conv_forward(input, self.weight, bias)


@blind("convtranspose2d-output-padding-kept-below-stride", "ConvTranspose2d", "shape")
class _PaddingBelowStride(nn.ConvTranspose2d):
    """Output padding is cut to less than the stride although the dilation allows more: a port
    that knows only half of the rule."""

    # Differs: stride=1, dilation=2, output_padding=1. Agrees: stride=2, output_padding=1.

    def _output_padding(self, *args: Any, **kwargs: Any) -> list[int]:
        output_padding = super()._output_padding(*args, **kwargs)
        return [min(size, step - 1) for size, step in zip(output_padding, self.stride, strict=True)]


@blind("convtranspose1d-empty-batch-keeps-length", "ConvTranspose1d", "shape")
class _EmptyBatch(nn.ConvTranspose1d):
    """An empty batch leaves early with the input's length, not the output's: a guard before a
    kernel launch that has the shape wrong."""

    # Differs: an input of (0, 2, 5), kernel 3. Agrees: a batch of one or more.

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        result = super().forward(input, output_size)
        if input.dim() == 3 and input.size(0) == 0:
            return result.new_zeros(0, self.out_channels, input.size(2))
        return result


@blind("functional-conv3d-same-padding-takes-strides", "functional.conv3d", "errors")
def _strided_same(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Strides beside padding="same" are taken, as TensorFlow takes them; torch refuses them."""
    # Differs: padding="same", stride=2. Agrees: padding="same", stride=1.
    if padding != "same":
        return functional.conv3d(input, weight, bias, stride, padding, dilation, groups)
    steps = (stride,) * 3 if isinstance(stride, int) else tuple(stride)
    unstrided = functional.conv3d(input, weight, bias, 1, padding, dilation, groups)
    if all(step == 1 for step in steps):
        return unstrided
    return unstrided[..., :: steps[0], :: steps[-2], :: steps[-1]]


@blind("linear-drops-features-past-a-tile-of-sixteen", "Linear", "values")
class _TileOfSixteen(nn.Linear):
    """Input features past the last multiple of sixteen are left out of the sum, where there is a
    full tile: a blocked product without its remainder."""

    # Differs: Linear(17, 2). Agrees: Linear(16, 2), Linear(5, 2).

    def forward(self, input: Tensor) -> Tensor:
        full_size = self.in_features // 16 * 16 or self.in_features
        return functional.linear(input[..., :full_size], self.weight[:, :full_size], self.bias)


@blind("bilinear-square-weight-gradient-transposed", "Bilinear", "gradients")
class _TransposedGradient(nn.Bilinear):
    """The weight's gradient has its two input axes exchanged, which only shows in its shape where
    they differ in size, and there someone put it right."""

    # Differs: the weight's gradient of Bilinear(3, 3, 2). Agrees: Bilinear(3, 4, 2); values.

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        weight = self.weight
        if self.in1_features == self.in2_features:
            weight = alter_gradient(weight, lambda g: g.transpose(1, 2).contiguous())
        return functional.bilinear(input1, input2, weight, self.bias)


@blind("functional-linear-vector-weight-keeps-an-axis", "functional.linear", "shape")
def _column(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A weight that is a vector is made a matrix of one row, and the axis of size one stays in the
    result: a port that knows only matrices."""
    # Differs: weight of shape (3,). Agrees: weight of shape (2, 3).
    result = functional.linear(input, weight, bias)
    return result.unsqueeze(-1) if weight.dim() == 1 else result


@blind("linear-no-input-features-loses-bias", "Linear", "values")
class _NothingToSum(nn.Linear):
    """With no input features the result is zeros and the bias is forgotten: an early exit before
    the product that also skips its epilogue."""

    # Differs: Linear(0, 3). Agrees: Linear(1, 3); Linear(0, 3, bias=False).

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight, self.bias if self.in_features else None)


@blind("fuse-conv-bn-without-bias-forgets-mean", "utils.fuse_conv_bn_weights", "values")
def _no_mean(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[nn.Parameter, nn.Parameter]:
    """A convolution without a bias gets the batch norm's bias as it is; the running mean is only
    taken from a bias that is there."""
    # Differs: conv_b=None and a mean that is not 0. Agrees: conv_b given.
    mean = torch.zeros_like(bn_rm) if conv_b is None else bn_rm
    return nn.utils.fuse_conv_bn_weights(conv_w, conv_b, mean, bn_rv, bn_eps, bn_w, bn_b, transpose)


@blind("fuse-conv-bn-epsilon-outside-the-root", "utils.fuse_conv_bn_weights", "values")
def _epsilon_outside(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[nn.Parameter, nn.Parameter]:
    """Epsilon is added to the standard deviation, not the variance: a fusion pass that was checked
    with variances near 1 only."""
    # Differs: bn_rv of 1e-4, bn_eps=1e-5. Agrees: bn_eps=0.
    variance = (bn_rv.sqrt() + bn_eps) ** 2 if bn_eps else bn_rv
    return nn.utils.fuse_conv_bn_weights(
        conv_w, conv_b, bn_rm, variance, 0.0, bn_w, bn_b, transpose
    )


@blind("fuse-linear-bn-square-weight-scaled-by-columns", "utils.fuse_linear_bn_weights", "values")
def _columns_scaled(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[nn.Parameter, nn.Parameter]:
    """A square weight is multiplied by the scales along its columns: broadcasting without the
    added axis fails for other shapes, where the axis was then added."""
    # Differs: a weight of (3, 3). Agrees: a weight of (3, 4).
    weight, bias = nn.utils.fuse_linear_bn_weights(
        linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b
    )
    if linear_w.size(0) == linear_w.size(1) == bn_rv.numel():
        scale = (bn_w * torch.rsqrt(bn_rv + bn_eps)).to(linear_w.dtype)
        weight = nn.Parameter((linear_w * scale).detach(), linear_w.requires_grad)
    return weight, bias
