"""Embeddings as plain loops, from the documentation alone."""

from __future__ import annotations

import math

import numpy as np

from brute_force.embedding import bag as embedding_bag
from brute_force.oracles import positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    if not case.call.layer.endswith(("Embedding", ".embedding")):
        return embedding_bag.reference(case)
    weight = case.call.state["weight"] if case.call.state else case.inputs[1]
    arguments = case.call.arguments
    norm = arguments.get("max_norm"), arguments.get("norm_type", 2.0)
    return (embedding(case.inputs[0], weight, *norm)[0],)


def embedding(
    index: np.ndarray, weight: np.ndarray, max_norm: float | None = None, norm_type: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are looked up, and the weight afterwards."""
    weight = weight.copy()
    width = weight.shape[1]
    output = np.zeros((*index.shape, width))
    renormalized: set[int] = set()
    for position in positions(index.shape):
        row = int(index[position])
        if max_norm is not None and row not in renormalized:
            renormalized.add(row)
            norm = _norm([float(x) for x in weight[row]], norm_type)
            if norm > max_norm:
                for k in range(width):
                    weight[row, k] = weight[row, k] * max_norm / norm
        for k in range(width):
            output[(*position, k)] = weight[row, k]
    return output, weight


def gradient(
    index: np.ndarray,
    cotangent: np.ndarray,
    count: int,
    padding_idx: int | None = None,
    by_frequency: bool = False,
) -> np.ndarray:
    """What reaches each row of the weight."""
    gradients = np.zeros((count, cotangent.shape[-1]))
    for position in positions(index.shape):
        row = int(index[position])
        if padding_idx is not None and row == padding_idx % count:
            continue
        frequency = sum(
            int(index[other_position]) == row for other_position in positions(index.shape)
        )
        for k in range(cotangent.shape[-1]):
            gradients[row, k] += cotangent[(*position, k)] / (frequency if by_frequency else 1)
    return gradients


def _norm(row: list[float], p: float) -> float:
    if not row:
        return 0.0
    if p == math.inf:
        return max(abs(x) for x in row)
    return math.fsum(abs(x) ** p for x in row) ** (1 / p)
