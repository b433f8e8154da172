"""Adaptive pooling, by maximum and by average.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the pages torch.nn.AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d,
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d and those of their functions in the PyTorch
documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.pooling.average import average_taps
from conformance.oracles.pooling.maximum import max_over_taps
from conformance.oracles.pooling.windows import Shape, Taps, combine_taps

State = Mapping[str, Rounded]
AdaptiveSize = int | Sequence[int | None] | None


def regions(length: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The regions of one dimension, [⌊i·L/o⌋, ⌈(i + 1)·L/o⌉) for i = 0, …, o − 1.

    The documentation only says that the output has the requested size, whatever the input's. These
    are torch's regions; they have equal sizes where o divides L.

    Args:
        length: L, of the input.
        outputs: o, the number of regions.

    Returns:
        For each region the position of each tap, and whether the region has that tap.
    """
    outputs_index = np.arange(outputs)
    starts, ends = (
        outputs_index * length // max(outputs, 1),
        -(-(outputs_index + 1) * length // max(outputs, 1)),
    )
    max_size = int((ends - starts).max(initial=1))
    places = starts[:, np.newaxis] + np.arange(max_size)
    return places, places < ends[:, np.newaxis]


def adaptive_avg_pool(
    dims: int, state: State, input: Rounded, *, output_size: AdaptiveSize
) -> Rounded:
    """The average of each region; None in `output_size` is the input's size.

    Args:
        dims: number of spatial dimensions.
        input: (N, C, *) or (C, *).
    """
    region_taps, counts = adaptive_taps(input.shape[-dims:], output_size)
    return average_taps(input, region_taps, counts)


def adaptive_avg_pool_shape(
    dims: int, input: Shape, *, output_size: AdaptiveSize
) -> tuple[Shape, ...]:
    """(*, H, W) → (*, S_0, S_1)."""
    return ((*input[:-dims], *adaptive_sizes(input[-dims:], output_size)),)


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (
    partial(adaptive_avg_pool, dims) for dims in (1, 2, 3)
)


def adaptive_sizes(sizes: Shape, output_size: AdaptiveSize) -> Shape:
    """The output's spatial sizes; None stands for the input's size."""
    requested = (
        output_size if isinstance(output_size, (tuple, list)) else (output_size,) * len(sizes)
    )
    return tuple(
        size if wanted is None else wanted for size, wanted in zip(sizes, requested, strict=True)
    )


def adaptive_taps(sizes: Shape, output_size: AdaptiveSize) -> tuple[Taps, np.ndarray]:
    """The taps of each region, and its number of elements.

    Args:
        sizes: the input's spatial sizes.
        output_size: as the argument.
    """
    axis_regions = [
        regions(n, o) for n, o in zip(sizes, adaptive_sizes(sizes, output_size), strict=True)
    ]
    places, insides = zip(*axis_regions, strict=True)
    region_taps = combine_taps(places, insides, sizes)
    return region_taps, region_taps.inside.sum(axis=1).astype(float)


def adaptive_max_pool(
    dims: int,
    state: State,
    input: Rounded,
    *,
    output_size: AdaptiveSize,
    return_indices: bool = False,
) -> tuple[Rounded | Choices, ...]:
    """The largest element of each region, and its index in the plane.

    Args:
        dims: number of spatial dimensions.
        input: (N, C, *) or (C, *).
    """
    region_taps, _ = adaptive_taps(input.shape[-dims:], output_size)
    return max_over_taps(input, region_taps, indices=return_indices)


def adaptive_max_pool_shape(
    dims: int, input: Shape, *, output_size: AdaptiveSize, return_indices: bool = False
) -> tuple[Shape, ...]:
    """(*, H, W) → (*, S_0, S_1), twice with the indices."""
    shape = (*input[:-dims], *adaptive_sizes(input[-dims:], output_size))
    return (shape, shape) if return_indices else (shape,)


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (
    partial(adaptive_max_pool, dims) for dims in (1, 2, 3)
)
