"""Cases of losses of differences: L1, MSE, smooth L1, Huber."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import Written, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import reductions
from conformance.strategies.loss.pointwise import called, shape, spread, terms, yes_no
from conformance.strategies.loss.pointwise import weights as weights_of
from conformance.strategies.values import Filler, regimes, seeds
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
    whole = shape(draw)
    first, second = spread(draw, whole)
    whole = np.broadcast_shapes(first, second)
    reduction, relation = draw(reductions), draw(relations)
    weighted = weights and draw(yes_no)
    at = draw(_EDGES[edge]) if edge else 1.0
    written = Written(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = Filler(regime, dtype, seed, terms(whole))
    x, y = filler.operand(*first), filler.operand(*second)
    if relation != "apart" and first == second:
        y = _related(filler, relation, x, y, at)
    weight = None
    if weighted:
        first = whole  # with a weight, torch wants equal shapes and does not broadcast
        x = np.broadcast_to(x, whole).copy()
        weight = weights_of(filler, whole)
    values: dict[str, Any] = {"reduction": reduction}
    defaults: dict[str, Any] = {"reduction": "mean"}
    if edge:
        values[edge], defaults[edge] = at, 1.0
    given = is_function(layer) and weights
    inputs = (x, y, weight) if given else (x, y)
    labels = {"profile": relation, "regime": regime}
    arguments = written.optional(values, defaults)
    return called(layer, dtype, arguments, inputs, labels, seed)


def _related(filler: Filler, relation: str, x: np.ndarray, y: np.ndarray, at: float) -> np.ndarray:
    """Targets, about half of which differ from the input by 0 or by the edge."""
    generator = filler.generator
    some = generator.integers(0, 2, x.shape) == 1
    sign = np.where(generator.integers(0, 2, x.shape) == 1, at, -at)
    other = x if relation == "equal" else round_to(x + sign, filler.dtype)
    some &= np.abs(other) <= format_of(filler.dtype).largest
    return np.where(some, other, y)
