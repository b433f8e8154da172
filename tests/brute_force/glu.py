"""The gated linear unit as plain loops, from the documentation alone."""

from __future__ import annotations

import math

import numpy as np

from brute_force.oracles import _positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    (x,), dim = case.inputs, case.call.arguments.get("dim", -1)
    assert x is not None
    dim = dim + x.ndim if dim < 0 else dim
    half = x.shape[dim] // 2
    found = np.zeros((*x.shape[:dim], half, *x.shape[dim + 1 :]))
    for at in _positions(found.shape):
        gate = float(x[(*at[:dim], at[dim] + half, *at[dim + 1 :])])
        found[at] = float(x[at]) * _sigmoid(gate)
    return (found,)


def _sigmoid(x: float) -> float:
    if x < 0:
        raised = math.exp(x)
        return raised / (1 + raised)
    return 1 / (1 + math.exp(-x))
