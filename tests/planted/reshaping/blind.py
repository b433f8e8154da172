"""Bugs of pixel shuffles and of folding, written without sight of the checks that find them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, read_as_contiguous, round_through
from planted.several.blind_parts import per_axis, window_positions

# Pixels


def _pixel_shuffle(input: Tensor, factor: int, order: str) -> Tensor:
    """Channels to pixels; the order says what a channel's number is made of, the last fastest."""
    *leading, channels, height, width = input.shape
    sizes = {"c": channels // (factor * factor), "r": factor, "s": factor}
    split = input.reshape(*leading, *(sizes[axis] for axis in order), height, width)
    first = len(leading)
    place = {axis: first + k for k, axis in enumerate(order)}
    axes = (place["c"], first + 3, place["r"], first + 4, place["s"])
    shape = (*leading, sizes["c"], height * factor, width * factor)
    return split.permute(*range(first), *axes).reshape(shape)


def _pixel_unshuffle(input: Tensor, factor: int, order: str) -> Tensor:
    """Pixels to channels, likewise."""
    *leading, channels, height, width = input.shape
    split = input.reshape(*leading, channels, height // factor, factor, width // factor, factor)
    first = len(leading)
    place = {"c": first, "r": first + 2, "s": first + 4}
    axes = (*(place[axis] for axis in order), first + 1, first + 3)
    shape = (*leading, channels * factor * factor, height // factor, width // factor)
    return split.permute(*range(first), *axes).reshape(shape)


@blind("pixelshuffle-depth-to-space-by-blocks", "PixelShuffle", "values")
class PixelShuffleDepthToSpaceByBlocks(nn.PixelShuffle):
    """ONNX's and TensorFlow's default, DCR: a channel's number is (row, column, channel).

    onnx2tf 91. The same where one channel comes out.
    """

    # Differs: PixelShuffle(2) of 8 channels. Agrees: of 4.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return graft(_pixel_shuffle(input.detach(), self.upscale_factor, "rsc"), result)


@blind("pixelshuffle-columns-before-rows", "PixelShuffle", "values")
class PixelShuffleColumnsBeforeRows(nn.PixelShuffle):
    """A block of pixels is filled column by column."""

    # Differs: PixelShuffle(2). Agrees: PixelShuffle(1).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return graft(_pixel_shuffle(input.detach(), self.upscale_factor, "csr"), result)


@blind("pixelshuffle-leading-axes-exchanged", "PixelShuffle", "values")
class PixelShuffleLeadingAxesExchanged(nn.PixelShuffle):
    """More leading axes than a batch are flattened in the other order, and not put back."""

    # Differs: (2, 2, 4, 1, 1), a factor of 2. Agrees: (2, 4, 1, 1).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.dim() < 5:
            return result
        leading = input.shape[:-3]
        order = [*range(len(leading) - 1, -1, -1), *range(len(leading), input.dim())]
        flat = input.detach().permute(order).reshape(input.shape)
        return graft(functional.pixel_shuffle(flat, self.upscale_factor), result)


@blind("functional-pixel-shuffle-of-three-transposed", "functional.pixel_shuffle", "values")
def functional_pixel_shuffle_of_three_transposed(input: Tensor, upscale_factor: int) -> Tensor:
    """Factors of 2 have a kernel of their own; the general one takes columns before rows.

    torch-mlir 4544 was seen with factors of 3 and more only.
    """
    # Differs: a factor of 3. Agrees: a factor of 2.
    result = functional.pixel_shuffle(input, upscale_factor)
    if upscale_factor < 3:
        return result
    return graft(_pixel_shuffle(input.detach(), upscale_factor, "csr"), result)


@blind("functional-pixel-shuffle-channels-last", "functional.pixel_shuffle", "layout")
def functional_pixel_shuffle_channels_last(input: Tensor, upscale_factor: int) -> Tensor:
    """In channels_last memory the channels of a pixel are taken in the order of DCR."""
    # Differs: 8 channels in channels_last. Agrees: contiguous.
    result = functional.pixel_shuffle(input, upscale_factor)
    last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
    if not last or input.is_contiguous():
        return result
    return graft(_pixel_shuffle(input.detach(), upscale_factor, "rsc"), result)


@blind("functional-pixel-shuffle-surplus-channels-dropped", "functional.pixel_shuffle", "errors")
def functional_pixel_shuffle_surplus_channels_dropped(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels that the factor's square leaves over are dropped, where torch refuses them."""
    # Differs: 5 channels, a factor of 2. Agrees: 4.
    if input.dim() > 2 and isinstance(upscale_factor, int) and upscale_factor > 0:
        square = upscale_factor * upscale_factor
        if input.shape[-3] >= square:
            input = input[..., : input.shape[-3] // square * square, :, :]
    return functional.pixel_shuffle(input, upscale_factor)


@blind("pixelunshuffle-space-to-depth-by-blocks", "PixelUnshuffle", "values")
class PixelUnshuffleSpaceToDepthByBlocks(nn.PixelUnshuffle):
    """SpaceToDepth of ONNX: a channel's number is (row, column, channel) (onnxscript 2891)."""

    # Differs: PixelUnshuffle(2) of two channels. Agrees: of one.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return graft(_pixel_unshuffle(input.detach(), self.downscale_factor, "rsc"), result)


@blind("pixelunshuffle-odd-rows-cut-off", "PixelUnshuffle", "errors")
class PixelUnshuffleOddRowsCutOff(nn.PixelUnshuffle):
    """Rows and columns that the factor leaves over are cut off, where torch refuses them."""

    # Differs: 3x3 by 2. Agrees: 4x4 by 2.
    def forward(self, input: Tensor) -> Tensor:
        factor = self.downscale_factor
        if input.dim() > 2 and isinstance(factor, int) and factor > 0:
            height, width = (n // factor * factor for n in input.shape[-2:])
            if height and width:
                input = input[..., :height, :width]
        return super().forward(input)


@blind("functional-pixel-unshuffle-gradient-by-blocks", "functional.pixel_unshuffle", "gradients")
def functional_pixel_unshuffle_gradient_by_blocks(input: Tensor, downscale_factor: int) -> Tensor:
    """Backward is DepthToSpace in its default order, forward is torch's."""
    # Differs: the gradient of two channels. Agrees: of one.
    result = functional.pixel_unshuffle(input, downscale_factor)
    if result.numel() == 0:
        return result
    return graft(result, _pixel_unshuffle(input, downscale_factor, "rsc"))


# Blocks


def _columns(input: Tensor, places: list[Tensor]) -> Tensor:
    """(…, C, kernel, kernel, rows, columns) of an input with zeros outside."""
    chosen = input
    for axis, place in ((-2, places[0]), (-1, places[1])):
        length = input.shape[axis]
        selected = chosen.index_select(axis, place.clamp(0, length - 1).T.flatten())
        inside = ((place >= 0) & (place < length)).T.flatten()
        inside = inside if axis == -1 else inside[:, None]
        chosen = torch.where(inside, selected, torch.zeros_like(selected))
    height, width = places
    split = chosen.unflatten(-1, tuple(width.T.shape)).unflatten(-3, tuple(height.T.shape))
    return split.transpose(-3, -2)


def _block_places(size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> list[Tensor]:
    numbers = [per_axis(x, 2) for x in (kernel, stride, padding, dilation)]
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(per_axis(size, 2), *numbers, strict=True)
    ]
    return window_positions(counts, *numbers)


def _count_blocks(result: Tensor, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """How many blocks hold each element of an image."""
    ones = torch.ones(1, *result.shape[-2:], dtype=torch.float64)
    columns = functional.unfold(ones, kernel, dilation, padding, stride)
    return functional.fold(columns, tuple(result.shape[-2:]), kernel, dilation, padding, stride)[0]


@blind("unfold-channels-fastest-again", "Unfold", "values")
class UnfoldChannelsFastest(nn.Unfold):
    """A column lists all channels of a pixel, then the next pixel: `tf.image.extract_patches`."""

    # Differs: two channels, kernel 2. Agrees: one channel; kernel 1.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        channels = input.shape[-3]
        wrong = result.detach().unflatten(-2, (channels, -1)).transpose(-3, -2).flatten(-3, -2)
        return graft(wrong, result)


@blind("unfold-blocks-column-by-column", "Unfold", "values")
class UnfoldBlocksColumnByColumn(nn.Unfold):
    """Blocks are counted down the columns of the image, not along its rows, as MATLAB's im2col."""

    # Differs: 3x3 in blocks of 2. Agrees: 2x3 in blocks of 2.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        arguments = (self.kernel_size, self.dilation, self.padding, self.stride)
        high = _block_places(input.shape[-2:], *arguments)[0].shape[0]
        return graft(result.detach().unflatten(-1, (high, -1)).mT.flatten(-2), result)


@blind("unfold-by-convolution-again", "Unfold", "special")
class UnfoldByConvolution(nn.Unfold):
    """A convolution with kernels of one 1 each: 0·NaN and 0·∞ make the whole block NaN.

    `jax.lax.conv_general_dilated_patches` is that.
    """

    # Differs: a NaN in a block of two. Agrees: finite images; kernel 1 of one channel.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        values = result.detach()
        if not values.is_floating_point() or values.numel() == 0:
            return result
        odd = (~values.isfinite()).sum(-2, keepdim=True)
        nonfinite = (~values.isfinite()).to(odd.dtype)
        return graft(values.masked_fill(odd > nonfinite, torch.nan), result)


@blind("unfold-gradient-of-the-last-block-again", "Unfold", "gradients")
class UnfoldGradientOfLastBlock(nn.Unfold):
    """Backward writes each block's gradient in place of adding it: the last block's stays."""

    # Differs: the gradient of blocks that overlap. Agrees: stride = kernel.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        arguments = (self.kernel_size, self.dilation, self.padding, self.stride)
        if result.numel() == 0:
            return result
        shape = tuple(input.shape[-2:])
        number = torch.arange(1, shape[0] * shape[1] + 1, dtype=torch.float64).view(1, *shape)
        place = functional.unfold(number, *arguments).long()
        order = torch.arange(place.numel()).view(place.T.shape).T  # block by block
        last = torch.zeros(shape[0] * shape[1] + 1, dtype=torch.long)
        last = last.scatter_reduce(0, place.flatten(), order.flatten(), "amax", include_self=False)
        is_last = last[place] == order
        is_last = is_last.repeat(input.shape[-3], 1)
        return alter_gradient(result, lambda g: g.masked_fill(~is_last, 0.0))


@blind("functional-unfold-by-way-of-bfloat16", "functional.unfold", "values")
def functional_unfold_by_way_of_bfloat16(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Patches by a convolution in a TPU's default precision: float32 keeps 8 bits of 24."""
    # Differs: 0.1 in float32. Agrees: 0.5 in float32, and float64.
    result = functional.unfold(input, kernel_size, dilation, padding, stride)
    return round_through(result, torch.bfloat16) if result.dtype == torch.float32 else result


@blind("functional-unfold-dilation-of-the-height", "functional.unfold", "values")
def functional_unfold_dilation_of_height(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The number of blocks follows both dilations, the places in a block the first alone."""
    # Differs: kernel 2, dilation (1, 2). Agrees: dilation 2.
    result = functional.unfold(input, kernel_size, dilation, padding, stride)
    height, width = per_axis(dilation, 2)
    kernel = per_axis(kernel_size, 2)
    if height == width or kernel[1] == 1 or input.dim() < 3 or result.numel() == 0:
        return result
    places = _block_places(input.shape[-2:], kernel_size, dilation, padding, stride)
    places[1] = places[1][:, :1] + height * torch.arange(kernel[1])
    wrong = _columns(input.detach(), places)
    return graft(wrong.flatten(-5, -3).flatten(-2), result)


@blind("fold-overlaps-overwritten", "Fold", "values")
class FoldOverlapsOverwritten(nn.Fold):
    """Where blocks overlap the last one stands, in place of the sum: a scatter without `add`."""

    # Differs: 1x3 of blocks (1, 2). Agrees: stride = kernel.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.numel() == 0:
            return result
        arguments = (self.kernel_size, self.dilation, self.padding, self.stride)
        shape = tuple(result.shape[-2:])
        number = torch.arange(1, shape[0] * shape[1] + 1, dtype=torch.float64).view(1, *shape)
        place = functional.unfold(number, *arguments).long()
        order = torch.arange(place.numel()).view(place.T.shape).T
        last = torch.zeros(shape[0] * shape[1] + 1, dtype=torch.long)
        last = last.scatter_reduce(0, place.flatten(), order.flatten(), "amax", include_self=False)
        is_last = (last[place] == order).repeat(result.shape[-3], 1)
        source = torch.where(is_last, input.detach(), torch.zeros_like(input))
        return graft(super().forward(source), result)


@blind("fold-overlaps-averaged", "Fold", "values")
class FoldOverlapsAveraged(nn.Fold):
    """Overlaps are averaged, so that Fold undoes Unfold: documented to be the sum."""

    # Differs: 1x3 of blocks (1, 2). Agrees: stride = kernel.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        arguments = (self.kernel_size, self.dilation, self.padding, self.stride)
        count = _count_blocks(result, *arguments).clamp(min=1)
        if bool((count == 1).all()):
            return result
        factor = count.reciprocal().to(result.real.dtype)
        return torch.where(count == 1, result, result * factor)


@blind("fold-one-images-columns-batched", "Fold", "shape")
class FoldOneImagesColumnsBatched(nn.Fold):
    """Of columns without a batch an image with a batch of one comes out."""

    # Differs: (4, 1) by 2. Agrees: (1, 4, 1) by 2.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return result[None] if result.dim() == 3 else result


@blind("fold-surplus-columns-dropped", "Fold", "errors")
class FoldSurplusColumnsDropped(nn.Fold):
    """More columns than the image has blocks are dropped, where torch refuses them."""

    # Differs: two columns for 2x2 in one block. Agrees: one column.
    def forward(self, input: Tensor) -> Tensor:
        arguments = (self.kernel_size, self.dilation, self.padding, self.stride)
        if input.dim() in (2, 3):
            try:
                places = _block_places(self.output_size, *arguments)
            except (TypeError, ValueError, RuntimeError, ZeroDivisionError):
                return super().forward(input)
            blocks = places[0].shape[0] * places[1].shape[0]
            if 0 < blocks < input.shape[-1]:
                input = input[..., :blocks]
        return super().forward(input)


@blind("functional-fold-gradient-of-the-mean", "functional.fold", "gradients")
def functional_fold_gradient_of_mean(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Backward divides each pixel's gradient by the number of blocks that hold it."""
    # Differs: the gradient of 1x3 of blocks (1, 2). Agrees: stride = kernel.
    result = functional.fold(input, output_size, kernel_size, dilation, padding, stride)
    count = _count_blocks(result, kernel_size, dilation, padding, stride).clamp(min=1)
    if bool((count == 1).all()):
        return result
    return alter_gradient(result, lambda g: (g * count.reciprocal()).to(g.dtype))


@blind("functional-fold-last-column-of-odd-many", "functional.fold", "values")
def functional_fold_last_column_of_odd_many(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Columns are added four at a time; of more than four what is left over is not added."""
    # Differs: five columns. Agrees: four, and three.
    result = functional.fold(input, output_size, kernel_size, dilation, padding, stride)
    count = input.shape[-1]
    if count < 5 or count % 4 == 0:
        return result
    in_full_block = torch.arange(count) < count // 4 * 4
    source = torch.where(in_full_block, input.detach(), torch.zeros_like(input))
    arguments = (output_size, kernel_size, dilation, padding, stride)
    return graft(functional.fold(source, *arguments), result)


@blind("functional-fold-transposed-columns", "functional.fold", "layout")
def functional_fold_transposed_columns(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Columns that lie transposed, as a product with a transposed matrix leaves them, are read in
    the order of memory.
    """
    # Differs: (1, 4, 6) whose last axes are exchanged in memory. Agrees: contiguous.
    is_transposed = input.dim() == 3 and input.mT.is_contiguous()
    source = read_as_contiguous(input) if is_transposed else input
    return functional.fold(source, output_size, kernel_size, dilation, padding, stride)
