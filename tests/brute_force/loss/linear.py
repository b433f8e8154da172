"""The cross entropy of a linear map as plain loops over the logits."""

from __future__ import annotations

import numpy as np

from brute_force.loss.cross_entropy import cross_entropy
from conformance.model.case import Case, is_function

LOSSES = ("LinearCrossEntropyLoss", "linear_cross_entropy")


def logits(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """(N, C, d_1, …, d_K) of (N, in_features), (C, …) of (in_features)."""
    rows = x if x.ndim == 2 else x[None]
    output = np.zeros((len(rows), *weight.shape[:-1]))
    for n, *place in np.ndindex(output.shape):
        total = 0.0 if bias is None else float(bias[tuple(place)])
        for k in range(x.shape[-1]):
            total += float(rows[n, k]) * float(weight[(*place, k)])
        output[(n, *place)] = total
    return output if x.ndim == 2 else output[0]


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of these layers."""
    arguments = dict(case.call.arguments)
    if is_function(case.call.layer):
        x, weight, target, bias, shares = (*case.inputs, None, None)[:5]
    else:
        x, target = case.inputs
        shape = (arguments.pop("num_classes"), *arguments.pop("out_features", ()))
        weight = case.call.state["linear.weight"].reshape(*shape, arguments.pop("in_features"))
        bias, shares = case.call.state.get("linear.bias"), case.call.state.get("weight")
        bias = bias if bias is None else bias.reshape(shape)
        arguments.pop("bias", None)
    assert x is not None
    assert weight is not None
    assert target is not None
    arguments.pop("options", None)
    ignored = arguments.pop("ignore_index", None)
    if ignored is not None:
        arguments["ignore_index"] = ignored
    return (cross_entropy(logits(x, weight, bias), target, shares, **arguments),)
