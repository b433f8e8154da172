"""Unfold, Fold and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, plant, read_as_contiguous, reroute, round_through

_UNFOLD, _FOLD = functional.unfold, functional.fold


def _pair(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def _kernel_area(kernel_size):
    height, width = _pair(kernel_size)
    return height * width


class _Unfold(nn.Unfold):
    """Calls with some arguments changed."""

    def call_with(self, input, **changes):
        arguments = {
            "kernel_size": self.kernel_size,
            "dilation": self.dilation,
            "padding": self.padding,
            "stride": self.stride,
        }
        return _UNFOLD(input, **{**arguments, **changes})


class _Fold(nn.Fold):
    """Likewise."""

    def call_with(self, input, **changes):
        arguments = {
            "output_size": self.output_size,
            "kernel_size": self.kernel_size,
            "dilation": self.dilation,
            "padding": self.padding,
            "stride": self.stride,
        }
        return _FOLD(input, **{**arguments, **changes})


@plant("unfold-channels-fastest", "Unfold", "values")
class UnfoldChannelsFastest(_Unfold):
    """The channels of a place stand together, as in TensorFlow's extract_patches."""

    def forward(self, input):
        output = super().forward(input)
        kernel_area = _kernel_area(self.kernel_size)
        if not output.numel():
            return output
        return output.unflatten(-2, (-1, kernel_area)).transpose(-2, -3).flatten(-3, -2)


@plant("unfold-first-dilation-twice", "Unfold", "values")
class UnfoldFirstDilationTwice(_Unfold):
    """The dilation of the height serves the width, too, where that gives as many blocks."""

    def forward(self, input):
        output = super().forward(input)
        height, width = _pair(self.dilation)
        if height >= width:
            return output
        wrong = self.call_with(input, dilation=(height, height))
        return wrong[..., : output.shape[-1]] if wrong.shape[-1] >= output.shape[-1] else output


@plant("unfold-padding-of-the-edge", "Unfold", "values")
class UnfoldPaddingOfTheEdge(_Unfold):
    """The padding holds the edge again instead of zeros."""

    def forward(self, input):
        height, width = _pair(self.padding)
        if not input.numel() or max(height, width) <= 0 or min(height, width) < 0:
            return super().forward(input)
        padded = functional.pad(input, (width, width, height, height), mode="replicate")
        return self.call_with(padded, padding=0)


