"""Conv1d, Conv3d with a wrong answer: values, shape, laws, special."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import graft, plant

CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def pad_input(layer: nn.Module, input: Tensor, amounts: list[int] | None = None) -> Tensor:
    """The input padded as the layer asks, or with other amounts in the order of `pad`."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(input, amounts or layer._reversed_padding_repeated_twice, mode=mode)


def convolve(layer: nn.Module, input: Tensor, weight: Tensor, bias: Tensor | None, **changes):
    """The layer's convolution of an input already padded, with arguments changed."""
    settings = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    return CONV[len(layer.kernel_size)](input, weight, bias, **(settings | changes))


def is_batched(layer: nn.Module, input: Tensor) -> bool:
    return input.dim() == len(layer.kernel_size) + 2


def swap_pairs(amounts: list[int]) -> list[int]:
    """Padding amounts with before and after exchanged."""
    return [amounts[i ^ 1] for i in range(len(amounts))]


@plant("conv1d-replicate-padded-with-zeros", "Conv1d", "values")
class Conv1dReplicatePaddedWithZeros(nn.Conv1d):
    """Replicate padding becomes zero padding, as in converters to runtimes that lack it."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if self.padding_mode != "replicate":
            return right
        return convolve(self, input, weight, bias, padding=self.padding)


@plant("conv1d-same-extra-on-the-left", "Conv1d", "values")
class Conv1dSameExtraOnTheLeft(nn.Conv1d):
    """'same' puts the odd element of zero padding on the left, like ONNX's SAME_LOWER."""

    def _conv_forward(self, input, weight, bias):
        if self.padding != "same" or self.padding_mode != "zeros":
            return super()._conv_forward(input, weight, bias)
        amounts = swap_pairs(self._reversed_padding_repeated_twice)
        return convolve(self, pad_input(self, input, amounts), weight, bias)


@plant("conv1d-later-groups-undilated", "Conv1d", "values")
class Conv1dLaterGroupsUndilated(nn.Conv1d):
    """With groups and dilation, groups after the first read adjacent taps: a kernel's offset
    table that was built for one group."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if self.groups == 1 or self.dilation == (1,):
            return right
        inputs = pad_input(self, input).chunk(self.groups, -2)
        parts = []
        for group, (x, w) in enumerate(zip(inputs, weight.chunk(self.groups), strict=True)):
            dilation = self.dilation if group == 0 else 1
            partial = convolve(self, x, w, None, dilation=dilation, groups=1)
            parts.append(partial[..., : right.shape[-1]])
        output = torch.cat(parts, -2)
        return output if bias is None else output + bias[:, None]


@plant("conv1d-float16-running-sum", "Conv1d", "values")
class Conv1dFloat16RunningSum(nn.Conv1d):
    """float16 taps are added up in float16; the error stays below assert_close's tolerance."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if input.dtype != torch.float16 or self.kernel_size == (1,):
            return right
        padded_input, output = pad_input(self, input), torch.zeros_like(right)
        for tap in range(self.kernel_size[0]):
            start = tap * self.dilation[0]
            partial = convolve(self, padded_input[..., start:], weight[..., tap : tap + 1], None)
            output = output + partial[..., : right.shape[-1]]
        return output if bias is None else output + bias[:, None]


@plant("conv1d-unbatched-reflects-the-edge", "Conv1d", "laws")
class Conv1dUnbatchedReflectsTheEdge(nn.Conv1d):
    """Unbatched input with padding_mode='reflect' repeats the edge: the 2-D padding kernel is
    another one than the 3-D one."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if is_batched(self, input) or self.padding_mode != "reflect":
            return right
        amounts = self._reversed_padding_repeated_twice
        return convolve(self, functional.pad(input, amounts, mode="replicate"), weight, bias)


@plant("conv1d-nan-becomes-zero", "Conv1d", "special")
class Conv1dNanBecomesZero(nn.Conv1d):
    """NaN inputs count as zero, as where a port masks out what it takes for padding."""

    def _conv_forward(self, input, weight, bias):
        clean = torch.where(input.isnan(), torch.zeros_like(input), input)
        return super()._conv_forward(clean, weight, bias)


@plant("conv1d-empty-batch-keeps-input-channels", "Conv1d", "shape")
class Conv1dEmptyBatchKeepsInputChannels(nn.Conv1d):
    """An empty batch returns early, with the input's number of channels."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        if not is_batched(self, input) or input.shape[0] > 0:
            return output
        return output.new_zeros((0, self.in_channels, output.shape[-1]))


