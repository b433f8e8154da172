"""The negative log likelihood as plain loops, one sample at a time."""

from __future__ import annotations

from itertools import product

import numpy as np

from brute_force.loss.parts import reduce_losses
from conformance.model.case import Case

LOSSES = ("NLLLoss", "nll_loss")


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of these layers."""
    x, target, *other_inputs = case.inputs
    assert x is not None
    assert target is not None
    weight = other_inputs[0] if other_inputs else case.call.state.get("weight")
    return (nll(x, target, weight, **case.call.arguments),)


def nll(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> np.ndarray:
    """Each loss in turn; the mean over the weights of those that are not ignored."""
    if x.ndim == 1:
        batch = nll(x[None], target[None], weight, ignore_index, reduction)
        return np.array(batch[0]) if reduction == "none" else batch
    count, _, *places = x.shape
    losses = np.zeros((count, *places))
    denominator = 0.0
    for n, *place in product(range(count), *map(range, places)):
        index = int(target[(n, *place)])
        if index == ignore_index:
            continue
        factor = 1.0 if weight is None else float(weight[index])
        losses[(n, *place)] = -factor * float(x[(n, index, *place)])
        denominator += factor
    return reduce_losses(losses, reduction, denominator)
