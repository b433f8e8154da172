"""The adaptive softmax as plain loops: the probability of every class of every row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from conformance.model.case import Case

LOSSES = (
    "AdaptiveLogSoftmaxWithLoss",
    "AdaptiveLogSoftmaxWithLoss.log_prob",
    "AdaptiveLogSoftmaxWithLoss.predict",
)


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of these layers."""
    facts, state = case.call.arguments, case.call.state
    x, *target = case.inputs
    assert x is not None
    rows = x if x.ndim == 2 else x[None]
    ends = (*facts["cutoffs"], facts["n_classes"])
    every = np.array([log_probabilities(row.tolist(), state, ends) for row in rows])
    every = every.reshape(len(rows), facts["n_classes"])
    if not target:
        if case.call.layer.endswith("predict"):
            return (np.array([int(np.argmax(row)) for row in every], np.int64),)
        return (every,)
    assert target[0] is not None
    chosen = [every[n, y] for n, y in enumerate(np.atleast_1d(target[0]).tolist())]
    loss = -sum(chosen) / len(chosen) if chosen else math.nan
    return (np.array(chosen) if x.ndim == 2 else np.array(chosen[0]), np.array(loss))


def mapped(x: Sequence[float], weight: np.ndarray, bias: np.ndarray | None = None) -> list[float]:
    """One linear map of one row."""
    found = []
    for k, row in enumerate(weight.tolist()):
        total = 0.0 if bias is None else float(bias[k])
        found.append(total + sum(a * b for a, b in zip(row, x, strict=True)))
    return found


def logarithms(logits: Sequence[float]) -> list[float]:
    """log softmax."""
    top = max(logits)
    whole = top + math.log(math.fsum(math.exp(v - top) for v in logits))
    return [v - whole for v in logits]


def log_probabilities(
    x: Sequence[float], state: Mapping[str, np.ndarray], ends: Sequence[int]
) -> list[float]:
    """Of the classes of the head, then of those of each cluster."""
    head = logarithms(mapped(x, state["head.weight"], state.get("head.bias")))
    found = head[: ends[0]]
    for k in range(len(ends) - 1):
        narrow = mapped(x, state[f"tail.{k}.0.weight"])
        within = logarithms(mapped(narrow, state[f"tail.{k}.1.weight"]))
        found += [head[ends[0] + k] + v for v in within]
    return found
