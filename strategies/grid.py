"""Cases of affine_grid and grid_sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.rounded_sizes import COLUMNS, TURNS
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

ranks = st.sampled_from((4, 4, 4, 5))
batches = st.sampled_from((1, 2, 3))
samples = st.sampled_from((1, 2, 3, 0))
channels = st.sampled_from((1, 2, 3, 1, 17))
lengths = st.sampled_from((1, 2, 3, 4, 5, 8))
outputs = st.sampled_from((1, 2, 3, 4, 5))
yes_no = st.booleans()
corners = st.sampled_from((None, True, False, True))
# Whether an axis has a length for which floating point finds a wrong number of columns.
rounded = st.sampled_from((False,) * 7 + (True,))
MODES = {4: ("bilinear", "nearest", "bicubic"), 5: ("bilinear", "nearest")}
PADDINGS = ("zeros", "border", "reflection")

columns = st.sampled_from(COLUMNS)
turns = st.sampled_from(TURNS)

# identity: the columns of a unit matrix; integers; normal: anything.
matrices = st.sampled_from(("identity", "integers", "normal", "normal"))


@composite
def affine_grids(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of affine_grid."""
    rank, batch, kind = draw(ranks), draw(batches), draw(matrices)
    dims = rank - 2
    size = [batch, draw(channels), *(draw(lengths) for _ in range(dims))]
    aligned = draw(corners)
    if draw(rounded):
        size[draw(st.integers(2, rank - 1))], aligned = draw(columns)
    writer = ArgumentWriter(draw(masks))
    seed = draw(seeds)
    generator = np.random.default_rng(seed)
    shape = (batch, dims, dims + 1)
    if kind == "identity":
        theta = np.broadcast_to(np.eye(dims, dims + 1), shape).copy()
    elif kind == "integers":
        theta = generator.integers(-3, 3, shape, endpoint=True).astype(float)
    else:
        theta = round_to(generator.standard_normal(shape), dtype)
    arguments: dict[str, Any] = {"size": size if writer.next_bit() else tuple(size)}
    arguments |= writer.explicit_arguments({"align_corners": aligned}, {"align_corners": None})
    labels = {"profile": kind, "regime": kind}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (theta,), labels=labels, seed=seed)


# dyadic: eighths; anywhere: in and around the input; pixels: on its elements, some outside it;
# edges: at ±1 and next to it; far: so far out that a reflection repeats; turns: where it turns, on
# an axis so long that floating point counts the turns wrongly.
places = st.sampled_from(("dyadic", "anywhere", "anywhere", "pixels", "edges", "far", "turns"))


def grid_values(
    kind: str, shape: tuple[int, ...], space: tuple[int, ...], seed: int, dtype: str, aligned: bool
) -> np.ndarray:
    """A grid of sampling positions of one kind.

    Args:
        kind: one of `places`.
        space: spatial lengths of the input, in the order of its axes.
        dtype: format to which every number is rounded.
        aligned: ±1 are the centres of corner pixels.
    """
    generator = np.random.default_rng((seed, 1))
    if kind == "dyadic":
        grid = generator.integers(-11, 11, shape, endpoint=True) / 8
    elif kind == "pixels":
        parts = []
        for n in reversed(space):
            pixel = generator.integers(-2, n + 1, shape[:-1], endpoint=True)
            parts.append(2 * pixel / max(n - 1, 1) - 1 if aligned else (2 * pixel + 1) / n - 1)
        grid = np.stack(parts, -1)
    elif kind == "turns":
        grid = np.asarray(2 * generator.integers(-3, 3, shape) + 1, np.float64)
    elif kind == "edges":
        step = generator.choice([0.0, 2.0**-7, -(2.0**-7), 2.0**-9], shape)
        grid = generator.choice([-1.0, 1.0], shape) + step
    else:
        reach = 6.0 if kind == "far" else 1.4
        grid = generator.uniform(-reach, reach, shape)
    return round_to(np.asarray(grid, float), dtype)


@composite
def grid_samples(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of grid_sample."""
    rank, batch = draw(ranks), draw(samples)
    mode, padding = draw(st.sampled_from(MODES[rank])), draw(st.sampled_from(PADDINGS))
    aligned, kind, depth = draw(corners), draw(places), draw(channels)
    space = tuple(draw(lengths) for _ in range(rank - 2))
    output_lengths = tuple(draw(outputs) for _ in range(rank - 2))
    if rank == 5:
        space, output_lengths = (
            tuple(min(n, 4) for n in sizes) for sizes in (space, output_lengths)
        )
    if kind == "turns":
        axis, (span, _) = draw(st.integers(0, rank - 3)), draw(turns)
        space = (*space[:axis], span + bool(aligned), *space[axis + 1 :])
        padding = "reflection"
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    # 64: weights of dyadic positions are multiples of 1/8 in each of two dimensions.
    x = Filler(regime, dtype, seed, 64, factors=1).operand(batch, depth, *space)
    shape = (batch, *output_lengths, rank - 2)
    grid = grid_values(kind, shape, space, seed, dtype, bool(aligned))
    arguments = writer.explicit_arguments(
        {"mode": mode, "padding_mode": padding, "align_corners": aligned},
        {"mode": "bilinear", "padding_mode": "zeros", "align_corners": None},
    )
    labels = {"profile": kind, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x, grid), labels=labels, seed=seed)
