"""Cases of cosine similarity, and of distances between vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

# Two vectors: independent; one the negative of the other; equal; the first of them 0.
relations = st.sampled_from(("apart", "apart", "opposite", "equal", "nothing"))
HALF = ("bfloat16", "float16")
lengths = st.sampled_from((1, 2, 3, 4, 8, 17, 33, 65))
counts = st.sampled_from((1, 2, 3, 0, 4, 5))
yes_no = st.booleans()
_RANKS = st.sampled_from((2, 2, 3, 1, 4))
_COSINE_EPS = st.sampled_from((1e-8, 1e-8, 1e-6, 0.0, 0.5, 1e-12, 10.0))


def vector_pair(
    filler: Filler, relation: str, shape: tuple[int, ...], axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fill two arrays of vectors, about half of which have the relation.

    Args:
        relation: one of `relations`.
        shape: shape of both arrays.
        axis: axis along which the vectors lie.
    """
    x, y = filler.operand(*shape), filler.operand(*shape)
    if relation == "apart" or not x.size:
        return x, y
    vectors = [size for place, size in enumerate(shape) if place != axis % len(shape)]
    related = filler.generator.integers(0, 2, vectors) == 1
    related.reshape(-1)[:1] = True
    related = np.expand_dims(related, axis % len(shape))
    if relation == "nothing":
        return np.where(related, 0.0, x), y
    return x, np.where(related, x if relation == "equal" else -x, y)


@composite
def similarities(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of cosine similarity.

    Args:
        layer: `"CosineSimilarity"` or `"functional.cosine_similarity"`.
    """
    rank, length, relation = draw(_RANKS), draw(lengths), draw(relations)
    axis = 1 if rank > 1 and not draw(yes_no) else draw(st.integers(0, rank - 1))
    shape = [draw(counts) for _ in range(rank)]
    shape[axis] = length
    dim = axis - rank if draw(yes_no) and axis != 1 else axis
    sharing = draw(st.integers(0, 2))
    eps = draw(_COSINE_EPS)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    filler = Filler(regime, dtype, seed, length)
    x1, x2 = vector_pair(filler, relation, tuple(shape), axis)
    if sharing == 2 and rank > 1:
        # One vector broadcasts along another axis; a function also accepts fewer axes.
        shared_axis = 0 if axis else rank - 1
        x2 = x2.take(range(min(1, shape[shared_axis])), shared_axis)
        if is_function(layer) and shared_axis == 0 and shape[0] and writer.next_bit():
            x2 = x2[0]
            x1, x2 = (x2, x1) if writer.next_bit() else (x1, x2)
    arguments = writer.explicit_arguments({"dim": dim, "eps": eps}, {"dim": 1, "eps": 1e-8})
    labels = {"profile": relation, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x1, x2), labels=labels, seed=seed)


norms = st.sampled_from((2.0, 2.0, 1.0, math.inf, 3.0, 0.5, -1.0, 1.5))
_DISTANCE_EPS = st.sampled_from((1e-6, 1e-6, 0.0, 0.25, 1e-3))


@composite
def distances(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the distance between pairs of vectors.

    Args:
        layer: `"PairwiseDistance"` or `"functional.pairwise_distance"`.
    """
    length, relation, p = draw(lengths), draw(relations), draw(norms)
    shape = (draw(counts), length) if draw(st.integers(0, 3)) else (length,)
    eps, keepdim = draw(_DISTANCE_EPS), draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    # With 4 terms per component the sum of squared differences of integers is exact.
    filler = Filler(regime, dtype, seed, 4 * length)
    x1, x2 = vector_pair(filler, relation, shape, -1)
    values: dict[str, Any] = {"p": p, "eps": eps, "keepdim": keepdim}
    arguments = writer.explicit_arguments(values, {"p": 2.0, "eps": 1e-6, "keepdim": False})
    labels = {"profile": relation, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x1, x2), labels=labels, seed=seed)


_ROWS = st.sampled_from((1, 2, 3, 4, 2, 7, 0, 17))
_SOME_ROWS = st.sampled_from((2, 3, 4, 7, 17))
_WIDTHS = st.sampled_from((1, 2, 3, 8, 17, 0, 33))
_ORDERS = st.sampled_from((2.0, 2.0, 1.0, math.inf, 3.0, 0.0, 0.5, 1.5))


@composite
def pdists(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of pdist: the distances between all rows of a matrix."""
    # In half precision no empty output, which even a backend without such a kernel returns.
    rows = draw(_SOME_ROWS if dtype in HALF else _ROWS)
    width, p = draw(_WIDTHS), draw(_ORDERS)
    repeats_row = draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    filler = Filler(regime, dtype, seed, max(4 * width, 2 * rows))
    x = filler.operand(rows, width)
    if repeats_row and rows > 1:
        x[1] = x[0]
    arguments = writer.explicit_arguments({"p": p}, {"p": 2.0})
    labels = {"profile": "again" if repeats_row else "apart", "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)
