"""The losses over classes by margins as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from brute_force.loss.parts import reduced
from conformance.model.case import Case

LOSSES = (
    "MultiMarginLoss",
    "multi_margin_loss",
    "MultiLabelMarginLoss",
    "multilabel_margin_loss",
    "MultiLabelSoftMarginLoss",
    "multilabel_soft_margin_loss",
)


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The loss of a case."""
    given: Any = dict(case.call.arguments)
    x, target, *rest = case.inputs
    assert x is not None
    assert target is not None
    weight = rest[0] if rest else case.call.state.get("weight")
    name = case.call.layer.lower().replace("_", "")
    losses = np.zeros(x.shape[:-1])
    for at in np.ndindex(losses.shape):
        scores = [float(v) for v in x[at]]
        weights = [1.0] * len(scores) if weight is None else [float(w) for w in weight]
        if "soft" in name:
            found = _soft(scores, [float(y) for y in target[at]], weights)
        elif "label" in name:
            found = _labelled(scores, [int(y) for y in target[at]])
        else:
            p, margin = given.get("p", 1), given.get("margin", 1.0)
            found = _one(scores, int(target[at]), weights, p, margin)
        losses[at] = found / len(scores)
    return (reduced(losses, given.get("reduction", "mean")),)


def _one(scores: list[float], label: int, weights: list[float], p: int, margin: float) -> float:
    beyond = [max(0.0, margin - scores[label] + x) ** p for x in scores]
    del beyond[label]
    return weights[label] * math.fsum(beyond)


def _labelled(scores: list[float], target: list[int]) -> float:
    labels = target[: target.index(-1)] if -1 in target else target
    others = [k for k in range(len(scores)) if k not in labels]
    return math.fsum(max(0.0, 1 - (scores[y] - scores[k])) for y in labels for k in others)


def _soft(scores: list[float], target: list[float], weights: list[float]) -> float:
    signed = [x if y == 0 else -x for x, y in zip(scores, target, strict=True)]
    losses = [max(z, 0.0) + math.log1p(math.exp(-abs(z))) for z in signed]
    return math.fsum(w * x for w, x in zip(weights, losses, strict=True))
