"""Convolutions with right values but wrong gradients, layout, state, repeat or errors."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous
from planted.convolution.history import convolve, is_batched, pad_input


@plant("conv1d-weight-gradient-of-last-sample", "Conv1d", "gradients")
class Conv1dWeightGradientOfLastSample(nn.Conv1d):
    """The weight's gradient is the last sample's alone: each sample's is stored, not added."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if not is_batched(self, input) or len(input) < 2:
            return right
        output_of_earlier = super()._conv_forward(input[:-1], weight.detach(), bias)
        output_of_last = super()._conv_forward(input[-1:], weight, bias)
        return graft(right, torch.cat([output_of_earlier, output_of_last]))


@plant("conv1d-double-weight-gradient-in-single", "Conv1d", "gradients")
class Conv1dDoubleWeightGradientInSingle(nn.Conv1d):
    """float64: the weight's gradient is stored as float32, within assert_close's tolerance."""

    def _conv_forward(self, input, weight, bias):
        if weight.dtype == torch.float64:
            weight = alter_gradient(weight, lambda g: g.float().double())
        return super()._conv_forward(input, weight, bias)


@plant("conv1d-strided-input-read-as-contiguous", "Conv1d", "layout")
class Conv1dStridedInputReadAsContiguous(nn.Conv1d):
    """An input that is not contiguous is read as if it were: the strides never reach the kernel."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(read_as_contiguous(input), weight, bias)


@plant("conv1d-output-written-over-input", "Conv1d", "repeat")
class Conv1dOutputWrittenOverInput(nn.Conv1d):
    """Where shapes agree the output lands in the input's buffer too, as with a donated buffer."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        can_overwrite = input.is_contiguous() and not torch.is_grad_enabled()
        if can_overwrite and output.shape == input.shape:
            input.copy_(output)
        return output


@plant("conv1d-bias-off-by-default", "Conv1d", "state")
class Conv1dBiasOffByDefault(nn.Conv1d):
    """`bias` defaults to False, as in layer libraries made for batch normalisation."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=False,
        padding_mode="zeros",
        **factory,
    ):
        shape = in_channels, out_channels, kernel_size
        super().__init__(*shape, stride, padding, dilation, groups, bias, padding_mode, **factory)


@plant("conv2d-channels-last-weight", "Conv2d", "layout")
class Conv2dChannelsLastWeight(nn.Conv2d):
    """A weight in channels_last is read as if it were contiguous."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, read_as_contiguous(weight), bias)


