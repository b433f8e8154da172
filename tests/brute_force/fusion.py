"""A batch norm folded into weights as plain loops, from the documentation alone."""

from __future__ import annotations

import math

import numpy as np

from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The weight and the bias, each output's in turn."""
    weight, bias, mean, variance, gain, shift = (*case.inputs, None, None)[:6]
    assert weight is not None
    assert mean is not None
    assert variance is not None
    arguments = case.call.arguments
    transposed = bool(arguments.get("transpose", False))
    output_first = np.swapaxes(weight, 0, 1) if transposed else weight
    fused_weight, fused_bias = np.zeros(output_first.shape), np.zeros(len(mean))
    for k in range(len(mean)):
        root = math.sqrt(float(variance[k]) + arguments["bn_eps"])
        factor = (1.0 if gain is None else float(gain[k])) / root
        fused_weight[k] = output_first[k] * factor
        fused_bias[k] = ((0.0 if bias is None else bias[k]) - mean[k]) * factor
        fused_bias[k] += 0.0 if shift is None else shift[k]
    return (np.swapaxes(fused_weight, 0, 1) if transposed else fused_weight), fused_bias
