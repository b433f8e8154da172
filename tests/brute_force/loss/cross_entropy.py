"""The cross entropy as plain loops, one sample at a time."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from brute_force.loss.parts import reduce_losses
from conformance.model.case import Case

LOSSES = ("CrossEntropyLoss", "cross_entropy")


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of these layers."""
    x, target, *other_inputs = case.inputs
    assert x is not None
    assert target is not None
    weight = other_inputs[0] if other_inputs else case.call.state.get("weight")
    return (cross_entropy(x, target, weight, **case.call.arguments),)


def cross_entropy(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> np.ndarray:
    """Each loss in turn; the mean of the documentation's own denominators."""
    has_probabilities = target.shape == x.shape
    if x.ndim == 1:
        batch = cross_entropy(
            x[None], target[None], weight, ignore_index, reduction, label_smoothing
        )
        return np.array(batch[0]) if reduction == "none" else batch
    count, classes, *places = x.shape
    losses = np.zeros((count, *places))
    denominator = 0.0
    for n, *place in product(range(count), *map(range, places)):
        logits = [float(x[(n, c, *place)]) for c in range(classes)]
        maximum = max(logits)
        log_sum = maximum + math.log(sum(math.exp(v - maximum) for v in logits))
        if has_probabilities:
            class_targets = [float(target[(n, c, *place)]) for c in range(classes)]
            denominator += 1.0
        else:
            index = int(target[(n, *place)])
            if index == ignore_index:
                continue
            class_targets = [1.0 if c == index else 0.0 for c in range(classes)]
            denominator += 1.0 if weight is None else float(weight[index])
        loss = 0.0
        for c in range(classes):
            smoothed = (1 - label_smoothing) * class_targets[c] + label_smoothing / classes
            loss -= (1.0 if weight is None else float(weight[c])) * smoothed * (logits[c] - log_sum)
        losses[(n, *place)] = loss
    return reduce_losses(losses, reduction, denominator)