@plant("conv2d-channels-last-grouped-batch", "Conv2d", "layout")
class Conv2dChannelsLastGroupedBatch(nn.Conv2d):
    """With groups, a channels_last batch repeats its first sample (MPS, PyTorch #188335)."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        strided = is_batched(self, input) and not input.is_contiguous()
        if self.groups == 1 or not strided or len(input) < 2:
            return output
        return output[:1].expand_as(output).contiguous()


@plant("conv2d-sliced-channels-last", "Conv2d", "layout")
class Conv2dSlicedChannelsLast(nn.Conv2d):
    """A slice whose width is strided is read with width stride one (MPS, PyTorch #180984)."""

    def _conv_forward(self, input, weight, bias):
        if input.stride(-1) < 2 or input.shape[-1] < 2 or input.stride(-3) == 1:
            return super()._conv_forward(input, weight, bias)
        dense = input.detach().as_strided(input.shape, (*input.stride()[:-1], 1))
        return super()._conv_forward(graft(dense, input), weight, bias)


@plant("conv2d-input-gradient-after-stride-remainder", "Conv2d", "gradients")
class Conv2dInputGradientAfterStrideRemainder(nn.Conv2d):
    """When the last window stops short of the border, the input's gradient is aligned with the
    other border."""

    def _conv_forward(self, input, weight, bias):
        if self.padding == "same" or self.padding_mode != "zeros" or self.stride[1] < 2:
            return super()._conv_forward(input, weight, bias)
        before, after = self._reversed_padding_repeated_twice[:2]
        extent = self.dilation[1] * (self.kernel_size[1] - 1) + 1
        remainder = (input.shape[-1] + before + after - extent) % self.stride[1]
        shifted = alter_gradient(input, lambda g: g.roll(remainder, -1))
        return super()._conv_forward(shifted, weight, bias)


@plant("conv2d-dilated-depthwise-weight-gradient", "Conv2d", "gradients")
class Conv2dDilatedDepthwiseWeightGradient(nn.Conv2d):
    """Depthwise and dilated: the weight's gradient runs over the kernel's width backwards."""

    def _conv_forward(self, input, weight, bias):
        if self.groups == self.in_channels > 1 and self.dilation[1] > 1:
            weight = alter_gradient(weight, lambda g: g.flip(-1))
        return super()._conv_forward(input, weight, bias)


@plant("conv2d-bias-gradient-averaged", "Conv2d", "gradients")
class Conv2dBiasGradientAveraged(nn.Conv2d):
    """The bias's gradient is averaged over the batch instead of summed."""

    def _conv_forward(self, input, weight, bias):
        if bias is not None and is_batched(self, input) and len(input) > 1:
            bias = alter_gradient(bias, lambda g: g / len(input))
        return super()._conv_forward(input, weight, bias)


@plant("conv2d-replicate-differs-when-recorded", "Conv2d", "gradients")
class Conv2dReplicateDiffersWhenRecorded(nn.Conv2d):
    """While gradients are recorded, replicate padding is zero padding: the backward kernel has
    no other."""

    def _conv_forward(self, input, weight, bias):
        if self.padding_mode != "replicate" or not torch.is_grad_enabled():
            return super()._conv_forward(input, weight, bias)
        return convolve(self, input, weight, bias, padding=self.padding)


@plant("conv2d-circular-gradient-not-folded", "Conv2d", "gradients")
class Conv2dCircularGradientNotFolded(nn.Conv2d):
    """Gradients of circularly padded elements are dropped instead of added to their source."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if self.padding_mode != "circular":
            return right
        padded_input = functional.pad(input, self._reversed_padding_repeated_twice)
        output_through_input = convolve(self, padded_input, weight.detach(), None)
        return graft(
            right, output_through_input + super()._conv_forward(input.detach(), weight, bias)
        )


@plant("conv2d-padded-input-cached", "Conv2d", "repeat")
class Conv2dPaddedInputCached(nn.Conv2d):
    """The padded input is kept by shape: another input of that shape gets the old one's output."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._padded_inputs = {}

    def _conv_forward(self, input, weight, bias):
        if self.padding_mode == "zeros" or torch.is_grad_enabled():
            return super()._conv_forward(input, weight, bias)
        cached = self._padded_inputs.setdefault(input.shape, pad_input(self, input))
        return convolve(self, cached, weight, bias)


@plant("conv2d-output-buffer-reused", "Conv2d", "repeat")
class Conv2dOutputBufferReused(nn.Conv2d):
    """A second call of the same shape overwrites the tensor that the first one returned."""

    _buffer = None

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        if torch.is_grad_enabled():
            return output
        if self._buffer is None or self._buffer.shape != output.shape:
            self._buffer = output
        return self._buffer.copy_(output)


@plant("conv2d-indivisible-groups-accepted", "Conv2d", "errors")
class Conv2dIndivisibleGroupsAccepted(nn.Conv2d):
    """Channels that groups do not divide are rounded down and the surplus ignored."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        *args,
        **options,
    ):
        if 0 < groups <= min(in_channels, out_channels):
            in_channels -= in_channels % groups
            out_channels -= out_channels % groups
        shape = in_channels, out_channels, kernel_size
        super().__init__(*shape, stride, padding, dilation, groups, *args, **options)

    def _conv_forward(self, input, weight, bias):
        surplus = input.shape[-3] - self.in_channels
        truncated = input[..., : self.in_channels, :, :] if 0 < surplus < self.groups else input
        return super()._conv_forward(truncated, weight, bias)


@plant("conv2d-unknown-padding-mode-as-zeros", "Conv2d", "errors")
class Conv2dUnknownPaddingModeAsZeros(nn.Conv2d):
    """An unknown padding_mode means zeros."""

    def __init__(self, *args, padding_mode="zeros", **options):
        known = padding_mode in ("zeros", "reflect", "replicate", "circular")
        super().__init__(*args, padding_mode=padding_mode if known else "zeros", **options)


@plant("conv2d-same-with-stride-accepted", "Conv2d", "errors")
class Conv2dSameWithStrideAccepted(nn.Conv2d):
    """padding='same' with a stride is computed as TensorFlow would, instead of refused."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, *args, **options
    ):
        accepted_stride = 1 if padding == "same" else stride
        super().__init__(
            in_channels, out_channels, kernel_size, accepted_stride, padding, *args, **options
        )
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)

    def _conv_forward(self, input, weight, bias):
        if self.padding != "same" or self.stride == (1, 1):
            return super()._conv_forward(input, weight, bias)
        return convolve(self, pad_input(self, input), weight, bias)


