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
    arguments, state = case.call.arguments, case.call.state
    x, *target = case.inputs
    assert x is not None
    rows = x if x.ndim == 2 else x[None]
    ends = (*arguments["cutoffs"], arguments["n_classes"])
    log_probs = np.array([log_probabilities(row.tolist(), state, ends) for row in rows])
    log_probs = log_probs.reshape(len(rows), arguments["n_classes"])
    if not target:
        if case.call.layer.endswith("predict"):
            return (np.array([int(np.argmax(row)) for row in log_probs], np.int64),)
        return (log_probs,)
    assert target[0] is not None
    chosen = [log_probs[n, y] for n, y in enumerate(np.atleast_1d(target[0]).tolist())]
    loss = -sum(chosen) / len(chosen) if chosen else math.nan
    return (np.array(chosen) if x.ndim == 2 else np.array(chosen[0]), np.array(loss))


def linear(x: Sequence[float], weight: np.ndarray, bias: np.ndarray | None = None) -> list[float]:
    """One linear map of one row."""
    outputs = []
    for k, row in enumerate(weight.tolist()):
        total = 0.0 if bias is None else float(bias[k])
        outputs.append(total + sum(a * b for a, b in zip(row, x, strict=True)))
    return outputs


def log_softmax(logits: Sequence[float]) -> list[float]:
    """log softmax."""
    maximum = max(logits)
    log_sum = maximum + math.log(math.fsum(math.exp(v - maximum) for v in logits))
    return [v - log_sum for v in logits]


def log_probabilities(
    x: Sequence[float], state: Mapping[str, np.ndarray], ends: Sequence[int]
) -> list[float]:
    """Of the classes of the head, then of those of each cluster."""
    head = log_softmax(linear(x, state["head.weight"], state.get("head.bias")))
    log_probs = head[: ends[0]]
    for k in range(len(ends) - 1):
        projected = linear(x, state[f"tail.{k}.0.weight"])
        cluster_log_probs = log_softmax(linear(projected, state[f"tail.{k}.1.weight"]))
        log_probs += [head[ends[0] + k] + v for v in cluster_log_probs]
    return log_probs
