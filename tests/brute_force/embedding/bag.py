"""Bags of embeddings and one-hot rows as plain loops, from the documentation alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    arguments = dict(case.call.arguments)
    if case.call.layer.endswith("one_hot"):
        return (one_hot(case.inputs[0], arguments.get("num_classes", -1)),)
    index, *inputs = case.inputs
    weight = case.call.state["weight"] if case.call.state else inputs.pop(0)
    offsets, factors = inputs
    return (embedding_bag(index, weight, offsets, factors, **_bag_arguments(arguments)),)


def _bag_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    names = ("max_norm", "norm_type", "mode", "include_last_offset", "padding_idx")
    return {name: arguments[name] for name in names if name in arguments}


def embedding_bag(
    index: np.ndarray,
    weight: np.ndarray,
    offsets: np.ndarray | None,
    factors: np.ndarray | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    mode: str = "mean",
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> np.ndarray:
    """Each bag reduced."""
    from brute_force.embedding.embedding import embedding

    _, weight = embedding(index, weight, max_norm, norm_type)
    count, width = weight.shape
    outputs = []
    for places in _bags(index, offsets, include_last_offset):
        rows = []
        for position in places:
            row = int(index[position])
            if padding_idx is not None and row == padding_idx % count:
                continue
            factor = 1.0 if factors is None else float(factors[position])
            rows.append([factor * float(weight[row, k]) for k in range(width)])
        outputs.append([_reduce([row[k] for row in rows], mode) for k in range(width)])
    return np.array(outputs, float).reshape(len(outputs), width)


def _bags(
    index: np.ndarray, offsets: np.ndarray | None, include_last_offset: bool
) -> list[list[tuple[int, ...]]]:
    """The places of each bag's indices."""
    if offsets is None:
        return [[(b, n) for n in range(index.shape[1])] for b in range(index.shape[0])]
    ends = offsets.tolist() if include_last_offset else [*offsets.tolist(), len(index)]
    return [[(n,) for n in range(start, end)] for start, end in pairwise(ends)]


def _reduce(numbers: list[float], mode: str) -> float:
    if not numbers:
        return 0.0
    if mode == "max":
        return max(numbers)
    total = 0.0
    for number in numbers:
        total += number
    return total / len(numbers) if mode == "mean" else total


def gradient(
    index: np.ndarray,
    offsets: np.ndarray | None,
    cotangent: np.ndarray,
    count: int,
    mode: str,
    by_frequency: bool = False,
    padding_idx: int | None = None,
) -> np.ndarray:
    """What reaches each row of the weight from sums or means without weights."""
    gradients = np.zeros((count, cotangent.shape[1]))
    flat = [int(index[position]) for position in positions(index.shape)]
    for bag, places in enumerate(_bags(index, offsets, False)):
        rows = [int(index[position]) for position in places]
        if padding_idx is not None:
            rows = [row for row in rows if row != padding_idx % count]
        for row in rows:
            for k in range(cotangent.shape[1]):
                contribution = cotangent[bag, k] / (len(rows) if mode == "mean" else 1)
                gradients[row, k] += contribution / (flat.count(row) if by_frequency else 1)
    return gradients


def one_hot(tensor: np.ndarray, num_classes: int) -> np.ndarray:
    """A row of 0 and one 1 for each class."""
    classes = num_classes
    if classes == -1:
        classes = max(int(tensor[position]) for position in positions(tensor.shape)) + 1
    output = np.zeros((*tensor.shape, classes))
    for position in positions(tensor.shape):
        output[(*position, int(tensor[position]))] = 1
    return output
