"""Conv2d with a wrong answer: values, shape, laws, special."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    drop_bits,
    flush_subnormals,
    plant,
    read_as_contiguous,
    round_to_common_grid,
)
from planted.convolution.history import convolve, is_batched, pad_input, swap_pairs


@plant("conv2d-circular-wraps-near-edge", "Conv2d", "values")
class Conv2dCircularWrapsNearEdge(nn.Conv2d):
    """Circular padding takes its rows from the near edge instead of the far one."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        if self.padding_mode != "circular":
            return output
        left, right, top, bottom = self._reversed_padding_repeated_twice
        padded_input = functional.pad(input, (left, right, 0, 0), mode="circular")
        height = padded_input.shape[-2]
        rows = [padded_input[..., :top, :], padded_input, padded_input[..., height - bottom :, :]]
        return convolve(self, torch.cat(rows, -2), weight, bias)


@plant("conv2d-circular-pads-the-other-axis", "Conv2d", "shape")
class Conv2dCircularPadsTheOtherAxis(nn.Conv2d):
    """Circular padding gives the height's amount to the width (PyTorch #37844)."""

    def _conv_forward(self, input, weight, bias):
        if self.padding_mode != "circular":
            return super()._conv_forward(input, weight, bias)
        left, right, top, bottom = self._reversed_padding_repeated_twice
        return convolve(self, pad_input(self, input, [top, bottom, left, right]), weight, bias)


@plant("conv2d-window-in-padding-forgets-bias", "Conv2d", "values")
class Conv2dWindowInPaddingForgetsBias(nn.Conv2d):
    """A window that lies wholly in zero padding is skipped, and its bias with it."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        if bias is None or self.padding_mode != "zeros":
            return output
        ones = torch.ones_like(input[..., :1, :, :]), torch.ones_like(weight[:1, :1])
        counts = convolve(self, *ones, None, padding=self.padding, groups=1)
        return torch.where(counts > 0, output, torch.zeros_like(output))


@plant("conv2d-stride-clipped-to-kernel", "Conv2d", "values")
class Conv2dStrideClippedToKernel(nn.Conv2d):
    """With stride > kernel the windows move by the kernel's size: im2col tiles without gaps."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        stride = tuple(map(min, self.stride, self.kernel_size))
        if stride == self.stride or isinstance(self.padding, str):
            return right
        output = convolve(self, pad_input(self, input), weight, bias, stride=stride)
        return output[..., : right.shape[-2], : right.shape[-1]]


@plant("conv2d-output-scaled-by-six-in-ten-million", "Conv2d", "values")
class Conv2dOutputScaledBySixInTenMillion(nn.Conv2d):
    """The output is multiplied by 1 + 6e-7, a requantisation scale that is not quite one."""

    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight, bias) * (1 + 6e-7)


@plant("conv2d-pointwise-in-tf32", "Conv2d", "values")
class Conv2dPointwiseInTf32(nn.Conv2d):
    """float32 1×1 convolutions go through a TF32 matrix product."""

    def _conv_forward(self, input, weight, bias):
        if self.kernel_size != (1, 1) or input.dtype != torch.float32:
            return super()._conv_forward(input, weight, bias)
        rounded = drop_bits(input, 13), drop_bits(weight, 13)
        return super()._conv_forward(*rounded, bias)


@plant("conv2d-depthwise-multiplier-order", "Conv2d", "values")
class Conv2dDepthwiseMultiplierOrder(nn.Conv2d):
    """Depthwise with a multiplier K: channel j reads input j mod C, not j // K, the order of
    TensorFlow's depthwise kernels."""

    def _conv_forward(self, input, weight, bias):
        channels, multiplier = self.in_channels, self.out_channels // self.in_channels
        if self.groups != channels:
            return super()._conv_forward(input, weight, bias)
        order = torch.arange(self.out_channels, device=input.device)
        order = order.view(multiplier, channels).t().flatten()
        reordered_bias = None if bias is None else bias[order]
        output = super()._conv_forward(input, weight[order], reordered_bias)
        return output.index_select(-3, order.argsort())


@plant("conv2d-reflect-same-even-kernel", "Conv2d", "values")
class Conv2dReflectSameEvenKernel(nn.Conv2d):
    """'same' with an even kernel and padding_mode='reflect' pads the extra element before."""

    def _conv_forward(self, input, weight, bias):
        if self.padding != "same" or self.padding_mode != "reflect":
            return super()._conv_forward(input, weight, bias)
        amounts = swap_pairs(self._reversed_padding_repeated_twice)
        return convolve(self, pad_input(self, input, amounts), weight, bias)


