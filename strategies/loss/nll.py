"""Cases of the negative log likelihood: logarithms of probabilities with class indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.loss.cross_entropy import (
    REGIMES,
    LossFiller,
    draw_scores_shape,
    drop_axis,
    flags,
    ignorings,
    reductions,
    shares,
    weighted_case,
)
from conformance.strategies.values import seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.model.formats import round_to

# `logits` are log probabilities; the others have numbers of either sign, which are valid, too.
regimes = st.sampled_from((*REGIMES, "logits", "logits"))


def _log_softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    shifted = logits - logits.max(axis=axis, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


@composite
def log_likelihoods(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of the negative log likelihood.

    Args:
        layer: `"NLLLoss"` or `"functional.nll_loss"`.
    """
    shape = draw_scores_shape(draw)
    axis = 0 if len(shape) == 1 else 1
    has_weight, reduction = draw(flags), draw(reductions)
    ignoring, share = draw(ignorings), draw(shares)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)
    filler = LossFiller(regime, dtype, seed)
    ignored = shape[axis] - 1 if ignoring == "class" else ignoring
    x = filler.logits(shape, axis)
    if regime == "logits":
        x = round_to(_log_softmax(x, axis) if x.size else x, dtype)
    target = filler.indices(drop_axis(shape, axis), shape[axis], ignored, share)
    weight = filler.weights(shape[axis]) if has_weight else None
    values = {"ignore_index": ignored, "reduction": reduction}
    defaults = {"ignore_index": -100, "reduction": "mean"}
    arguments: dict[str, Any] = writer.explicit_arguments(values, defaults)
    labels = {"profile": "weighted" if has_weight else "plain", "regime": regime}
    return weighted_case(layer, dtype, (x, target), weight, arguments, labels, seed)
