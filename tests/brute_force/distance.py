"""Cosine similarity and distances as plain loops, from the documentation alone."""

from __future__ import annotations

import math

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    name, arguments = case.call.layer, case.call.arguments
    if name == "functional.pdist":
        return (pdist(case.inputs[0], arguments.get("p", 2.0)),)
    if name == "functional.normalize":
        dim = arguments.get("dim", 1)
        axes = (dim,) if isinstance(dim, int) else dim
        return (
            normalized(case.inputs[0], arguments.get("p", 2.0), axes, arguments.get("eps", 1e-12)),
        )
    x1, x2 = case.inputs
    if "osine" in name:
        return (similarity(x1, x2, arguments.get("dim", 1), arguments.get("eps", 1e-8)),)
    p, eps = arguments.get("p", 2.0), arguments.get("eps", 1e-6)
    return (distance(x1, x2, p, eps, arguments.get("keepdim", False)),)


def similarity(x1: np.ndarray, x2: np.ndarray, dim: int, eps: float) -> np.ndarray:
    """By the function's page: each norm is at least eps."""
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    x1, x2 = np.broadcast_to(x1, shape), np.broadcast_to(x2, shape)
    dim %= len(shape)
    batch_shape = shape[:dim] + shape[dim + 1 :]
    output = np.zeros(batch_shape)
    for position in positions(batch_shape):
        places = [(*position[:dim], k, *position[dim:]) for k in range(shape[dim])]
        first, second = ([float(x[place]) for place in places] for x in (x1, x2))
        lengths = [max(_norm(x, 2.0), eps) for x in (first, second)]
        if min(lengths) == 0:
            output[position] = math.nan
            continue
        units = ([a / lengths[0] for a in first], [b / lengths[1] for b in second])
        output[position] = math.fsum(a * b for a, b in zip(*units, strict=True))
    return output


def distance(x1: np.ndarray, x2: np.ndarray, p: float, eps: float, keepdim: bool) -> np.ndarray:
    """The norm of x1 − x2 + eps along the last axis."""
    batch_shape = x1.shape[:-1]
    output = np.zeros(batch_shape)
    for position in positions(batch_shape):
        difference = [
            float(a) - float(b) + eps for a, b in zip(x1[position], x2[position], strict=True)
        ]
        output[position] = _norm(difference, p)
    return output[..., np.newaxis] if keepdim else output


def normalized(x: np.ndarray, p: float, axes: tuple[int, ...], eps: float) -> np.ndarray:
    """Every vector over its norm, or over eps where that is larger."""
    axes, output = tuple(axis % x.ndim for axis in axes), np.zeros(x.shape)
    vectors: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for position in positions(x.shape):
        batch_index = tuple(k for axis, k in enumerate(position) if axis not in axes)
        vectors.setdefault(batch_index, []).append(position)
    for places in vectors.values():
        numbers = [float(x[position]) for position in places]
        length = float(sum(a != 0 for a in numbers)) if p == 0 else _norm(numbers, p)
        for position, number in zip(places, numbers, strict=True):
            divisor = max(length, eps)
            output[position] = number / divisor if divisor else math.nan
    return output


def pdist(x: np.ndarray, p: float) -> np.ndarray:
    """Of each pair of rows."""
    distances = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            difference = [float(a) - float(b) for a, b in zip(x[i], x[j], strict=True)]
            distances.append(
                float(sum(a != 0 for a in difference)) if p == 0 else _norm(difference, p)
            )
    return np.array(distances, float)


def _norm(x: list[float], p: float) -> float:
    sizes = [abs(a) for a in x]
    if not sizes:
        return 0.0
    if p == math.inf:
        return max(sizes)
    if p < 0 and min(sizes) == 0:
        return 0.0  # 1/(1/0 + …)
    return math.fsum(a**p for a in sizes) ** (1 / p)
