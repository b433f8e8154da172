"""AdaptiveLogSoftmaxWithLoss: a softmax over the frequent classes and over clusters of the rest.

The head has a logit for each class below the first cutoff and one for each cluster. A cluster has a
projection to ⌊in_features/div_value^i⌋ features (i = 1 for the first) and a linear map from there
to its classes. The log probability of a class in a cluster is the cluster's plus that of the class
within the cluster. In half precision each of these steps is stored.

By the page a target may be n_classes; torch refuses it, in accordance with its error message.

Sources: the page torch.nn.AdaptiveLogSoftmaxWithLoss of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from conformance.arithmetic.choices import Choices, gather, take
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.reductions import divide_by_count, log_softmax, total
from conformance.arithmetic.rounded import Rounded, join
from conformance.oracles.linear import functional_linear

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def projection_size(in_features: int, div_value: float, cluster: int) -> int:
    """Number of features that cluster 0, 1, … projects to."""
    return int(in_features // div_value ** (cluster + 1))


def state_shapes(
    in_features: int,
    n_classes: int,
    cutoffs: Sequence[int],
    div_value: float = 4.0,
    head_bias: bool = False,
) -> dict[str, Shape]:
    """Names and shapes of the weights, in the order of the state_dict."""
    ends = (*cutoffs, n_classes)
    head = cutoffs[0] + len(cutoffs)
    shapes: dict[str, Shape] = {"head.weight": (head, in_features)}
    if head_bias:
        shapes["head.bias"] = (head,)
    for k in range(len(cutoffs)):
        width = projection_size(in_features, div_value, k)
        shapes[f"tail.{k}.0.weight"] = (width, in_features)
        shapes[f"tail.{k}.1.weight"] = (ends[k + 1] - ends[k], width)
    return shapes


def _stored_log_softmax(logits: Rounded) -> Rounded:
    return stored(log_softmax(widened(logits), 1), logits.precision)


def head_logs(state: State, x: Rounded) -> Rounded:
    """log softmax of the head: first the frequent classes, then the clusters."""
    return _stored_log_softmax(
        functional_linear({}, x, state["head.weight"], state.get("head.bias"))
    )


def cluster_logs(state: State, x: Rounded, cluster: int) -> Rounded:
    """log softmax within a cluster."""
    narrow = functional_linear({}, x, state[f"tail.{cluster}.0.weight"])
    return _stored_log_softmax(functional_linear({}, narrow, state[f"tail.{cluster}.1.weight"]))


def _pick_classes(logs: Rounded, classes: np.ndarray) -> Rounded:
    """Select one class of each row."""
    return gather(logs, classes[:, np.newaxis], 1).map(lambda array: array[:, 0])


def adaptive_log_softmax_with_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    *,
    in_features: int,
    n_classes: int,
    cutoffs: Sequence[int],
    div_value: float = 4.0,
    head_bias: bool = False,
) -> tuple[Rounded, Rounded]:
    """output: the log probability of each target; loss: minus their mean."""
    batched = len(input.shape) == 2
    x = input if batched else input.map(lambda array: array[np.newaxis])
    classes = np.atleast_1d(np.asarray(target.value, np.int64))
    logs, ends = head_logs(state, x), (*cutoffs, n_classes)
    parts, order = list[Rounded](), list[np.ndarray]()
    for k in range(-1, len(cutoffs)):
        start = 0 if k < 0 else ends[k]
        rows = np.flatnonzero((classes >= start) & (classes < ends[k + 1]))
        if not rows.size:
            continue
        order.append(rows)
        if k < 0:
            parts.append(_pick_classes(take(logs, rows), classes[rows]))
        else:
            cluster = np.full(rows.size, cutoffs[0] + k)
            within = _pick_classes(cluster_logs(state, take(x, rows), k), classes[rows] - start)
            parts.append(_pick_classes(take(logs, rows), cluster) + within)
    if not parts:
        output = logs.map(lambda array: array[:, 0])  # of no rows
    else:
        output = take(join(parts, 0), np.argsort(np.concatenate(order)))
    loss = divide_by_count(total(-output), output.value.size)
    return output if batched else output[0], loss


def full_log_prob(
    state: State,
    input: Rounded,
    *,
    in_features: int,
    n_classes: int,
    cutoffs: Sequence[int],
    div_value: float = 4.0,
    head_bias: bool = False,
) -> Rounded:
    """The log probabilities of all classes, (N, n_classes)."""
    head, first = head_logs(state, input), cutoffs[0]
    parts = [head.map(lambda array: array[:, :first])]
    for k in range(len(cutoffs)):
        cluster = head.map(lambda array, k=k: array[:, first + k : first + k + 1])  # type: ignore[misc]
        parts.append(cluster_logs(state, input, k) + cluster)
    return join(parts, 1)


def predict(
    state: State,
    input: Rounded,
    *,
    in_features: int,
    n_classes: int,
    cutoffs: Sequence[int],
    div_value: float = 4.0,
    head_bias: bool = False,
) -> Choices:
    """The most probable class of each row, or any class that may be it within the bounds."""
    logs = full_log_prob(
        state, input, in_features=in_features, n_classes=n_classes, cutoffs=cutoffs
    )
    low = np.where(np.isfinite(logs.error), logs.value - logs.error, -np.inf)
    possible = logs.value + logs.error >= low.max(axis=1, keepdims=True, initial=-np.inf)
    count = max(int(possible.sum(axis=1).max(initial=1)), 1)
    # Possible classes come first; a row with fewer of them repeats its first one.
    ranked = np.argsort(~possible, axis=1, kind="stable")[:, :count]
    is_possible = np.take_along_axis(possible, ranked, 1)
    classes = np.where(is_possible, ranked, ranked[:, :1]).astype(np.int64)
    certain = np.isfinite(logs.value).all(axis=1) & np.isfinite(logs.error).all(axis=1)
    error = np.where(certain, 0.0, np.inf)
    each = (Rounded(classes[:, k], error, logs.precision) for k in range(classes.shape[1]))
    return Choices(tuple(each))
