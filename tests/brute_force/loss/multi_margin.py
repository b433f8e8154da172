"""The losses over classes by margins as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from brute_force.loss.parts import reduce_losses
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
    arguments: Any = dict(case.call.arguments)
    x, target, *other_inputs = case.inputs
    assert x is not None
    assert target is not None
    weight = other_inputs[0] if other_inputs else case.call.state.get("weight")
    name = case.call.layer.lower().replace("_", "")
    losses = np.zeros(x.shape[:-1])
    for position in np.ndindex(losses.shape):
        scores = [float(v) for v in x[position]]
        weights = [1.0] * len(scores) if weight is None else [float(w) for w in weight]
        if "soft" in name:
            loss = _multi_label_soft_margin(scores, [float(y) for y in target[position]], weights)
        elif "label" in name:
            loss = _multi_label_margin(scores, [int(y) for y in target[position]])
        else:
            p, margin = arguments.get("p", 1), arguments.get("margin", 1.0)
            loss = _multi_margin(scores, int(target[position]), weights, p, margin)
        losses[position] = loss / len(scores)
    return (reduce_losses(losses, arguments.get("reduction", "mean")),)


def _multi_margin(
    scores: list[float], label: int, weights: list[float], p: int, margin: float
) -> float:
    hinges = [max(0.0, margin - scores[label] + x) ** p for x in scores]
    del hinges[label]
    return weights[label] * math.fsum(hinges)


def _multi_label_margin(scores: list[float], target: list[int]) -> float:
    labels = target[: target.index(-1)] if -1 in target else target
    other_classes = [k for k in range(len(scores)) if k not in labels]
    return math.fsum(max(0.0, 1 - (scores[y] - scores[k])) for y in labels for k in other_classes)


def _multi_label_soft_margin(
    scores: list[float], target: list[float], weights: list[float]
) -> float:
    signed = [x if y == 0 else -x for x, y in zip(scores, target, strict=True)]
    losses = [max(z, 0.0) + math.log1p(math.exp(-abs(z))) for z in signed]
    return math.fsum(w * x for w, x in zip(weights, losses, strict=True))
