"""Cases of the cross entropy of a linear map: features, weights, and targets of either kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import (
    LossFiller,
    flags,
    kinds,
    reductions,
    shares,
    smoothings,
)
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function
from conformance.model.formats import round_to

features = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 64))
classes = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 33, 65))
batches = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 33, 0))
forms = st.sampled_from(("rows", "rows", "rows", "unbatched", "positions"))
positions = st.lists(st.sampled_from((1, 2, 3, 4)), min_size=1, max_size=2).map(tuple)
biases = st.sampled_from((False, True))
# None is torch's reference code; with options it processes the batch in chunks.
options = st.sampled_from(
    (
        None,
        None,
        (),
        (("batch_chunk_size", 1),),
        (("batch_chunk_size", 2),),
        (("batch_chunk_size", 3), ("acc_policy", "accurate")),
        (("chunking_method", "aspect_ratio"),),
        (("chunking_method", "aspect_ratio:4"), ("acc_policy", "compact")),
        (("acc_policy", "compact"), ("allow_retain_graph", True)),
    )
)
# The ignored index: left out, cross_entropy's default, a class, or an index out of range.
ignored_indices = st.sampled_from((None, None, -100, "class", -1, 255))
REGIMES = ("integers", "saturated", "normal", "spread", "tiny")
regimes = st.sampled_from(REGIMES)


class LinearOperands:
    """Input, weight and bias of one linear map.

    Args:
        rows: leading shape of the input.
        classes, features: their numbers.
        positions: sizes (d_1, …, d_K) of a K-dimensional loss.
    """

    def __init__(
        self,
        filler: LossFiller,
        rows: tuple[int, ...],
        classes: int,
        positions: tuple[int, ...],
        features: int,
    ) -> None:
        self.numbers, draw = filler, filler.generator
        shape = (classes, *positions, features)
        if filler.regime == "saturated":
            # Each row is one-hot, and the logits of a feature are far apart.
            hot_features = draw.integers(features, size=rows)
            self.x = np.eye(features)[hot_features]
            self.weight = filler.logits(shape, 0)
        elif filler.exact:
            self.x = draw.integers(-2, 2, (*rows, features), endpoint=True).astype(np.float64)
            self.weight = draw.integers(-1, 1, shape, endpoint=True).astype(np.float64)
        else:
            scale = 1 / math.sqrt(features)
            self.x = round_to(draw.standard_normal((*rows, features)), filler.dtype)
            self.weight = round_to(filler.logits(shape, 0) * scale, filler.dtype)
        self.shape = shape

    def bias(self) -> np.ndarray:
        """Fill the bias (C, d_1, …, d_K), with integers where the logits are integers."""
        if self.numbers.regime == "saturated":
            return np.zeros(self.shape[:-1])
        return self.numbers.logits(self.shape[:-1], 0)


@composite
def linear_cross_entropies(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the loss.

    Args:
        layer: `"LinearCrossEntropyLoss"` or `"functional.linear_cross_entropy"`.
    """
    form = draw(forms)
    rows = () if form == "unbatched" else (draw(batches),)
    count, width = draw(classes), draw(features)
    position_sizes = draw(positions) if form == "positions" else ()
    has_bias, kind, has_weight = draw(biases), draw(kinds), draw(flags)
    chunk_options, uses_chunks = draw(options), draw(flags)
    reduction, smoothing = draw(reductions), draw(smoothings)
    ignoring, share = draw(ignored_indices), draw(shares)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    if position_sizes:
        count = min(count, 5)
    if chunk_options is not None and uses_chunks:
        # Torch uses chunks only with class indices, without smoothing and positions.
        position_sizes, kind, smoothing = (), "indices", 0.0
    filler = LossFiller(regime, dtype, seed)
    operands = LinearOperands(filler, rows, count, position_sizes, width)
    ignored: int | None = count - 1 if ignoring == "class" else ignoring
    if kind == "probabilities":
        ignored = None
        target = filler.probabilities((*rows, count, *position_sizes), len(rows))
    else:
        ignored_class = -100 if ignored is None else ignored
        target = filler.indices((*rows, *position_sizes), count, ignored_class, share)
    weight = filler.weights(count) if has_weight else None
    bias = operands.bias() if has_bias else None
    values: dict[str, Any] = {
        "reduction": reduction,
        "ignore_index": ignored,
        "label_smoothing": smoothing,
        "options": chunk_options,
    }
    defaults = {
        "reduction": "mean",
        "ignore_index": None,
        "label_smoothing": 0.0,
        "options": None,
    }
    arguments: dict[str, Any] = writer.explicit_arguments(values, defaults)
    labels = {"profile": form if chunk_options is None else "chunked", "regime": regime}
    if is_function(layer):
        inputs = (operands.x, operands.weight, target, bias, weight)
        return Case(Call(layer, arguments, {}, dtype, "cpu"), inputs, labels=labels, seed=seed)
    sizes: dict[str, Any] = {"in_features": width, "num_classes": count}
    sizes |= writer.explicit_arguments(
        {"out_features": position_sizes, "bias": has_bias}, {"out_features": (), "bias": False}
    )
    state = {} if weight is None else {"weight": weight}
    state["linear.weight"] = operands.weight.reshape(-1, width)
    if bias is not None:
        state["linear.bias"] = bias.reshape(-1)
    call = Call(layer, {**sizes, **arguments}, state, dtype, "cpu")
    return Case(call, (operands.x, target), labels=labels, seed=seed)
