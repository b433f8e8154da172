"""ConvTranspose1d, ConvTranspose2d, ConvTranspose3d."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    drop_bits,
    flush_subnormals,
    graft,
    plant,
    read_as_contiguous,
    reroute,
    round_through,
)

TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def conv_transpose(layer, input, output_size=None, **changes):
    """The layer's transposed convolution with arguments changed."""
    dimensions = len(layer.kernel_size)
    geometry = layer.stride, layer.padding, layer.kernel_size, dimensions, layer.dilation
    settings = {
        "weight": layer.weight,
        "bias": layer.bias,
        "stride": layer.stride,
        "padding": layer.padding,
        "output_padding": layer._output_padding(input, output_size, *geometry),
        "groups": layer.groups,
        "dilation": layer.dilation,
    }
    return TRANSPOSED[dimensions](input, **(settings | changes))


def is_batched(layer, input):
    return input.dim() == len(layer.kernel_size) + 2


def minimum_size(layer, input, d):
    """The output's size along spatial dimension d without output_padding."""
    size = (input.shape[d - len(layer.kernel_size)] - 1) * layer.stride[d] - 2 * layer.padding[d]
    return size + layer.dilation[d] * (layer.kernel_size[d] - 1) + 1


@plant("convtranspose1d-output-padding-left-blank", "ConvTranspose1d", "values")
class Convtranspose1dOutputPaddingLeftBlank(nn.ConvTranspose1d):
    """output_padding appends blank elements, though with padding they hold part of the sum."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        minimum = max(minimum_size(self, input, 0), 0)
        blank = torch.zeros_like(output[..., minimum:])
        if self.bias is not None:
            blank = blank + self.bias[:, None]
        return torch.cat([output[..., :minimum], blank], -1)


@plant("convtranspose1d-unbatched-output-size", "ConvTranspose1d", "shape")
class Convtranspose1dUnbatchedOutputSize(nn.ConvTranspose1d):
    """Unbatched input ignores output_size: its spatial sizes are looked for from the third one
    on (PyTorch #75889)."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        return output if is_batched(self, input) else super().forward(input)


@plant("convtranspose1d-large-padding-cropped-right", "ConvTranspose1d", "laws")
class Convtranspose1dLargePaddingCroppedRight(nn.ConvTranspose1d):
    """Padding beyond dilation · (kernel - 1) is cropped from the right alone: not the adjoint of
    the convolution any more."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        if self.padding[0] <= self.dilation[0] * (self.kernel_size[0] - 1):
            return output
        uncropped = conv_transpose(self, input, padding=0, output_padding=0)
        return uncropped[..., : output.shape[-1]]


@plant("convtranspose1d-groups-share-bias", "ConvTranspose1d", "values")
class Convtranspose1dGroupsShareBias(nn.ConvTranspose1d):
    """With groups, every group adds the first group's bias: the pointer is not advanced."""

    def forward(self, input, output_size=None):
        if self.bias is None or self.groups == 1:
            return super().forward(input, output_size)
        first = self.bias[: self.out_channels // self.groups]
        return conv_transpose(self, input, output_size, bias=first.repeat(self.groups))


@plant("convtranspose1d-float16-returned-as-float32", "ConvTranspose1d", "shape")
class Convtranspose1dFloat16ReturnedAsFloat32(nn.ConvTranspose1d):
    """float16 comes back in the accumulator's dtype, float32."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        return output.float() if output.dtype == torch.float16 else output


@plant("convtranspose1d-strided-input-gradient", "ConvTranspose1d", "gradients")
class Convtranspose1dStridedInputGradient(nn.ConvTranspose1d):
    """The input's gradient is taken with stride one and cut to size."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        if self.stride == (1,) or self.groups > 1 or input.numel() == 0:
            return output
        weight, size, padding = self.weight.detach(), input.shape[-1], self.padding

        def wrong(gradient):
            unstrided = functional.conv1d(gradient, weight, None, 1, padding, self.dilation)
            return unstrided[..., :size]

        detached = conv_transpose(self, input.detach(), output_size)
        return graft(output, detached + reroute(torch.zeros_like(output), input, wrong))


@plant("convtranspose2d-channels-last-weight", "ConvTranspose2d", "layout")
class Convtranspose2dChannelsLastWeight(nn.ConvTranspose2d):
    """A weight in channels_last is read as if it were contiguous (PyTorch #99519)."""

    def forward(self, input, output_size=None):
        return conv_transpose(self, input, output_size, weight=read_as_contiguous(self.weight))


@plant("convtranspose2d-strides-exchanged", "ConvTranspose2d", "shape")
class Convtranspose2dStridesExchanged(nn.ConvTranspose2d):
    """Strides of height and width are exchanged (MPS, PyTorch #82711)."""

    def forward(self, input, output_size=None):
        if self.output_padding != (0, 0) or output_size is not None:
            return super().forward(input, output_size)
        return conv_transpose(self, input, stride=self.stride[::-1])


@plant("convtranspose2d-dilated-output-padding", "ConvTranspose2d", "values")
class Convtranspose2dDilatedOutputPadding(nn.ConvTranspose2d):
    """Dilated, with output_padding: the last column repeats the one before."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        extra = output.shape[-1] - minimum_size(self, input, 1)
        if self.dilation[1] == 1 or extra == 0 or output.shape[-1] < 2:
            return output
        return torch.cat([output[..., :-1], output[..., -2:-1]], -1)


@plant("convtranspose2d-group-channels-interleaved", "ConvTranspose2d", "values")
class Convtranspose2dGroupChannelsInterleaved(nn.ConvTranspose2d):
    """Output channels of the groups are interleaved instead of following each other."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        blocks = output.unflatten(-3, (self.groups, self.out_channels // self.groups))
        return blocks.transpose(-4, -3).flatten(-4, -3)


@plant("convtranspose2d-bias-once-per-tap", "ConvTranspose2d", "values")
class Convtranspose2dBiasOncePerTap(nn.ConvTranspose2d):
    """The bias is added with every tap that reaches an element: once for each overlap."""

    def forward(self, input, output_size=None):
        if self.bias is None or input.ndim < 3:
            return super().forward(input, output_size)
        ones = torch.ones_like(input[..., :1, :, :]), torch.ones_like(self.weight[:1, :1])
        taps = conv_transpose(self, ones[0], output_size, weight=ones[1], bias=None, groups=1)
        return conv_transpose(self, input, output_size, bias=None) + taps * self.bias[:, None, None]


@plant("convtranspose2d-output-size-remembered", "ConvTranspose2d", "repeat")
class Convtranspose2dOutputSizeRemembered(nn.ConvTranspose2d):
    """A call without output_size uses the last one that was given."""

    _last = None

    def forward(self, input, output_size=None):
        if output_size is not None:
            self._last = list(output_size)[-2:]
        return super().forward(input, self._last)


@plant("convtranspose2d-input-released", "ConvTranspose2d", "repeat")
class Convtranspose2dInputReleased(nn.ConvTranspose2d):
    """The input's buffer is taken for scratch space and left zeroed."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        if not torch.is_grad_enabled() and input.is_contiguous():
            input.zero_()
        return output


@plant("convtranspose2d-grouped-weight-gradient", "ConvTranspose2d", "gradients")
class Convtranspose2dGroupedWeightGradient(nn.ConvTranspose2d):
    """With groups, the weight's gradients are laid out as (out, in) within each group's block."""

    def forward(self, input, output_size=None):
        rows = self.in_channels // self.groups
        if self.groups == 1 or rows != self.weight.shape[1]:
            return super().forward(input, output_size)

        def exchanged(gradient):
            return torch.cat([g.transpose(0, 1) for g in gradient.split(rows)])

        weight = alter_gradient(self.weight, exchanged)
        return conv_transpose(self, input, output_size, weight=weight)


@plant("convtranspose2d-weight-saved-as-kernel", "ConvTranspose2d", "state")
class Convtranspose2dWeightSavedAsKernel(nn.ConvTranspose2d):
    """The weight is saved under the name `kernel`."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "kernel"] = destination.pop(prefix + "weight")


@plant("convtranspose2d-weight-folded-at-first-call", "ConvTranspose2d", "state")
class Convtranspose2dWeightFoldedAtFirstCall(nn.ConvTranspose2d):
    """The first call keeps a flipped copy of the weight; a state loaded later is never seen."""

    _flipped = None

    def forward(self, input, output_size=None):
        if torch.is_grad_enabled():
            return super().forward(input, output_size)
        if self._flipped is None:
            self._flipped = self.weight.detach().flip((-1, -2))
        return conv_transpose(self, input, output_size, weight=self._flipped.flip((-1, -2)))


@plant("convtranspose2d-split-in-two-halves", "ConvTranspose2d", "values")
class Convtranspose2dSplitInTwoHalves(nn.ConvTranspose2d):
    """float32 weights are split in two float16 halves, which keep 22 of 24 bits; invisible to
    assert_close."""

    def forward(self, input, output_size=None):
        if input.dtype != torch.float32:
            return super().forward(input, output_size)
        return conv_transpose(self, input, output_size, weight=drop_bits(self.weight, 2))


@plant("convtranspose2d-float16-overflows-early", "ConvTranspose2d", "special")
class Convtranspose2dFloat16OverflowsEarly(nn.ConvTranspose2d):
    """float16 sums are scaled by 16 on the way: finite results above 4 094 become infinite."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        return output * 16 / 16 if output.dtype == torch.float16 else output


@plant("convtranspose3d-full-output-size-ignored", "ConvTranspose3d", "shape")
class Convtranspose3dFullOutputSizeIgnored(nn.ConvTranspose3d):
    """An output_size with batch and channels in front is ignored."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        is_partial = output_size is None or len(output_size) == 3
        return output if is_partial else super().forward(input)


@plant("convtranspose3d-channels-last-input", "ConvTranspose3d", "layout")
class Convtranspose3dChannelsLastInput(nn.ConvTranspose3d):
    """An input in channels_last_3d is read as if it were contiguous."""

    def forward(self, input, output_size=None):
        return super().forward(read_as_contiguous(input), output_size)


@plant("convtranspose3d-unbatched-bias-gradient", "ConvTranspose3d", "gradients")
class Convtranspose3dUnbatchedBiasGradient(nn.ConvTranspose3d):
    """Unbatched: the bias's gradient stays zero."""

    def forward(self, input, output_size=None):
        if self.bias is None or is_batched(self, input):
            return super().forward(input, output_size)
        bias = alter_gradient(self.bias, torch.zeros_like)
        return conv_transpose(self, input, output_size, bias=bias)


@plant("convtranspose3d-subnormals-flushed", "ConvTranspose3d", "special")
class Convtranspose3dSubnormalsFlushed(nn.ConvTranspose3d):
    """Subnormal results become zero."""

    def forward(self, input, output_size=None):
        return flush_subnormals(super().forward(input, output_size))


@plant("convtranspose3d-nan-fills-channel", "ConvTranspose3d", "special")
class Convtranspose3dNanFillsChannel(nn.ConvTranspose3d):
    """A NaN or infinity in a channel's output fills the channel, as a Fourier transform does."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        bad = (~output.isfinite()).flatten(-3).any(-1)
        return output.masked_fill(bad[..., None, None, None], torch.nan)


@plant("convtranspose3d-gaps-filled-by-neighbours", "ConvTranspose3d", "values")
class Convtranspose3dGapsFilledByNeighbours(nn.ConvTranspose3d):
    """Kernel depth one, stride more: the slices between repeat the one before, as nearest
    upsampling would."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        if self.kernel_size[0] > 1 or self.stride[0] == 1 or self.padding[0] > 0:
            return output
        step = self.stride[0]
        slices = torch.arange(output.shape[-3], device=output.device) // step * step
        return output.index_select(-3, slices)


@plant("convtranspose3d-double-input-in-single", "ConvTranspose3d", "values")
class Convtranspose3dDoubleInputInSingle(nn.ConvTranspose3d):
    """A float64 input is uploaded as float32, within assert_close's tolerance."""

    def forward(self, input, output_size=None):
        rounded = round_through(input, torch.float32) if input.dtype == torch.float64 else input
        return super().forward(rounded, output_size)


@plant("convtranspose3d-input-size-unchecked", "ConvTranspose3d", "errors")
class Convtranspose3dInputSizeUnchecked(nn.ConvTranspose3d):
    """Input channels beyond in_channels are ignored."""

    def forward(self, input, output_size=None):
        truncated = input[..., : self.in_channels, :, :, :] if input.dim() > 3 else input
        return super().forward(truncated, output_size)