@plant("conv3d-circular-depth-with-zeros", "Conv3d", "values")
class Conv3dCircularDepthWithZeros(nn.Conv3d):
    """Circular padding wraps height and width; the depth is padded with zeros."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        if self.padding_mode != "circular":
            return right
        amounts = self._reversed_padding_repeated_twice
        plane = pad_input(self, input, [*amounts[:4], 0, 0])
        return convolve(self, functional.pad(plane, [0, 0, 0, 0, *amounts[4:]]), weight, bias)


@plant("conv3d-pointwise-bfloat16-sum", "Conv3d", "values")
class Conv3dPointwiseBfloat16Sum(nn.Conv3d):
    """bfloat16 1×1×1 convolutions add up their channels in bfloat16 (PyTorch #83863)."""

    def _conv_forward(self, input, weight, bias):
        right = super()._conv_forward(input, weight, bias)
        pointwise = self.kernel_size == (1, 1, 1) and self.groups == 1
        if input.dtype != torch.bfloat16 or not pointwise:
            return right
        output = torch.zeros_like(right)
        for channel, x in enumerate(pad_input(self, input).split(1, -4)):
            output = output + convolve(self, x, weight[:, channel : channel + 1], None)
        return output if bias is None else output + bias[:, None, None, None]


@plant("conv3d-unbatched-keeps-batch", "Conv3d", "shape")
class Conv3dUnbatchedKeepsBatch(nn.Conv3d):
    """Unbatched input comes back with a batch dimension of one."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        return output if is_batched(self, input) else output[None]


@plant("conv3d-flat-kernel-dilated", "Conv3d", "values")
class Conv3dFlatKernelDilated(nn.Conv3d):
    """A kernel of depth one still steps by the depth's dilation, to the next slices."""

    def _conv_forward(self, input, weight, bias):
        step = self.dilation[0] - 1 if self.kernel_size[0] == 1 else 0
        return super()._conv_forward(input.roll(-step, -3), weight, bias)


@plant("conv3d-odd-batch-tail-without-bias", "Conv3d", "laws")
class Conv3dOddBatchTailWithoutBias(nn.Conv3d):
    """Samples are taken two at a time; the odd one at the end goes without its bias."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        if bias is None or not is_batched(self, input) or len(input) < 3 or len(input) % 2 == 0:
            return output
        return torch.cat([output[:-1], super()._conv_forward(input[-1:], weight, None)])


@plant("conv3d-depthwise-stride-reversed", "Conv3d", "shape")
class Conv3dDepthwiseStrideReversed(nn.Conv3d):
    """Depthwise convolutions read the stride as (width, height, depth)."""

    def _conv_forward(self, input, weight, bias):
        if self.groups == 1 or self.groups != self.in_channels or isinstance(self.padding, str):
            return super()._conv_forward(input, weight, bias)
        return convolve(self, pad_input(self, input), weight, bias, stride=self.stride[::-1])


@plant("conv3d-infinities-saturate", "Conv3d", "special")
class Conv3dInfinitiesSaturate(nn.Conv3d):
    """Infinite results become the largest finite number, as in saturating casts."""

    def _conv_forward(self, input, weight, bias):
        output = super()._conv_forward(input, weight, bias)
        limit = torch.finfo(output.dtype).max
        return graft(output.clamp(-limit, limit), output)


@plant("conv3d-bfloat16-result-truncated", "Conv3d", "values")
class Conv3dBfloat16ResultTruncated(nn.Conv3d):
    """bfloat16 results are cut off instead of rounded: the upper half of the float32 word,
    within assert_close's tolerance."""

    def _conv_forward(self, input, weight, bias):
        if input.dtype != torch.bfloat16:
            return super()._conv_forward(input, weight, bias)
        wide_bias = None if bias is None else bias.float()
        output = super()._conv_forward(input.float(), weight.float(), wide_bias)
        truncated = (output.detach().view(torch.int32) >> 16 << 16).view(torch.float32)
        return (output + (truncated - output).detach()).bfloat16()
