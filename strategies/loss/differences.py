"""Cases of losses of differences: L1, MSE, smooth L1, Huber."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import reductions
from conformance.strategies.loss.pointwise import (
    build_case,
    count_terms,
    draw_broadcast_shapes,
    draw_shape,
    yes_no,
)
from conformance.strategies.loss.pointwise import positive_weights as weights_of
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function
from conformance.model.formats import format_of, round_to

# About half of the differences are: unrelated; 0; exactly the edge, of either sign.
relations = st.sampled_from(("apart", "apart", "equal", "edge"))
_EDGES = {
    "beta": st.sampled_from((1.0, 1.0, 0.5, 2.0, 0.0, 0.1, 3.0, 0.0625, 10.0)),
    "delta": st.sampled_from((1.0, 1.0, 0.5, 2.0, 1.5, 0.1, 3.0, 0.0625, 10.0)),
}


@composite
def differences(draw: Draw, layer: str, dtype: str, *, edge: str, weights: bool) -> Case:
    """Cases of a loss of differences.

    Args:
        edge: name of the argument that says where a parabola becomes a line; empty = none.
        weights: whether the loss takes weights.
    """
    losses_shape = draw_shape(draw)
    first, second = draw_broadcast_shapes(draw, losses_shape)
    losses_shape = np.broadcast_shapes(first, second)
    reduction, relation = draw(reductions), draw(relations)
    has_weight = weights and draw(yes_no)
    edge_value = draw(_EDGES[edge]) if edge else 1.0
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    filler = Filler(regime, dtype, seed, count_terms(losses_shape))
    x, y = filler.operand(*first), filler.operand(*second)
    if relation != "apart" and first == second:
        y = _related_targets(filler, relation, x, y, edge_value)
    weight = None
    if has_weight:
        first = losses_shape  # with a weight, torch wants equal shapes and does not broadcast
        x = np.broadcast_to(x, losses_shape).copy()
        weight = weights_of(filler, losses_shape)
    values: dict[str, Any] = {"reduction": reduction}
    defaults: dict[str, Any] = {"reduction": "mean"}
    if edge:
        values[edge], defaults[edge] = edge_value, 1.0
    is_weight_input = is_function(layer) and weights
    inputs = (x, y, weight) if is_weight_input else (x, y)
    labels = {"profile": relation, "regime": regime}
    arguments = writer.explicit_arguments(values, defaults)
    return build_case(layer, dtype, arguments, inputs, labels, seed)


def _related_targets(
    filler: Filler, relation: str, x: np.ndarray, y: np.ndarray, edge_value: float
) -> np.ndarray:
    """Targets, about half of which differ from the input by 0 or by the edge."""
    generator = filler.generator
    is_related = generator.integers(0, 2, x.shape) == 1
    sign = np.where(generator.integers(0, 2, x.shape) == 1, edge_value, -edge_value)
    related = x if relation == "equal" else round_to(x + sign, filler.dtype)
    is_related &= np.abs(related) <= format_of(filler.dtype).largest
    return np.where(is_related, related, y)
