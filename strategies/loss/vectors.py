"""Cases of the losses that compare vectors: pairs with a label of ±1, and triplets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.distance.vectors import lengths, relations, vector_pair
from conformance.strategies.loss.hinge import label_kinds, random_signs, reductions
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

_batch_sizes = st.sampled_from((1, 2, 3, 4, 5, 0, 17))
_unbatched = st.sampled_from((False, False, False, True))
COSINE = "cosine_similarity"
_margins = st.sampled_from((0.0, 0.0, 0.5, 1.0, -0.5, 0.1))


def _draw_shape(draw: Draw) -> tuple[int, ...]:
    length = draw(lengths)
    return (length,) if draw(_unbatched) else (draw(_batch_sizes), length)


@composite
def cosine_embeddings(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the cosine embedding loss.

    Args:
        layer: `"CosineEmbeddingLoss"` or `"functional.cosine_embedding_loss"`.
    """
    shape, relation, kind = _draw_shape(draw), draw(relations), draw(label_kinds)
    values = {"margin": draw(_margins), "reduction": draw(reductions)}
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    filler = Filler(regime, dtype, seed, shape[-1])
    x1, x2 = vector_pair(filler, relation, shape, -1)
    arrays = x1, x2, random_signs(kind, shape[:-1], filler.generator)
    arguments = writer.explicit_arguments(values, {"margin": 0.0, "reduction": "mean"})
    case_labels = {"profile": relation, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), arrays, labels=case_labels, seed=seed)


# Which of a triplet's vectors are equal, in about half of the samples.
equal_pairs = st.sampled_from(
    ("none", "none", "anchor, positive", "anchor, negative", "positive, negative", "all")
)
_triplet_margins = st.sampled_from((1.0, 1.0, 0.5, 0.1, 3.0, 16.0))
_distance_functions = st.sampled_from((None, None, "pairwise_distance", COSINE))
_norms = st.sampled_from((2.0, 2.0, 1.0, math.inf, 3.0))
_eps = st.sampled_from((1e-6, 1e-6, 0.0, 0.25))


def _draw_triplet(
    filler: Filler, equal_pair: str, shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    anchor, positive, negative = (filler.operand(*shape) for _ in range(3))
    is_equal = filler.generator.integers(0, 2, (*shape[:-1], 1)) == 1
    is_equal.reshape(-1)[:1] = True
    if equal_pair in ("anchor, positive", "all"):
        positive = np.where(is_equal, anchor, positive)
    if equal_pair in ("anchor, negative", "all"):
        negative = np.where(is_equal, anchor, negative)
    if equal_pair == "positive, negative":
        negative = np.where(is_equal, positive, negative)
    return anchor, positive, negative


@composite
def triplets(draw: Draw, layer: str, dtype: str, *, distance: bool) -> Case:
    """Cases of the triplet losses.

    Args:
        distance: the layer takes a distance function in place of a norm.
    """
    norm_arguments: dict[str, Any] = (
        {"distance_function": draw(_distance_functions)}
        if distance
        else {"p": draw(_norms), "eps": draw(_eps)}
    )
    uses_cosine = norm_arguments.get("distance_function") == COSINE
    # cosine_similarity needs a batch of vectors: its default axis is 1.
    shape = (draw(_batch_sizes), draw(lengths)) if uses_cosine else _draw_shape(draw)
    equal_pair = draw(equal_pairs)
    values: dict[str, Any] = {
        "margin": draw(_triplet_margins),
        **norm_arguments,
        "swap": draw(st.booleans()),
        "reduction": draw(reductions),
    }
    norm_defaults = {"distance_function": None} if distance else {"p": 2.0, "eps": 1e-6}
    defaults = {"margin": 1.0, **norm_defaults, "swap": False, "reduction": "mean"}
    arguments = ArgumentWriter(draw(masks)).explicit_arguments(values, defaults)
    regime, seed = draw(sum_regimes), draw(seeds)
    # With 4 terms per component the sum of squared differences of integers is exact.
    filler = Filler(regime, dtype, seed, 4 * shape[-1])
    case_labels = {"profile": equal_pair, "regime": regime}
    arrays = _draw_triplet(filler, equal_pair, shape)
    if uses_cosine:
        arrays = tuple(np.abs(x) for x in arrays)
    call = Call(layer, arguments, {}, dtype, "cpu")
    return Case(call, arrays, labels=case_labels, seed=seed)