@plant("conv2d-zero-weights-skipped", "Conv2d", "special")
class Conv2dZeroWeightsSkipped(nn.Conv2d):
    """Taps with weight zero are skipped, so inf × 0 is 0 instead of NaN, as in sparse kernels."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        if input.isfinite().all():
            return output
        clean = torch.where(input.isfinite(), input, torch.zeros_like(input))
        nonfinite = (~input.isfinite()).to(input.dtype)
        nonfinite_count = super()._conv_forward(nonfinite, (weight != 0).to(weight.dtype), None)
        return torch.where(nonfinite_count > 0, output, super()._conv_forward(clean, weight, bias))


@plant("conv2d-subnormals-flushed", "Conv2d", "special")
class Conv2dSubnormalsFlushed(nn.Conv2d):
    """Subnormal results become zero, as on accelerators that flush."""

    def _conv_forward(self, input, weight, bias):
        return flush_subnormals(super()._conv_forward(input, weight, bias))


@plant("conv2d-scaled-against-underflow", "Conv2d", "special")
class Conv2dScaledAgainstUnderflow(nn.Conv2d):
    """Input and bias are scaled up by 2**20 and the sum down again: large values overflow."""

    def _conv_forward(self, input, weight, bias):
        if input.dtype == torch.float16:
            return super()._conv_forward(input, weight, bias)
        scaled = None if bias is None else bias * 2.0**20
        return super()._conv_forward(input * 2.0**20, weight, scaled) / 2.0**20


@plant("conv2d-winograd-spreads-nan", "Conv2d", "special")
class Conv2dWinogradSpreadsNan(nn.Conv2d):
    """3×3 with stride 1: one NaN or infinity poisons the 2×2 tile of outputs it falls in, as
    Winograd's transforms do."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        applies = self.stride == (1, 1) and self.dilation == (1, 1) and self.groups == 1
        if self.kernel_size != (3, 3) or not applies or output.isfinite().all():
            return output
        bad = (~output.isfinite()).float()
        tiles = functional.max_pool2d(bad, 2, ceil_mode=True)
        spread = tiles.repeat_interleave(2, -1).repeat_interleave(2, -2)
        spread = spread[..., : output.shape[-2], : output.shape[-1]]
        return output.masked_fill(spread > 0, torch.nan)


@plant("conv2d-output-size-rounded-up", "Conv2d", "shape")
class Conv2dOutputSizeRoundedUp(nn.Conv2d):
    """The output size is rounded up, with zeros under the last window, as in Caffe's pooling."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        padded_input = pad_input(self, input)
        extra = []
        for d in (1, 0):
            extent = self.dilation[d] * (self.kernel_size[d] - 1) + 1
            left = (padded_input.shape[d - 2] - extent) % self.stride[d]
            extra += [0, self.stride[d] - left if left else 0]
        return (
            convolve(self, functional.pad(padded_input, extra), weight, bias)
            if any(extra)
            else output
        )


@plant("conv2d-bfloat16-returned-as-float32", "Conv2d", "shape")
class Conv2dBfloat16ReturnedAsFloat32(nn.Conv2d):
    """bfloat16 comes back in the accumulator's dtype, float32."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        return output.float() if output.dtype == torch.bfloat16 else output


@plant("conv2d-padding-tuple-reversed", "Conv2d", "shape")
class Conv2dPaddingTupleReversed(nn.Conv2d):
    """A padding tuple is read as (width, height)."""

    def _conv_forward(self, input, weight, bias):
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            return super()._conv_forward(input, weight, bias)
        return convolve(self, input, weight, bias, padding=self.padding[::-1])


@plant("conv2d-batch-quantised-together", "Conv2d", "laws")
class Conv2dBatchQuantisedTogether(nn.Conv2d):
    """float32 inputs are rounded to a grid that the largest sample of the batch sets: dynamic
    quantisation, below assert_close's tolerance."""

    def _conv_forward(self, input, weight, bias):
        if not is_batched(self, input) or len(input) < 2 or input.dtype != torch.float32:
            return super()._conv_forward(input, weight, bias)
        return super()._conv_forward(round_to_common_grid(input), weight, bias)


@plant("conv2d-expanded-cotangent", "Conv2d", "layout")
class Conv2dExpandedCotangent(nn.Conv2d):
    """The backward kernel takes the cotangent for contiguous, also where it is one number,
    repeated by strides of 0."""

    def forward(self, input):
        return alter_gradient(super().forward(input), read_as_contiguous)
