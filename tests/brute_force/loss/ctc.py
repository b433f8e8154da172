"""The connectionist temporal classification by enumeration of paths of classes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby, product

import numpy as np

from conformance.model.case import Case

LOSSES = ("CTCLoss", "ctc_loss")


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of these layers."""
    x, targets, *lengths = case.inputs
    assert x is not None
    assert targets is not None
    names = ("input_lengths", "target_lengths")
    length_arrays = [case.keywords[n] for n in names] if case.keywords else lengths
    steps, labels = (np.atleast_1d(np.asarray(n)).tolist() for n in length_arrays)
    return (np.array(ctc(x, targets, steps, labels, **case.call.arguments)),)


def labelling(path: Sequence[int], blank: int) -> tuple[int, ...]:
    """What is left of a path: each run counts as one, blanks do not count."""
    return tuple(c for c, _ in groupby(path) if c != blank)


def log_sum_exp(logs: Sequence[float]) -> float:
    """log Σeˣ."""
    maximum = max(logs, default=-math.inf)
    if maximum == -math.inf:
        return maximum
    return maximum + math.log(math.fsum(math.exp(v - maximum) for v in logs))


def loss(x: np.ndarray, target: Sequence[int], blank: int) -> float:
    """−log of the sum over all paths that are the target.

    Paths with the same labels so far and the same last class go on together; those whose labels do
    not begin the target are given up.
    """
    paths: dict[tuple[tuple[int, ...], int], float] = {((), blank): 0.0}
    for step in x:
        next_scores = defaultdict(list)
        for (labels, last), log in paths.items():
            for c in range(len(step)):
                longer = labels if c in (blank, last) else (*labels, c)
                if longer == tuple(target[: len(longer)]):
                    next_scores[longer, c].append(log + float(step[c]))
        paths = {key: log_sum_exp(logs) for key, logs in next_scores.items()}
    return -log_sum_exp([log for (labels, _), log in paths.items() if labels == tuple(target)])


def loss_by_enumeration(x: np.ndarray, target: Sequence[int], blank: int) -> float:
    """Likewise, each path of classes by itself."""
    steps, classes = x.shape
    matching_paths = []
    for path in product(range(classes), repeat=steps):
        if labelling(path, blank) == tuple(target):
            matching_paths.append(math.fsum(float(x[t, c]) for t, c in enumerate(path)))
    return -log_sum_exp(matching_paths)


def ctc(
    x: np.ndarray,
    targets: np.ndarray,
    steps: Sequence[int],
    lengths: Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> np.ndarray:
    """Each sample in turn."""
    batch = x if x.ndim == 3 else x[:, None]
    losses, start = [], 0
    for n, length in enumerate(lengths):
        row = targets[start : start + length] if targets.ndim == 1 else targets[n, :length]
        start += length
        sample_loss = loss(batch[: steps[n], n], row.tolist(), blank)
        losses.append(0.0 if zero_infinity and sample_loss == math.inf else sample_loss)
    if reduction == "none":
        return np.array(losses if x.ndim == 3 else losses[0])
    if reduction == "sum":
        return np.array(sum(losses))
    parts = [
        sample_loss / max(length, 1) for sample_loss, length in zip(losses, lengths, strict=True)
    ]
    return np.array(sum(parts) / len(parts))
