"""Activations element by element."""

from __future__ import annotations

import math

import numpy as np

from conformance.model.case import Case


def _silu(x: float) -> float:
    return x / (1 + math.exp(-x)) if x > -700 else 0.0


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The output of a case of this family."""
    (x,) = case.inputs
    assert x is not None
    slope = case.call.arguments.get("negative_slope", 0.01)
    found = []
    for number in x.reshape(-1).tolist():
        match case.call.layer.rpartition(".")[2].lower():
            case "relu":
                found.append(number if number > 0 else 0.0)
            case "silu":
                found.append(_silu(number))
            case _:
                found.append(number if number > 0 else slope * number)
    return (np.array(found).reshape(x.shape),)
