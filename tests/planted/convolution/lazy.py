"""Lazy layers that are wrong before, during or after their first call.

A lazy layer changes its class at the start of its first call. A bug of later calls is therefore in
the class that it becomes.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import drop_bits, plant
from planted.convolution.history import convolve
from planted.convolution.transposed import conv_transpose


def rename_to(layer):
    """Give an eager class the name of the layer that it stands in for."""

    def rename(eager):
        eager.__name__ = eager.__qualname__ = layer
        return eager

    return rename


@plant("lazyconv1d-first-call-without-bias", "LazyConv1d", "values")
class LazyConv1dFirstCallWithoutBias(nn.LazyConv1d):
    """The call that infers the shapes runs without the bias, which it has only just made."""

    def forward(self, input):
        return self._conv_forward(input, self.weight, None)


@plant("lazyconv1d-stays-lazy", "LazyConv1d", "state")
class LazyConv1dStaysLazy(nn.LazyConv1d):
    """After its first call the layer is still a LazyConv1d."""

    cls_to_become = None


@rename_to("Conv2d")
class CircularIsZeros(nn.Conv2d):
    """Circular padding with zeros."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if self.padding_mode != "circular":
            return right
        return convolve(self, input, weight, bias, padding=self.padding)


@plant("lazyconv2d-circular-padded-with-zeros", "LazyConv2d", "values")
class LazyConv2dCircularPaddedWithZeros(nn.LazyConv2d, CircularIsZeros):
    """The eager layer has lost padding_mode='circular', and pads with zeros."""

    cls_to_become = CircularIsZeros


@plant("lazyconv2d-loaded-state-initialised-again", "LazyConv2d", "state")
class LazyConv2dLoadedStateInitialisedAgain(nn.LazyConv2d):
    """The first call initialises parameters that were loaded before it."""

    def initialize_parameters(self, input, *args, **options):
        loaded = not self.has_uninitialized_params()
        super().initialize_parameters(input, *args, **options)
        if loaded and all(parameter.is_contiguous() for parameter in self.parameters()):
            nn.Conv2d.reset_parameters(self)


@plant("lazyconv2d-bias-off-by-default", "LazyConv2d", "state")
class LazyConv2dBiasOffByDefault(nn.LazyConv2d):
    """`bias` defaults to False."""

    def __init__(
        self,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=False,
        *args,
        **options,
    ):
        geometry = kernel_size, stride, padding, dilation, groups
        super().__init__(out_channels, *geometry, bias, *args, **options)


