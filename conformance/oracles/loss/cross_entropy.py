"""CrossEntropyLoss, module and function.

The documentation defines the loss of class indices as LogSoftmax followed by NLLLoss, and the loss
of probabilities by the same logarithms. So in half precision log_softmax is one wide kernel that
stores its result. The following steps, including sums, work on stored numbers in the dtype.

Sources: the pages torch.nn.CrossEntropyLoss and torch.nn.functional.cross_entropy of the PyTorch
documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.reductions import divide_by_count, log_softmax, total
from conformance.arithmetic.rounded import Rounded, choose
from conformance.oracles.forms import module_oracle
from conformance.oracles.loss.nll import class_axis, index_loss, zeros

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def cross_entropy(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Rounded:
    """l = −Σ_c w_c log softmax(x)_c y_c; y_c of an index is 1 at it and 0 elsewhere.

    With label smoothing ε it is (1 − ε)·l + ε/C·(the loss of y = 1). An ignored index has no loss.
    The mean over indices is weighted: Σl/Σw_y over indices that are not ignored. The mean over
    probabilities is Σl/N.
    """
    axis = class_axis(input.shape)
    logs = stored(log_softmax(widened(input), axis), input.precision)
    if target.shape == input.shape:
        return _probability_loss(logs, target, weight, axis, reduction, label_smoothing)
    return _index_loss(logs, target, weight, axis, ignore_index, reduction, label_smoothing)


cross_entropy_loss = module_oracle(cross_entropy, "weight")


def _index_loss(
    logs: Rounded,
    target: Rounded,
    weight: Rounded | None,
    axis: int,
    ignored: int,
    reduction: str,
    smoothing: float,
) -> Rounded:
    loss, reduction_of_classes = index_loss(logs, target, weight, axis, ignored, reduction)
    if not smoothing:
        return loss
    weighted = -logs if weight is None else -(logs * _weight_along_classes(weight, axis, logs))
    counted = np.broadcast_to(np.expand_dims(reduction_of_classes.counted, axis), weighted.shape)
    terms = choose(counted, weighted, zeros(weighted))
    # A reduced loss sums all classes of all samples in any order; else the classes of one sample.
    smooth = reduction_of_classes.apply(total(terms, axis) if reduction == "none" else total(terms))
    return _smooth_loss(loss, smooth, smoothing, logs.shape[axis])


def _probability_loss(
    logs: Rounded,
    target: Rounded,
    weight: Rounded | None,
    axis: int,
    reduction: str,
    smoothing: float,
) -> Rounded:
    classes = logs.shape[axis]
    if smoothing:
        target_share, uniform_share = _smoothing_weights(smoothing, classes, target)
        target = target * target_share + uniform_share
    terms = -(logs * target)
    if weight is not None:
        terms = terms * _weight_along_classes(weight, axis, logs)
    if reduction == "none":
        return total(terms, axis)
    loss = total(terms)
    return divide_by_count(loss, logs.value.size // classes) if reduction == "mean" else loss


def _smooth_loss(loss: Rounded, smooth: Rounded, smoothing: float, classes: int) -> Rounded:
    """(1 − ε)·loss + ε/C·smooth."""
    target_share, uniform_share = _smoothing_weights(smoothing, classes, loss)
    return loss * target_share + smooth * uniform_share


def _smoothing_weights(smoothing: float, classes: int, like: Rounded) -> tuple[Rounded, Rounded]:
    """1 − ε and ε/C, each rounded."""
    epsilon = constant(smoothing, like)
    return constant(1.0, like) - epsilon, epsilon / constant(float(classes), like)


def _weight_along_classes(weight: Rounded, axis: int, like: Rounded) -> Rounded:
    """The class weights reshaped to broadcast along the axis of classes."""
    columns = (-1, *(1,) * (len(like.shape) - axis - 1))
    return weight.map(lambda array: array.reshape(columns))


def cross_entropy_shape(
    input: Shape, *others: Shape | None, reduction: str = "mean", **unused: Any
) -> tuple[Shape, ...]:
    """(); without reduction () for (C), (N) for (N, C), else (N, d_1, …, d_K)."""
    axis = class_axis(input)
    return ((*input[:axis], *input[axis + 1 :]) if reduction == "none" else (),)
