"""Cases of Flatten, Unflatten and shuffles of channels and pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# Flatten's default begins at the second axis, which ranks 0 and 1 do not have.
_RANKS = st.sampled_from((2, 3, 4, 1, 5, 0))
_SOME_RANKS = st.sampled_from((1, 2, 3, 4))
_CHANNEL_RANKS = st.sampled_from((4, 4, 3, 5))
lengths = st.sampled_from((1, 2, 3, 4, 5))
# 17 is longer than a vector register.
_PARTS = st.sampled_from((1, 2, 3, 4, 5, 17))
_PARTITIONS = st.lists(_PARTS, min_size=1, max_size=4)
_GROUPS = st.sampled_from((1, 2, 3, 4, 5, 8, 17))
_BATCHES = st.sampled_from((1, 2, 3, 4))
_SPACES = st.sampled_from((1, 2, 3, 5))
# Factors from 3 on reveal swapped rows and columns of a pixel, and a wrong order of channels.
_FACTORS = st.sampled_from((1, 2, 3, 3, 4, 5))
_DEPTHS = st.sampled_from((1, 2, 3))
_LEADING = st.sampled_from((1, 1, 0, 2, 3))
_LONG = st.sampled_from((1, 2, 3, 5, 17))
yes_no = st.booleans()
_SELDOM = st.sampled_from((False, False, False, True))
_EMPTY = st.integers(0, 7)


def _with_empty_axis(draw: Draw, sizes: list[int]) -> list[int]:
    """The sizes, one of them set to 0 in one case of eight: an empty array shows little."""
    if sizes and draw(_EMPTY) == 7:
        sizes[draw(st.integers(0, len(sizes) - 1))] = 0
    return sizes


def _case(
    draw: Draw, layer: str, dtype: str, shape: tuple[int, ...], arguments: dict[str, Any]
) -> Case:
    """Draw a case of the shape, with floating-point numbers or integers."""
    integer, regime, seed = draw(_SELDOM), draw(regimes), draw(seeds)
    x = Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    if integer:
        x = np.asarray(np.random.default_rng(seed).integers(-(2**62), 2**62, shape))
    labels = {"profile": "integer" if integer else "plain", "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)


@composite
def flattens(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of Flatten: any range of axes, each end counted from either side."""
    rank = draw(_RANKS)
    shape, axes = tuple(_with_empty_axis(draw, [draw(lengths) for _ in range(rank)])), max(rank, 1)
    first, last = min(1, axes - 1), axes - 1
    if draw(yes_no):
        first = draw(st.integers(0, last))
    if draw(yes_no):
        last = draw(st.integers(first, last))
    start = first - axes if draw(yes_no) else first
    end = last if draw(yes_no) else last - axes
    writer = ArgumentWriter(draw(masks))
    arguments = writer.explicit_arguments(
        {"start_dim": start, "end_dim": end}, {"start_dim": 1, "end_dim": -1}
    )
    return _case(draw, layer, dtype, shape, arguments)


@composite
def unflattens(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of Unflatten: an axis split into one to four parts, one of them perhaps inferred."""
    rank, parts = draw(_SOME_RANKS), list(draw(_PARTITIONS))
    axis = draw(st.integers(0, rank - 1))
    shape, parts = [draw(lengths) for _ in range(rank)], _with_empty_axis(draw, parts)
    if math.prod(parts) > 1000:
        parts = [min(part, 3) for part in parts]
    shape[axis] = math.prod(parts)
    sizes, inferred_part = list(parts), draw(st.integers(0, 2 * len(parts) - 1)) - len(parts)
    if inferred_part >= 0 and math.prod((*parts[:inferred_part], *parts[inferred_part + 1 :])):
        sizes[inferred_part] = -1
    dim = axis - rank if draw(yes_no) else axis
    listed = draw(_SELDOM)
    arguments = {"dim": dim, "unflattened_size": list(sizes) if listed else tuple(sizes)}
    return _case(draw, layer, dtype, tuple(shape), arguments)


@composite
def shuffles(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of `"ChannelShuffle"` and its function: a sequence, an image or a volume."""
    rank, groups, size = draw(_CHANNEL_RANKS), draw(_GROUPS), draw(_PARTS)
    space = [draw(_SPACES) for _ in range(rank - 2)]
    batch, size, *space = _with_empty_axis(draw, [draw(_BATCHES), size, *space])
    return _case(draw, layer, dtype, (batch, groups * size, *space), {"groups": groups})


@composite
def pixels(draw: Draw, layer: str, factor: str, shuffle: bool, dtype: str) -> Case:
    """Cases of the shuffle of pixels and its inverse: images with any number of leading axes.

    Args:
        layer: `"PixelShuffle"`, `"functional.pixel_unshuffle"`, …
        factor: name of the argument.
        shuffle: channels become pixels; otherwise pixels become channels.
    """
    r, depth = draw(_FACTORS), draw(_DEPTHS)
    leading = [draw(_BATCHES) for _ in range(draw(_LEADING))]
    sizes = _with_empty_axis(draw, [*leading, depth, draw(_SPACES), draw(_LONG)])
    *leading, depth, high, wide = sizes
    inner = (depth * r * r, high, wide) if shuffle else (depth, high * r, wide * r)
    return _case(draw, layer, dtype, (*leading, *inner), {factor: r})
