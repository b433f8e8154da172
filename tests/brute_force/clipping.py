"""Norms of gradients and clipping as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's outputs that are there."""
    given: dict[str, Any] = dict(case.call.arguments)
    name = case.call.layer.rpartition(".")[2]
    arrays = [x for x in case.inputs if x is not None]
    if name == "clip_grad_value_":
        return tuple(clipped(x, float(given["clip_value"])) for x in arrays)
    if name == "clip_grads_with_norm_":
        return scaled(arrays[1:], float(arrays[0]), float(given["max_norm"]))
    total = norm(arrays, float(given.get("norm_type", 2.0)))
    if name == "get_total_norm":
        return (np.array(total),)
    return (np.array(total), *scaled(arrays, total, float(given["max_norm"])))


def norm(arrays: list[np.ndarray], p: float) -> float:
    """Of all elements as a single vector."""
    numbers = [abs(float(x)) for array in arrays for x in array.reshape(-1)]
    if p == math.inf:
        return max(numbers)
    return math.fsum(x**p for x in numbers) ** (1 / p)


def scaled(arrays: list[np.ndarray], total: float, max_norm: float) -> tuple[np.ndarray, ...]:
    """Each element times the coefficient."""
    factor = min(max_norm / (total + 1e-6), 1.0)
    found = []
    for array in arrays:
        numbers = [float(x) * factor for x in array.reshape(-1)]
        found.append(np.array(numbers).reshape(array.shape))
    return tuple(found)


def clipped(array: np.ndarray, most: float) -> np.ndarray:
    """Element by element."""
    numbers = []
    for x in array.reshape(-1).tolist():
        if x > most:
            numbers.append(most)
        elif x < -most:
            numbers.append(-most)
        else:
            numbers.append(x)
    return np.array(numbers).reshape(array.shape)
