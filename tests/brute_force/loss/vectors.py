"""The losses of vectors as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from brute_force.distance import distance, similarity
from brute_force.loss.parts import reduced
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
    given: Any = dict(case.call.arguments)
    first, second, third = (x for x in case.inputs if x is not None)
    losses = np.zeros(first.shape[:-1])
    for at in np.ndindex(losses.shape):
        if "osine" in case.call.layer:
            cosine = float(similarity(first[at], second[at], 0, 1e-8))
            margin = given.get("margin", 0.0)
            losses[at] = 1 - cosine if third[at] == 1 else max(0.0, cosine - margin)
            continue
        p, eps = given.get("p", 2.0), given.get("eps", 1e-6)

        cosine = given.get("distance_function") == "cosine_similarity"

        def apart(
            x: np.ndarray, y: np.ndarray, p: float = p, eps: float = eps, cosine: bool = cosine
        ) -> float:
            if cosine:
                return float(similarity(x, y, 0, 1e-8))
            return float(distance(x, y, p, eps, False))

        near, far = apart(first[at], second[at]), apart(first[at], third[at])
        if given.get("swap", False):
            far = min(far, apart(second[at], third[at]))
        losses[at] = (
            math.nan if math.isnan(near - far) else max(0.0, near - far + given.get("margin", 1.0))
        )
    return (reduced(losses, given.get("reduction", "mean")),)
