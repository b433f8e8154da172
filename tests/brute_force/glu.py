"""The gated linear unit as plain loops, from the documentation alone."""

from __future__ import annotations

import math

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    (x,), dim = case.inputs, case.call.arguments.get("dim", -1)
    assert x is not None
    dim = dim + x.ndim if dim < 0 else dim
    half = x.shape[dim] // 2
    output = np.zeros((*x.shape[:dim], half, *x.shape[dim + 1 :]))
    for position in positions(output.shape):
        gate = float(x[(*position[:dim], position[dim] + half, *position[dim + 1 :])])
        output[position] = float(x[position]) * _sigmoid(gate)
    return (output,)


def _sigmoid(x: float) -> float:
    if x < 0:
        exponential = math.exp(x)
        return exponential / (1 + exponential)
    return 1 / (1 + math.exp(-x))
