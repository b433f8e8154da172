"""Norms of gradients and clipping as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's outputs that are there."""
    arguments: dict[str, Any] = dict(case.call.arguments)
    name = case.call.layer.rpartition(".")[2]
    arrays = [x for x in case.inputs if x is not None]
    if name == "clip_grad_value_":
        return tuple(clip_values(x, float(arguments["clip_value"])) for x in arrays)
    if name == "clip_grads_with_norm_":
        return scale_to_norm(arrays[1:], float(arrays[0]), float(arguments["max_norm"]))
    total = norm(arrays, float(arguments.get("norm_type", 2.0)))
    if name == "get_total_norm":
        return (np.array(total),)
    return (np.array(total), *scale_to_norm(arrays, total, float(arguments["max_norm"])))


def norm(arrays: list[np.ndarray], p: float) -> float:
    """Of all elements as a single vector."""
    numbers = [abs(float(x)) for array in arrays for x in array.reshape(-1)]
    if p == math.inf:
        return max(numbers)
    return math.fsum(x**p for x in numbers) ** (1 / p)


def scale_to_norm(
    arrays: list[np.ndarray], total: float, max_norm: float
) -> tuple[np.ndarray, ...]:
    """Each element times the coefficient."""
    factor = min(max_norm / (total + 1e-6), 1.0)
    outputs = []
    for array in arrays:
        numbers = [float(x) * factor for x in array.reshape(-1)]
        outputs.append(np.array(numbers).reshape(array.shape))
    return tuple(outputs)


def clip_values(array: np.ndarray, limit: float) -> np.ndarray:
    """Element by element."""
    numbers = []
    for x in array.reshape(-1).tolist():
        if x > limit:
            numbers.append(limit)
        elif x < -limit:
            numbers.append(-limit)
        else:
            numbers.append(x)
    return np.array(numbers).reshape(array.shape)
