"""The cross entropy of a linear map as plain loops over the logits."""

from __future__ import annotations

import numpy as np

from brute_force.loss.cross_entropy import cross_entropy
from conformance.model.case import Case, is_function

LOSSES = ("LinearCrossEntropyLoss", "linear_cross_entropy")


def logits(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """(N, C, d_1, …, d_K) of (N, in_features), (C, …) of (in_features)."""
    rows = x if x.ndim == 2 else x[None]
    found = np.zeros((len(rows), *weight.shape[:-1]))
    for n, *place in np.ndindex(found.shape):
        total = 0.0 if bias is None else float(bias[tuple(place)])
        for k in range(x.shape[-1]):
            total += float(rows[n, k]) * float(weight[(*place, k)])
        found[(n, *place)] = total
    return found if x.ndim == 2 else found[0]


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of these layers."""
    given = dict(case.call.arguments)
    if is_function(case.call.layer):
        x, weight, target, bias, shares = (*case.inputs, None, None)[:5]
    else:
        x, target = case.inputs
        shape = (given.pop("num_classes"), *given.pop("out_features", ()))
        weight = case.call.state["linear.weight"].reshape(*shape, given.pop("in_features"))
        bias, shares = case.call.state.get("linear.bias"), case.call.state.get("weight")
        bias = bias if bias is None else bias.reshape(shape)
        given.pop("bias", None)
    assert x is not None
    assert weight is not None
    assert target is not None
    given.pop("options", None)
    ignored = given.pop("ignore_index", None)
    if ignored is not None:
        given["ignore_index"] = ignored
    return (cross_entropy(logits(x, weight, bias), target, shares, **given),)
