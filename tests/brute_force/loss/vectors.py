"""The losses of vectors as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from brute_force.distance import distance, similarity
from brute_force.loss.parts import reduce_losses
from conformance.model.case import Case

LOSSES = (
    "CosineEmbeddingLoss",
    "cosine_embedding_loss",
    "TripletMarginLoss",
    "triplet_margin_loss",
    "TripletMarginWithDistanceLoss",
    "triplet_margin_with_distance_loss",
)


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The loss of a case."""
    arguments: Any = dict(case.call.arguments)
    first, second, third = (x for x in case.inputs if x is not None)
    losses = np.zeros(first.shape[:-1])
    for position in np.ndindex(losses.shape):
        if "osine" in case.call.layer:
            cosine = float(similarity(first[position], second[position], 0, 1e-8))
            margin = arguments.get("margin", 0.0)
            losses[position] = 1 - cosine if third[position] == 1 else max(0.0, cosine - margin)
            continue
        p, eps = arguments.get("p", 2.0), arguments.get("eps", 1e-6)

        cosine = arguments.get("distance_function") == "cosine_similarity"

        def compute_distance(
            x: np.ndarray, y: np.ndarray, p: float = p, eps: float = eps, cosine: bool = cosine
        ) -> float:
            if cosine:
                return float(similarity(x, y, 0, 1e-8))
            return float(distance(x, y, p, eps, False))

        near, far = (
            compute_distance(first[position], second[position]),
            compute_distance(first[position], third[position]),
        )
        if arguments.get("swap", False):
            far = min(far, compute_distance(second[position], third[position]))
        losses[position] = (
            math.nan
            if math.isnan(near - far)
            else max(0.0, near - far + arguments.get("margin", 1.0))
        )
    return (reduce_losses(losses, arguments.get("reduction", "mean")),)