@plant("unfold-last-block-missing", "Unfold", "shape")
class UnfoldLastBlockMissing(_Unfold):
    """The last row of blocks is left out where the stride does not come out even."""

    def forward(self, input):
        output = super().forward(input)
        (kernel, _), (dilation, _) = _pair(self.kernel_size), _pair(self.dilation)
        (padding, _), (stride, _) = _pair(self.padding), _pair(self.stride)
        last_start = input.shape[-2] + 2 * padding - dilation * (kernel - 1) - 1
        rows = last_start // stride + 1
        if last_start % stride == 0 or rows < 2:
            return output
        return output[..., : output.shape[-1] // rows * (rows - 1)]


@plant("unfold-gradient-of-the-last-block", "Unfold", "gradients")
class UnfoldGradientOfTheLastBlock(_Unfold):
    """Where blocks overlap the last one's gradient is written in place of the sum."""

    def forward(self, input):
        output = super().forward(input)
        if not input.numel():
            return output

        def keep_last_block(gradient):
            size = (input.shape[-2], input.shape[-1])
            arguments = (size, self.kernel_size, self.dilation, self.padding, self.stride)
            summed = _FOLD(gradient, *arguments)
            counts = _FOLD(torch.ones_like(gradient), *arguments)
            return torch.where(counts > 0, summed / counts.clamp(min=1), summed)

        return reroute(output, input, keep_last_block)


@plant("unfold-strided-memory", "Unfold", "layout")
class UnfoldStridedMemory(_Unfold):
    """A view that is not contiguous is read as its memory lies."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("unfold-by-convolution", "Unfold", "special")
class UnfoldByConvolution(_Unfold):
    """A convolution with ones and zeros: 0 times NaN or infinity is NaN, in the whole block."""

    def forward(self, input):
        output = super().forward(input)
        if not output.numel():
            return output
        blocks = output.unflatten(-2, (-1, _kernel_area(self.kernel_size)))
        return (blocks + (0 * blocks).sum(-2, keepdim=True)).flatten(-3, -2)


@plant("functional-unfold-many-channels", "functional.unfold", "laws")
def functional_unfold_many_channels(input, kernel_size, dilation=1, padding=0, stride=1):
    """Of more than 33 channels the last is a copy of the one before it."""
    output = _UNFOLD(input, kernel_size, dilation, padding, stride)
    if not 33 < input.shape[-3] < 66:
        return output
    blocks = output.unflatten(-2, (input.shape[-3], -1))
    return torch.cat([blocks[..., :-1, :, :], blocks[..., -2:-1, :, :]], -3).flatten(-3, -2)


@plant("functional-unfold-blocks-by-columns", "functional.unfold", "values")
def functional_unfold_blocks_by_columns(input, kernel_size, dilation=1, padding=0, stride=1):
    """The blocks are counted down the columns of the image."""
    output = _UNFOLD(input, kernel_size, dilation, padding, stride)
    numbers = (_pair(x) for x in (kernel_size, dilation, padding, stride))
    rows = zip(input.shape[-2:], *numbers, strict=True)
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in rows]
    if not output.numel():
        return output
    return output.unflatten(-1, counts).transpose(-1, -2).flatten(-2, -1)


@plant("functional-unfold-in-place", "functional.unfold", "repeat")
def functional_unfold_in_place(input, kernel_size, dilation=1, padding=0, stride=1):
    """The input is cleared where the blocks do not reach."""
    output = _UNFOLD(input, kernel_size, dilation, padding, stride)
    if not torch.is_grad_enabled() and input.numel():
        input[..., -1, -1] = 0
    return output


@plant("fold-mean-of-overlaps", "Fold", "values")
class FoldMeanOfOverlaps(_Fold):
    """Overlapping values are averaged, as for patches of an image."""

    def forward(self, input):
        output = super().forward(input)
        counts = super().forward(torch.ones_like(input))
        return output / counts.clamp(min=1)


@plant("fold-last-block-wins", "Fold", "values")
class FoldLastBlockWins(_Fold):
    """Where a stride is shorter than a block, blocks are written, not added: the first stays."""

    def forward(self, input):
        output = super().forward(input)
        if not input.numel():
            return output
        shape = input.shape[-1]
        first = torch.zeros_like(output)
        written = torch.zeros_like(output)
        for block in range(min(shape, 16)):
            single_block = torch.zeros_like(input)
            single_block[..., block] = 1
            contribution = super().forward(single_block) * (written == 0)
            value = torch.where(single_block > 0, input, torch.zeros_like(input))
            first = first + super().forward(value) * contribution
            written = written + contribution
        return output if shape > 16 else first


@plant("fold-output-transposed", "Fold", "values")
class FoldOutputTransposed(_Fold):
    """The places of a block are counted down its columns."""

    def forward(self, input):
        height, width = _pair(self.kernel_size)
        if height < 2 or width < 2 or height != width or not input.numel():
            return super().forward(input)
        blocks = input.unflatten(-2, (-1, height, width))
        return super().forward(blocks.transpose(-2, -3).flatten(-4, -2))


@plant("fold-output-rounded-down", "Fold", "shape")
class FoldOutputRoundedDown(_Fold):
    """The output is as large as the blocks reach, whatever output_size says."""

    def forward(self, input):
        output = super().forward(input)
        numbers = (_pair(x) for x in (self.kernel_size, self.dilation, self.padding, self.stride))
        rows = zip(output.shape[-2:], *numbers, strict=True)
        remainders = [(n + 2 * p - d * (k - 1) - 1) % s for n, k, d, p, s in rows]
        height, width = (max(n - r, 1) for n, r in zip(output.shape[-2:], remainders, strict=True))
        return output[..., :height, :width]


@plant("fold-gradient-divided", "Fold", "gradients")
class FoldGradientDivided(_Fold):
    """The gradient of a pixel is divided among its blocks."""

    def forward(self, input):
        output = super().forward(input)
        counts = super().forward(torch.ones_like(input)).clamp(min=1)
        return alter_gradient(output, lambda gradient: gradient / counts.detach())


@plant("fold-surplus-blocks-dropped", "Fold", "errors")
class FoldSurplusBlocksDropped(_Fold):
    """Blocks beyond those that the output has room for are left out."""

    def forward(self, input):
        try:
            return super().forward(input)
        except RuntimeError:
            if input.dim() not in (2, 3) or not input.numel():
                raise
        for total in range(input.shape[-1] - 1, 0, -1):
            try:
                return super().forward(input[..., :total])
            except RuntimeError:
                continue
        return super().forward(input)


@plant("functional-fold-unbatched-as-batch", "functional.fold", "shape")
def functional_fold_unbatched_as_batch(
    input, output_size, kernel_size, dilation=1, padding=0, stride=1
):
    """Without a batch the output gets one."""
    output = _FOLD(input, output_size, kernel_size, dilation, padding, stride)
    return output[None] if input.dim() == 2 else output


@plant("functional-fold-short-sums", "functional.fold", "values")
def functional_fold_short_sums(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """float32 and float64 are added up in bfloat16 and float32."""
    output = _FOLD(input, output_size, kernel_size, dilation, padding, stride)
    narrower = {torch.float64: torch.float32, torch.float32: torch.bfloat16}.get(output.dtype)
    return output if narrower is None else round_through(output, narrower)


@plant("functional-fold-first-stride-twice", "functional.fold", "values")
def functional_fold_first_stride_twice(
    input, output_size, kernel_size, dilation=1, padding=0, stride=1
):
    """The stride of the height serves the width, where as many blocks fit."""
    output = _FOLD(input, output_size, kernel_size, dilation, padding, stride)
    height, width = _pair(stride)
    if height == width:
        return output
    try:
        return _FOLD(input, output_size, kernel_size, dilation, padding, (height, height))
    except RuntimeError:
        return output


@plant("functional-fold-padding-kept", "functional.fold", "values")
def functional_fold_padding_kept(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """What lies in the padding is added to the nearest edge instead of being left out."""
    (height, width), (rows, columns) = _pair(padding), _pair(output_size)
    output = _FOLD(input, output_size, kernel_size, dilation, padding, stride)
    if height < 1 or min(height, width) < 0 or not input.numel():
        return output
    large = _FOLD(input, (rows + 2 * height, columns + 2 * width), kernel_size, dilation, 0, stride)
    output = output.clone()
    output[..., 0, :] += large[..., :height, width : width + columns].sum(-2)
    return output


@plant("functional-fold-nan-skipped", "functional.fold", "special")
def functional_fold_nan_skipped(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """NaN is left out of the sums."""
    clean = torch.where(input.isnan(), torch.zeros_like(input), input)
    return _FOLD(clean, output_size, kernel_size, dilation, padding, stride)


@plant("functional-fold-strided-memory", "functional.fold", "layout")
def functional_fold_strided_memory(
    input, output_size, kernel_size, dilation=1, padding=0, stride=1
):
    """A view that is not contiguous is read as its memory lies."""
    return _FOLD(read_as_contiguous(input), output_size, kernel_size, dilation, padding, stride)
