"""The losses of ±1 labels as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from brute_force.loss.parts import reduce_losses
from conformance.model.case import Case

LOSSES = (
    "HingeEmbeddingLoss",
    "hinge_embedding_loss",
    "MarginRankingLoss",
    "margin_ranking_loss",
    "SoftMarginLoss",
    "soft_margin_loss",
)


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The loss of a case."""
    arguments: Any = dict(case.call.arguments)
    *numbers, target = (x for x in case.inputs if x is not None)
    losses = np.zeros(target.shape)
    for position in np.ndindex(target.shape):
        x, y = [float(z[position]) for z in numbers], float(target[position])
        if "ranking" in case.call.layer.lower():
            losses[position] = max(0.0, -y * (x[0] - x[1]) + arguments.get("margin", 0.0))
        elif "hinge" in case.call.layer.lower():
            losses[position] = x[0] if y == 1 else max(0.0, arguments.get("margin", 1.0) - x[0])
        else:
            z = -y * x[0]
            losses[position] = max(z, 0.0) + math.log1p(math.exp(-abs(z)))
    return (reduce_losses(losses, arguments.get("reduction", "mean")),)
