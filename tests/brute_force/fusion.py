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
    given = case.call.arguments
    turned = bool(given.get("transpose", False))
    whole = np.swapaxes(weight, 0, 1) if turned else weight
    found, moved = np.zeros(whole.shape), np.zeros(len(mean))
    for k in range(len(mean)):
        root = math.sqrt(float(variance[k]) + given["bn_eps"])
        factor = (1.0 if gain is None else float(gain[k])) / root
        found[k] = whole[k] * factor
        moved[k] = ((0.0 if bias is None else bias[k]) - mean[k]) * factor
        moved[k] += 0.0 if shift is None else shift[k]
    return (np.swapaxes(found, 0, 1) if turned else found), moved