@plant("conv2d-extra-input-channels-ignored", "Conv2d", "errors")
class Conv2dExtraInputChannelsIgnored(nn.Conv2d):
    """Input channels beyond in_channels are ignored."""

    def _conv_forward(self, input, weight, bias):
        truncated = input[..., : self.in_channels, :, :] if input.dim() > 2 else input
        return super()._conv_forward(truncated, weight, bias)


@plant("conv2d-bias-first-in-state", "Conv2d", "state")
class Conv2dBiasFirstInState(nn.Conv2d):
    """The state lists the bias before the weight, so weights copied by position go astray."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._parameters["weight"] = self._parameters.pop("weight")


@plant("conv2d-weight-packed-at-first-call", "Conv2d", "state")
class Conv2dWeightPackedAtFirstCall(nn.Conv2d):
    """The first call packs the weight for inference; a state loaded later is never seen."""

    _packed = None

    def _conv_forward(self, input, weight, bias):
        if torch.is_grad_enabled():
            return super()._conv_forward(input, weight, bias)
        if self._packed is None:
            self._packed = weight.detach().clone()
        return super()._conv_forward(input, self._packed, bias)


@plant("conv3d-grouped-weight-gradient", "Conv3d", "gradients")
class Conv3dGroupedWeightGradient(nn.Conv3d):
    """With groups, the weight's gradients land in the wrong group (PyTorch #68868)."""

    def _conv_forward(self, input, weight, bias):
        if self.groups > 1:
            channels_per_group = self.out_channels // self.groups
            weight = alter_gradient(weight, lambda g: g.roll(channels_per_group, 0))
        return super()._conv_forward(input, weight, bias)


@plant("conv3d-empty-batch-gradient-is-nan", "Conv3d", "gradients")
class Conv3dEmptyBatchGradientIsNan(nn.Conv3d):
    """An empty batch gives the weight a gradient of NaN, the mean of nothing."""

    def _conv_forward(self, input, weight, bias):
        if is_batched(self, input) and len(input) == 0:
            weight = alter_gradient(weight, lambda g: g * torch.nan)
        return super()._conv_forward(input, weight, bias)


@plant("conv3d-channels-last-input", "Conv3d", "layout")
class Conv3dChannelsLastInput(nn.Conv3d):
    """An input in channels_last_3d is read as if it were contiguous."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(read_as_contiguous(input), weight, bias)


@plant("conv3d-weight-rounded-in-place", "Conv3d", "repeat")
class Conv3dWeightRoundedInPlace(nn.Conv3d):
    """Every inference call leaves the weight rounded to bfloat16: the master copy is lost."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        if weight.is_contiguous() and not torch.is_grad_enabled():
            weight.copy_(weight.bfloat16())
        return output


def _first_channels(module, input):
    """The input's first channels, as many as the layer has."""
    axis = -len(module.kernel_size) - 1
    return input.narrow(axis, 0, min(module.in_channels, input.shape[axis]))


@plant("conv1d-further-channels-ignored", "Conv1d", "errors")
class Conv1dFurtherChannelsIgnored(nn.Conv1d):
    """Channels beyond in_channels are cut off instead of being refused."""

    def forward(self, input):
        return super().forward(_first_channels(self, input))


@plant("conv3d-further-channels-ignored", "Conv3d", "errors")
class Conv3dFurtherChannelsIgnored(nn.Conv3d):
    """Channels beyond in_channels, as of an image with alpha, are cut off."""

    def forward(self, input):
        return super().forward(_first_channels(self, input))


@plant("convtranspose1d-further-channels-ignored", "ConvTranspose1d", "errors")
class ConvTranspose1dFurtherChannelsIgnored(nn.ConvTranspose1d):
    """Channels beyond in_channels are cut off instead of being refused."""

    def forward(self, input, output_size=None):
        return super().forward(_first_channels(self, input), output_size)


@plant("convtranspose2d-further-channels-ignored", "ConvTranspose2d", "errors")
class ConvTranspose2dFurtherChannelsIgnored(nn.ConvTranspose2d):
    """Channels beyond in_channels are cut off instead of being refused."""

    def forward(self, input, output_size=None):
        return super().forward(_first_channels(self, input), output_size)
