"""Convolutions, `aten::convolution`: kernels that are wrong in one step or at an edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import (
    all_blocks,
    allocate,
    full_blocks,
    overlapping_blocks,
    read_as_contiguous,
)
from planted.kernels.calls import Call, conv
from planted.kernels.convolution import LAYERS, OPERATOR, Blocks, blocked
from planted.kernels.kernel import kernel

Convolution = Callable[..., Tensor]


def _plant_function(
    name: str, wrong: str, *, agrees: Sequence[Call], differs: Sequence[Call]
) -> Callable[[Convolution], Convolution]:
    """Enter a function of the input, the weight and the other arguments by name."""

    def enter(function: Convolution) -> Convolution:
        @kernel(f"convolution-{name}", OPERATOR, LAYERS, wrong, agrees=agrees, differs=differs)
        def convolution(
            input: Tensor,
            weight: Tensor,
            bias: Tensor | None,
            stride: Sequence[int],
            padding: Sequence[int],
            dilation: Sequence[int],
            transposed: bool,
            output_padding: Sequence[int],
            groups: int,
        ) -> Tensor:
            return function(
                input,
                weight,
                bias=bias,
                stride=stride,
                padding=padding,
                dilation=dilation,
                transposed=transposed,
                output_padding=output_padding,
                groups=groups,
            )

        return function

    return enter


def _plant_blocks(
    name: str, blocks: Blocks, wrong: str, agrees: Sequence[Call], differs: Sequence[Call]
) -> None:
    """Enter the blocked kernel with other blocks."""

    @_plant_function(name, wrong, agrees=agrees, differs=differs)
    def convolution(input: Tensor, weight: Tensor, **arguments: Any) -> Tensor:
        return blocked(input, weight, **arguments, blocks=blocks)


def _wrap(x: np.ndarray, padding: Sequence[int]) -> np.ndarray:
    """Zeros around, but in the last dimension the end of the row before, as a flat index reads."""
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    last, size = padding[-1], x.shape[-1]
    if x.ndim > 3 and x.shape[-2] and last <= size:
        rows = slice(padding[-2], padding[-2] + x.shape[-2])
        left = padded[..., rows, :last]
        if len(padding) == 2:
            left[..., 1:, :] = x[..., :-1, size - last :]
    return padded


_plant_blocks(
    "drops-the-output-channels-past-32",
    Blocks(outer=full_blocks(32)),
    "Of output channels of a group over 32 only whole blocks of 32 are computed, the rest is the "
    "bias alone; up to 32 are right.",
    [conv(1, 3, 32, (6,), (2,)), conv(1, 3, 64, (6, 5), (2, 2), groups=1)],
    [conv(1, 3, 33, (6,), (2,)), conv(1, 3, 33, (4, 4), (2, 2), transposed=True)],
)
_plant_blocks(
    "drops-the-input-channels-past-16",
    Blocks(inner=full_blocks(16)),
    "Of input channels of a group over 16 only whole blocks of 16 are summed; up to 16 are right.",
    [conv(1, 16, 3, (6,), (2,)), conv(1, 20, 10, (6,), (2,), groups=2)],
    [conv(1, 17, 3, (6,), (2,))],
)
_plant_blocks(
    "adds-an-input-channel-at-a-block-boundary-twice",
    Blocks(inner=overlapping_blocks(64)),
    "Blocks of 64 input channels of a group overlap by one; up to 64 are right.",
    [conv(1, 64, 3, (6,), (2,))],
    [conv(1, 65, 3, (6,), (2,))],
)
_plant_blocks(
    "unrolls-sixteen-taps",
    Blocks(taps=lambda taps: taps[:16]),
    "The loop over taps is unrolled for 16, and later ones are not added; kernels of up to 16 "
    "taps are right.",
    [conv(1, 2, 3, (20,), (16,)), conv(1, 2, 3, (6, 6), (4, 4))],
    [conv(1, 2, 3, (20,), (17,)), conv(1, 2, 3, (6, 6), (5, 5))],
)
_plant_blocks(
    "pads-rows-with-the-end-of-the-row-before",
    Blocks(pad=_wrap),
    "In two dimensions the mask of the left padding is lost, so that a flat index reads the end "
    "of the row before; no padding, and one dimension, are right.",
    [conv(1, 2, 3, (5, 5), (2, 2)), conv(1, 2, 3, (5,), (3,), padding=1)],
    [conv(1, 2, 3, (5, 5), (3, 3), padding=1)],
)
_plant_blocks(
    "accumulates-in-bfloat16",
    Blocks(inner=all_blocks(4), register=torch.bfloat16),
    "Running sums are rounded to bfloat16 after each block of 4 input channels, whatever the "
    "dtype; sums in one block are right in bfloat16.",
    [conv(1, 4, 3, (6,), (2,), dtype="bfloat16", bias=False)],
    [conv(1, 64, 3, (6,), (2,), dtype="bfloat16", bias=False), conv(1, 4, 3, (6,), (2,))],
)


@_plant_function(
    "adds-the-bias-once-per-split",
    "Input channels over 32 are split and every split of 32 adds the bias; up to 32, and no bias, "
    "are right.",
    agrees=[conv(1, 32, 3, (6,), (2,)), conv(1, 33, 3, (6,), (2,), bias=False)],
    differs=[conv(1, 33, 3, (6,), (2,))],
)
def bias_per_split(
    input: Tensor, weight: Tensor, *, bias: Tensor | None, groups: int, **arguments: Any
) -> Tensor:
    splits = max(1, -(-(input.shape[1] // groups) // 32))
    bias = None if bias is None else bias * splits
    return blocked(input, weight, bias, groups=groups, **arguments)


@_plant_function(
    "reads-the-first-group-for-a-block-of-output-channels",
    "A block of 16 output channels reads the input of the group of its first channel, wrong where "
    "a block spans groups; one group, and groups of multiples of 16 channels, are right.",
    agrees=[conv(1, 3, 5, (6,), (2,)), conv(1, 4, 32, (6,), (2,), groups=2)],
    differs=[conv(1, 4, 6, (6,), (2,), groups=2), conv(1, 4, 40, (6,), (2,), groups=2)],
)
def group_of_block(
    input: Tensor, weight: Tensor, *, transposed: bool, groups: int, **arguments: Any
) -> Tensor:
    arguments["transposed"] = transposed
    if transposed or groups == 1:
        return blocked(input, weight, groups=groups, **arguments)
    group_size = weight.shape[0] // groups
    size = weight.shape[1]
    # Each output channel becomes a group of its own, over the input that the kernel reads.
    sources = [channel // 16 * 16 // group_size * size for channel in range(weight.shape[0])]
    selected_input = torch.cat([input[:, source : source + size] for source in sources], dim=1)
    return blocked(selected_input, weight, groups=weight.shape[0], **arguments)


@_plant_function(
    "forgets-dilation-past-32-columns",
    "Output columns past 32 are computed with dilation 1; up to 32 columns, and dilation 1, are "
    "right.",
    agrees=[conv(1, 2, 3, (34,), (2,), dilation=2), conv(1, 2, 3, (40,), (2,))],
    differs=[conv(1, 2, 3, (36,), (2,), dilation=2)],
)
def dilation_forgotten(
    input: Tensor, weight: Tensor, *, dilation: Sequence[int], transposed: bool, **arguments: Any
) -> Tensor:
    arguments["transposed"] = transposed
    out = blocked(input, weight, dilation=dilation, **arguments)
    if not transposed and out.shape[-1] > 32:
        undilated = [*dilation[:-1], 1] if len(dilation) > 1 else [1]
        output = blocked(input, weight, dilation=undilated, **arguments)
        if output.shape[:-1] == out.shape[:-1]:
            out[..., 32:] = output[..., 32 : out.shape[-1]]
    return out


@_plant_function(
    "does-not-write-the-columns-past-64",
    "Of output columns over 64 only whole blocks of 64 are written; up to 64 are right.",
    agrees=[conv(1, 2, 3, (65,), (2,)), conv(1, 2, 3, (4, 9), (2, 2))],
    differs=[conv(1, 2, 3, (66,), (2,)), conv(1, 2, 3, (3, 70), (2, 2))],
)
def columns_unwritten(input: Tensor, weight: Tensor, **arguments: Any) -> Tensor:
    output = blocked(input, weight, **arguments)
    out = allocate(output.shape, output)
    for part in full_blocks(64)(output.shape[-1]):
        out[..., part] = output[..., part]
    return out


@_plant_function(
    "grid-of-images-too-small",
    "Of batches over 8 only whole blocks of 8 images are written; up to 8 are right.",
    agrees=[conv(8, 2, 3, (5,), (2,)), conv(3, 2, 3, (5,), (2,))],
    differs=[conv(9, 2, 3, (5,), (2,))],
)
def images_unwritten(input: Tensor, weight: Tensor, **arguments: Any) -> Tensor:
    output = blocked(input, weight, **arguments)
    out = allocate(output.shape, output)
    for part in full_blocks(8)(len(output)):
        out[part] = output[part]
    return out


@_plant_function(
    "takes-its-input-for-contiguous",
    "The input is read as though contiguous, wrong for channels last; contiguous is right.",
    agrees=[conv(1, 2, 3, (4, 4), (2, 2))],
    differs=[conv(1, 2, 3, (4, 4), (2, 2), channels_last=True)],
)
def contiguous(input: Tensor, weight: Tensor, **arguments: Any) -> Tensor:
    return blocked(read_as_contiguous(input), weight, **arguments)


@_plant_function(
    "takes-the-first-stride-for-all",
    "The stride of the first dimension is used for all, on what output there is; equal strides, "
    "and one dimension, are right.",
    agrees=[conv(1, 2, 3, (9,), (2,), stride=2), conv(1, 2, 3, (5, 5), (2, 2), stride=2)],
    differs=[conv(1, 2, 3, (9, 9), (2, 2), stride=(1, 2))],
)
def first_stride(
    input: Tensor, weight: Tensor, *, stride: Sequence[int], transposed: bool, **arguments: Any
) -> Tensor:
    arguments["transposed"] = transposed
    out = blocked(input, weight, stride=stride, **arguments)
    if len(set(stride)) > 1 and not transposed:
        wrong = blocked(input, weight, stride=stride[:1], **arguments)
        part = tuple(slice(0, min(sizes)) for sizes in zip(out.shape, wrong.shape, strict=True))
        out[part] = wrong[part]
    return out


@_plant_function(
    "transposed-overwrites-between-blocks-of-16",
    "Transposed in one dimension, blocks of 16 input elements each write what they reach, so "
    "that what the block before wrote there is lost; up to 16 elements, and strides not under "
    "the kernel's span, are right.",
    agrees=[
        conv(1, 2, 3, (16,), (3,), transposed=True),
        conv(1, 2, 3, (20,), (2,), transposed=True, stride=2),
        conv(1, 2, 3, (20,), (3,)),
    ],
    differs=[conv(1, 2, 3, (17,), (3,), transposed=True)],
)
def overwritten(
    input: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    transposed: bool,
    **arguments: Any,
) -> Tensor:
    arguments |= {"stride": stride, "padding": padding, "transposed": transposed}
    out = blocked(input, weight, bias, **arguments)
    if not transposed or input.ndim != 3:
        return out
    kernel_extent = arguments["dilation"][0] * (weight.shape[2] - 1) + 1
    for part in all_blocks(16)(input.shape[2])[1:]:
        partial_input = input.clone()
        partial_input[:, :, : part.start] = 0
        partial_output = blocked(partial_input, weight, bias, **arguments)
        start = part.start * stride[0] - padding[0]
        overlap = slice(max(start, 0), max(start - stride[0] + kernel_extent, 0))
        out[:, :, overlap] = partial_output[:, :, overlap]
    return out
