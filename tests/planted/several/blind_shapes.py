"""Bugs written without sight of the suite: reshaping, padding, folding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, read_as_contiguous


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


@blind("pixelshuffle-joins-leading-axes", "PixelShuffle", "shape")
class _JoinsLeading(nn.PixelShuffle):
    """Several leading axes come back as one: they are joined for the kernel and stay so."""

    # Differs: an input of (2, 3, 4, 1, 1). Agrees: (2, 4, 1, 1), (4, 1, 1).

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return result.flatten(0, -4) if result.dim() > 4 else result


@blind("pixelunshuffle-crops-what-does-not-divide", "PixelUnshuffle", "errors")
class _Crops(nn.PixelUnshuffle):
    """Rows and columns past the last whole block are left out; torch refuses such sizes."""

    # Differs: factor 2 on 3 x 4. Agrees: factor 2 on 4 x 4.

    def forward(self, input: Tensor) -> Tensor:
        factor = self.downscale_factor
        if input.dim() < 3 or factor <= 0:
            return super().forward(input)
        height, width = (size // factor * factor for size in input.shape[-2:])
        return super().forward(input[..., :height, :width])


@blind("flatten-from-axis-zero-is-from-axis-one", "Flatten", "shape")
class _FromOne(nn.Flatten):
    """start_dim=0 is false and becomes the default of 1: `start_dim or 1`."""

    # Differs: Flatten(0) on (2, 3, 4). Agrees: Flatten(1), Flatten(-2); Flatten(0, 0).

    def forward(self, input: Tensor) -> Tensor:
        end = self.end_dim + input.dim() if self.end_dim < 0 else self.end_dim
        if self.start_dim == 0 and end >= 1:
            return input.flatten(1, self.end_dim)
        return super().forward(input)


@blind(
    "functional-native-channel-shuffle-in-memory-order",
    "functional.native_channel_shuffle",
    "layout",
)
def _memory_order(input: Tensor, groups: int) -> Tensor:
    """The kernel walks the input's memory as if it were contiguous."""
    # Differs: a channels-last input of (1, 4, 2, 2), groups=2. Agrees: a contiguous input.
    return functional.native_channel_shuffle(read_as_contiguous(input), groups)


@blind("reflectionpad1d-bounces-as-often-as-it-needs", "ReflectionPad1d", "errors")
class _Bounces(nn.ReflectionPad1d):
    """Padding of the input's length or more is reflected again, as numpy does; torch refuses it."""

    # Differs: padding=3 on 3 elements. Agrees: padding=2 on 3 elements.

    def forward(self, input: Tensor) -> Tensor:
        before, after = self.padding
        length = input.size(-1)
        is_simple = max(before, after) < length or length < 2 or min(before, after) < 0
        if is_simple or input.dim() not in (2, 3):
            return super().forward(input)
        period = 2 * (length - 1)
        places = torch.arange(-before, length + after).abs() % period
        return input[..., torch.where(places < length, places, period - places)]


@blind("circularpad2d-corners-stay-zero", "CircularPad2d", "values")
class _ZeroCorners(nn.CircularPad2d):
    """Rows and columns wrap round and the corners are left at zero: borders are copied from the
    input, one axis at a time."""

    # Differs: padding=1. Agrees: padding=(1, 1, 0, 0).

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        left, right, above, below = (max(size, 0) for size in self.padding)
        height, width = result.shape[-2:]
        row, column = torch.arange(height).unsqueeze(1), torch.arange(width)
        in_padding_rows = (row < above) | (row >= height - below)
        corner = in_padding_rows & ((column < left) | (column >= width - right))
        return torch.where(corner, torch.zeros_like(result), result)


@blind("constantpad3d-value-by-multiplication", "ConstantPad3d", "special")
class _ByMultiplication(nn.ConstantPad3d):
    """The border is value times a mask, added to the input: an infinite value leaves NaN inside."""

    # Differs: value=inf. Agrees: value=2.

    def forward(self, input: Tensor) -> Tensor:
        if not input.is_floating_point():
            return super().forward(input)
        mask = functional.pad(torch.zeros_like(input), self.padding, value=1.0)
        padded = functional.pad(input, self.padding, value=0.0)
        return torch.where(mask == 0, padded + mask * self.value, super().forward(input))


@blind("reflectionpad2d-copies-pass-no-gradient", "ReflectionPad2d", "gradients")
class _CopiesConstant(nn.ReflectionPad2d):
    """The backward pass crops the gradient: what reached the reflected copies is lost."""

    # Differs: the gradient for padding=1. Agrees: every value; padding=0.

    def forward(self, input: Tensor) -> Tensor:
        return graft(super().forward(input), functional.pad(input, self.padding))


@blind("fold-gradient-averaged-over-overlaps", "Fold", "gradients")
class _AveragedGradient(nn.Fold):
    """The gradient is divided by how many blocks cover a position, as if overlaps were averaged."""

    # Differs: the gradient for kernel 2, stride 1. Agrees: stride 2; every value.

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        counts = super().forward(torch.ones_like(input)).detach().clamp(min=1)
        return alter_gradient(result, lambda gradient: gradient / counts)


@blind("unfold-without-a-batch-gains-one", "Unfold", "shape")
class _GainsBatch(nn.Unfold):
    """An input of (C, H, W) comes back with a batch of one."""

    # Differs: an input of (2, 3, 3). Agrees: an input of (1, 2, 3, 3).

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return result.unsqueeze(0) if input.dim() == 3 else result


@blind("functional-unfold-channels-last-columns-by-position", "functional.unfold", "layout")
def _by_position(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """A channels-last input's columns keep the channels innermost: im2col that copies runs of
    memory and leaves the order to the product that follows."""
    # Differs: 2 channels, kernel 2, channels last. Agrees: a contiguous input; 1 channel.
    result = functional.unfold(input, kernel_size, dilation, padding, stride)
    last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    if not last or input.is_contiguous():
        return result
    return result.unflatten(1, (input.size(1), -1)).transpose(1, 2).flatten(1, 2)


@blind("functional-fold-leaves-out-blocks-it-has-no-place-for", "functional.fold", "errors")
def _no_place(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Blocks past those that the output has places for are left out; torch refuses them."""
    # Differs: 5 blocks for a 3 x 3 output with kernel 2. Agrees: 4 blocks.
    shapes = (output_size, kernel_size, dilation, padding, stride)
    blocks = 1
    for length, kernel, axis_dilation, pad, step in zip(*map(_pair, shapes), strict=True):
        blocks *= (length + 2 * pad - axis_dilation * (kernel - 1) - 1) // max(step, 1) + 1
    if 0 < blocks < input.size(-1):
        input = input[..., :blocks]
    return functional.fold(input, output_size, kernel_size, dilation, padding, stride)
