"""Sliding blocks of an image: extracting them, and summing them to an image.

Sources: the pages torch.nn.Unfold and torch.nn.Fold, to which those of the functions refer. Their
formulas have any number of spatial dimensions; the pages say that two are supported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.choices import take
from conformance.arithmetic.rounded import Rounded, move_cotangent, multilinear, with_pullback
from conformance.oracles.convolution import per_dimension

Shape = tuple[int, ...]
Size = int | Sequence[int]
State = Mapping[str, Rounded]
DIMS = 2


@dataclass(frozen=True)
class Blocks:
    """The positions of the blocks of an image.

    Args:
        lengths: the image's height and width.
        kernel, dilation, padding, stride: one number for each dimension.
    """

    lengths: Shape
    kernel: Shape
    dilation: Shape
    padding: Shape
    stride: Shape

    @classmethod
    def of(
        cls, lengths: Sequence[int], kernel_size: Size, dilation: Size, padding: Size, stride: Size
    ) -> Blocks:
        """The blocks for a layer's arguments; an int stands for both dimensions."""
        sizes = (per_dimension(size, DIMS) for size in (kernel_size, dilation, padding, stride))
        return cls(tuple(lengths), *sizes)

    @property
    def counts(self) -> Shape:
        """⌊(spatial_size + 2·padding − dilation·(kernel_size − 1) − 1)/stride + 1⌋ by dimension."""
        rows = zip(self.lengths, self.kernel, self.dilation, self.padding, self.stride, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in rows)

    @property
    def tap_count(self) -> int:
        """∏ kernel_size, the number of positions in a block."""
        return math.prod(self.kernel)

    @property
    def block_count(self) -> int:
        """L, the number of blocks."""
        return math.prod(self.counts)

    @property
    def pixel_index(self) -> tuple[np.ndarray, np.ndarray]:
        """The row-major pixel of each position of each block, and whether it is in the image.

        Both have the shape (∏ kernel_size, L).
        """
        index, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
        rows = zip(
            self.lengths, self.kernel, self.dilation, self.padding, self.stride, self.counts,
            strict=True,
        )  # fmt: skip
        for length, kernel, dilation, padding, stride, count in rows:
            positions = (
                np.arange(kernel)[:, np.newaxis] * dilation + np.arange(count) * stride - padding
            )
            within = (positions >= 0) & (positions < length)
            shape = index.shape[0] * kernel, index.shape[1] * count
            first, position = index[:, np.newaxis, :, np.newaxis], np.where(within, positions, 0)
            index = (first * length + position[:, np.newaxis]).reshape(shape)
            visible = inside[:, np.newaxis, :, np.newaxis] & within[:, np.newaxis]
            inside = visible.reshape(shape)
        return index, inside


def unfold(
    state: State,
    input: Rounded,
    *,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> Rounded:
    """(N, C, *) → (N, C·∏ kernel_size, L): the values of each block in a column.

    Values are copied; the padding is zero. The page has no unbatched image; torch treats one as a
    sample of a batch.
    """
    *leading, height, width = input.shape
    blocks = Blocks.of((height, width), kernel_size, dilation, padding, stride)
    index, inside = blocks.pixel_index
    flat = input.map(lambda array: array.reshape(*leading, height * width))
    columns = take(flat, index, -1, inside=inside)
    *batch, channels = leading
    shape = (*batch, channels * blocks.tap_count, blocks.block_count)
    return columns.map(lambda array: array.reshape(shape))


def unfold_shape(
    input: Shape, *, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> tuple[Shape, ...]:
    """(N, C, *) → (N, C·∏ kernel_size, L)."""
    *batch, channels, height, width = input
    blocks = Blocks.of((height, width), kernel_size, dilation, padding, stride)
    return ((*batch, channels * blocks.tap_count, blocks.block_count),)


def fold(
    state: State,
    input: Rounded,
    *,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> Rounded:
    """(N, C·∏ kernel_size, L) → (N, C, output_size): overlapping values are added up.

    A pixel in m blocks is a sum of m terms, added in the dtype in any order: m − 1 additions. A
    pixel in one block is a copy, a pixel in no block is 0.
    """
    lengths = per_dimension(output_size, DIMS)
    blocks = Blocks.of(lengths, kernel_size, dilation, padding, stride)
    index, inside = blocks.pixel_index
    *batch, depth, total = input.shape
    channels, pixels = depth // blocks.tap_count, math.prod(lengths)
    block_shape = (*batch, channels, blocks.tap_count, total)
    targets = np.where(inside, index, pixels).reshape(-1)  # beyond the image, to be cut off
    planes = math.prod((*batch, channels))

    def accumulate(add: np.ufunc, array: np.ndarray, start: float) -> np.ndarray:
        """Combine the values at each pixel by a ufunc."""
        canvas = np.full((pixels + 1, planes), start, array.dtype)
        add.at(canvas, targets, array.reshape(planes, blocks.tap_count * total).T)
        return canvas[:-1].T.reshape(*batch, channels, pixels)

    def scatter_sum(array: np.ndarray) -> np.ndarray:
        return accumulate(np.add, array, 0.0)

    def scatter_quanta(x: Rounded) -> np.ndarray:
        return accumulate(np.minimum, x.quanta, np.inf)

    def gather(array: np.ndarray) -> np.ndarray:
        pixel = array.reshape(*batch, channels, pixels)[..., np.where(inside, index, 0)]
        return np.where(inside, pixel, 0.0).reshape(block_shape).reshape(input.shape)

    counts = np.bincount(targets, minlength=pixels + 1)[:-1]
    max_overlap = max(int(counts.max(initial=1)), 1)
    summed = multilinear(
        scatter_sum, input.detached, terms=max(max_overlap - 1, 1), grain=scatter_quanta
    )
    error = np.where(counts > 1, summed.error, scatter_sum(input.error))
    (shape,) = fold_shape(input.shape, output_size=output_size, kernel_size=kernel_size)
    result = Rounded(summed.value.reshape(shape), error.reshape(shape), input.precision)
    return with_pullback(result, [input], lambda cotangent: [move_cotangent(cotangent, gather)])


def fold_shape(
    input: Shape,
    *,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> tuple[Shape, ...]:
    """(N, C·∏ kernel_size, L) → (N, C, output_size[0], output_size[1])."""
    *batch, depth, _ = input
    size = math.prod(per_dimension(kernel_size, DIMS))
    return ((*batch, depth // size, *per_dimension(output_size, DIMS)),)
