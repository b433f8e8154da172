"""LinearCrossEntropyLoss, module and function: the cross entropy of a linear map.

The page defines it as `cross_entropy(linear(input, linear_weight, linear_bias), target)`: logits
are stored in the dtype. With `options` the batch is processed in chunks, which changes numbers only
by the roundings of a sum in another order.

Sources: the pages torch.nn.LinearCrossEntropyLoss, torch.nn.functional.linear_cross_entropy and
torch.nn.LinearCrossEntropyOptions of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.arithmetic.choices import take
from conformance.arithmetic.reductions import total
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.linear import functional_linear
from conformance.oracles.loss.cross_entropy import cross_entropy
from conformance.oracles.loss.nll import ClassReduction

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
IGNORED = -100


def linear_cross_entropy(
    state: State,
    input: Rounded,
    linear_weight: Rounded,
    target: Rounded,
    linear_bias: Rounded | None = None,
    weight: Rounded | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Rounded:
    """The cross entropy of x Aᵀ + b, A (C, in_features) or (C, d_1, …, d_K, in_features)."""
    classes, *positions, features = linear_weight.shape
    rows = linear_weight.map(lambda array: array.reshape(-1, features))
    bias = None if linear_bias is None else linear_bias.map(lambda array: array.reshape(-1))
    flat = functional_linear({}, input, rows, bias)
    shape = (*input.shape[:-1], classes, *positions)
    logits = flat.map(lambda array: array.reshape(shape))
    ignored = IGNORED if ignore_index is None else ignore_index
    shared_arguments: Any = {"ignore_index": ignored, "label_smoothing": label_smoothing}
    loss = cross_entropy({}, logits, target, weight, reduction=reduction, **shared_arguments)
    if reduction != "mean" or target.shape == logits.shape:
        return loss
    unreduced = cross_entropy(
        {}, logits.detached, target, weight, reduction="none", **shared_arguments
    )
    return loss.with_error(
        np.maximum(loss.error, _mean_of_quotients(unreduced, target, weight, ignored).error)
    )


def _mean_of_quotients(
    unreduced: Rounded, target: Rounded, weight: Rounded | None, ignored: int
) -> Rounded:
    """The mean over indices as CrossEntropyLoss prints it: the sum of divided losses.

    Chunks compute it so: each adds its share to the mean. Each quotient rounds.
    """
    counted = target.value != ignored
    classes = np.where(counted, target.value, 0).astype(np.int64)
    class_weights = None if weight is None else take(weight, classes)
    divisor = ClassReduction("mean", counted, class_weights).divisor(unreduced)
    return total(unreduced / divisor)


def linear_cross_entropy_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    *,
    in_features: int,
    num_classes: int,
    out_features: tuple[int, ...] = (),
    bias: bool = False,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Rounded:
    """The function with weight and bias of a Linear: (C·d_1·…·d_K, in_features), (C·d_1·…·d_K)."""
    shape = (num_classes, *out_features)

    def unflatten(array: np.ndarray) -> np.ndarray:
        return array.reshape(shape if array.ndim == 1 else (*shape, in_features))

    linear_bias = state.get("linear.bias") if bias else None
    return linear_cross_entropy(
        {},
        input,
        state["linear.weight"].map(unflatten),
        target,
        None if linear_bias is None else linear_bias.map(unflatten),
        state.get("weight"),
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        options=options,
    )


def linear_cross_entropy_shape(
    input: Shape,
    linear_weight: Shape,
    target: Shape,
    linear_bias: Shape | None = None,
    weight: Shape | None = None,
    *,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> tuple[Shape, ...]:
    """(); without reduction () for (in_features), (N, d_1, …, d_K) for (N, in_features)."""
    return ((*input[:-1], *linear_weight[1:-1]) if reduction == "none" else (),)


def linear_cross_entropy_loss_shape(
    input: Shape,
    target: Shape,
    *,
    in_features: int,
    num_classes: int,
    out_features: tuple[int, ...] = (),
    bias: bool = False,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> tuple[Shape, ...]:
    """(); without reduction (*out_features) for (in_features), else (N, *out_features)."""
    return ((*input[:-1], *out_features) if reduction == "none" else (),)