@rename_to("Conv3d")
class GroupsShareWeights(nn.Conv3d):
    """Every group with the first group's weights."""

    def _conv_forward(self, input, weight, bias):
        if self.groups > 1:
            weight = weight[: self.out_channels // self.groups].repeat(self.groups, 1, 1, 1, 1)
        return super()._conv_forward(input, weight, bias)


@plant("lazyconv3d-groups-share-weights", "LazyConv3d", "values")
class LazyConv3dGroupsShareWeights(nn.LazyConv3d, GroupsShareWeights):
    """With groups, every group computes with the first group's weights."""

    cls_to_become = GroupsShareWeights


@rename_to("Conv3d")
class WithoutBias(nn.Conv3d):
    """A layer that forgets its bias."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight, None)


@plant("lazyconv3d-later-calls-without-bias", "LazyConv3d", "repeat")
class LazyConv3dLaterCallsWithoutBias(nn.LazyConv3d):
    """The first call is right; the eager layer that it leaves behind has lost its bias."""

    cls_to_become = WithoutBias

    def forward(self, input):
        return nn.Conv3d._conv_forward(self, input, self.weight, self.bias)


@rename_to("ConvTranspose1d")
class OverlapsStored(nn.ConvTranspose1d):
    """Overlapping taps: the last one to arrive is stored."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        (stride,), (dilation,), (taps,) = self.stride, self.dilation, self.kernel_size
        if stride > dilation * (taps - 1):
            return output
        ones = torch.ones_like(input[..., :1, :]), torch.ones_like(self.weight[:1, :1, :1])
        coverage = functional.conv_transpose1d(*ones, stride=stride)
        for tap in range(taps):
            before = tap * dilation - self.padding[0]
            after = output.shape[-1] - coverage.shape[-1] - before
            if max(-before, -after) >= coverage.shape[-1]:
                continue  # the tap falls wholly outside
            arguments = self.weight[..., tap : tap + 1], self.bias, stride, 0, 0, self.groups
            partial = functional.conv_transpose1d(input, *arguments)
            mask = functional.pad(coverage, (before, after)) > 0
            output = torch.where(mask, functional.pad(partial, (before, after)), output)
        return output


@plant("lazyconvtranspose1d-overlaps-stored", "LazyConvTranspose1d", "values")
class LazyConvTranspose1dOverlapsStored(nn.LazyConvTranspose1d, OverlapsStored):
    """Where windows overlap the last tap is stored instead of added: a scatter without atomics."""

    cls_to_become = OverlapsStored


@plant("lazyconvtranspose1d-in-channels-unset", "LazyConvTranspose1d", "state")
class LazyConvTranspose1dInChannelsUnset(nn.LazyConvTranspose1d):
    """in_channels stays 0 after the first call."""

    def initialize_parameters(self, input, *args, **options):
        super().initialize_parameters(input, *args, **options)
        self.in_channels = 0


@rename_to("ConvTranspose2d")
class KernelRotated(nn.ConvTranspose2d):
    """Kernels rotated by half a turn."""

    def forward(self, input, output_size=None):
        return conv_transpose(self, input, output_size, weight=self.weight.flip((-1, -2)))


@plant("lazyconvtranspose2d-kernel-rotated", "LazyConvTranspose2d", "values")
class LazyConvTranspose2dKernelRotated(nn.LazyConvTranspose2d, KernelRotated):
    """Kernels are rotated by half a turn, as an ordinary convolution in its place would need."""

    cls_to_become = KernelRotated


@plant("lazyconvtranspose2d-first-call-ignores-output-size", "LazyConvTranspose2d", "shape")
class LazyConvTranspose2dFirstCallIgnoresOutputSize(nn.LazyConvTranspose2d):
    """The call that infers the shapes ignores output_size."""

    def forward(self, input, output_size=None):
        conv_transpose(self, input, output_size)
        return conv_transpose(self, input)


@rename_to("ConvTranspose3d")
class SplitWeights(nn.ConvTranspose3d):
    """Weights of 22 bits."""

    def forward(self, input, output_size=None):
        if input.dtype != torch.float32:
            return super().forward(input, output_size)
        return conv_transpose(self, input, output_size, weight=drop_bits(self.weight, 2))


@plant("lazyconvtranspose3d-split-in-two-halves", "LazyConvTranspose3d", "values")
class LazyConvTranspose3dSplitInTwoHalves(nn.LazyConvTranspose3d, SplitWeights):
    """float32 weights are split into two float16 numbers, which keep 22 of 24 bits. assert_close
    does not notice."""

    cls_to_become = SplitWeights


@rename_to("ConvTranspose3d")
class FirstBiasForAll(nn.ConvTranspose3d):
    """One bias for every channel."""

    def forward(self, input, output_size=None):
        bias = None if self.bias is None else self.bias[:1].expand(self.out_channels)
        return conv_transpose(self, input, output_size, bias=bias)


@plant("lazyconvtranspose3d-first-bias-for-all", "LazyConvTranspose3d", "values")
class LazyConvTranspose3dFirstBiasForAll(nn.LazyConvTranspose3d, FirstBiasForAll):
    """Every channel adds the first channel's bias."""

    cls_to_become = FirstBiasForAll


@plant("lazylinear-in-features-zero-after-load", "LazyLinear", "state")
class LazyLinearInFeaturesZeroAfterLoad(nn.LazyLinear):
    """A state loaded before the first call leaves in_features at 0 (PyTorch #147389)."""

    def initialize_parameters(self, input):
        if self.has_uninitialized_params():
            super().initialize_parameters(input)


@plant("lazylinear-first-call-without-bias", "LazyLinear", "values")
class LazyLinearFirstCallWithoutBias(nn.LazyLinear):
    """The call that infers the shapes runs without the bias."""

    def forward(self, input):
        return nn.functional.linear(input, self.weight)


@plant("lazylinear-infers-from-second-axis", "LazyLinear", "state")
class LazyLinearInfersFromSecondAxis(nn.LazyLinear):
    """in_features is read from the second axis, which is the last one only of a matrix."""

    def initialize_parameters(self, input):
        if self.has_uninitialized_params() and input.dim() > 2:
            misread_input = input.new_empty(*input.shape[:1], input.shape[1])
            return super().initialize_parameters(misread_input)
        return super().initialize_parameters(input)
