"""NLLLoss, module and function, and the shared parts of losses of class indices.

torch's kernels multiply and sum in the dtype, even in half precision.

Sources: the pages torch.nn.NLLLoss and torch.nn.functional.nll_loss of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.choices import gather, take
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.reductions import divide_by_count, total
from conformance.arithmetic.rounded import Rounded, choose
from conformance.oracles.forms import module_oracle

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


@dataclass(frozen=True)
class ClassReduction:
    """How losses of samples are reduced, each weighted by its target class.

    Args:
        reduction: as torch's argument.
        counted: which samples count, because they are not ignored.
        class_weights: for each sample the weight of its class; None = all 1.
    """

    reduction: str
    counted: np.ndarray
    class_weights: Rounded | None

    def apply(self, terms: Rounded) -> Rounded:
        """The terms, their sum, or their sum divided by the total weight of counted samples."""
        if self.reduction != "mean":
            return terms if self.reduction == "none" else total(terms)
        if self.class_weights is None:
            return divide_by_count(total(terms), int(self.counted.sum()))
        return total(terms) / self.divisor(terms)

    def divisor(self, like: Rounded) -> Rounded:
        """The divisor of the mean: the total weight, or number, of counted samples."""
        if self.class_weights is None:
            return constant(float(self.counted.sum()), like)
        return total(choose(self.counted, self.class_weights, zeros(self.class_weights)))


def index_loss(
    logs: Rounded,
    target: Rounded,
    weight: Rounded | None,
    axis: int,
    ignored: int,
    reduction: str,
) -> tuple[Rounded, ClassReduction]:
    """The reduced l = −w_y log_y, 0 where y is the ignored index; and its reduction.

    Args:
        logs: log probabilities.
        target: a class for each sample.
        weight: weights of the classes; None = all 1.
        axis: the axis of classes.
        ignored: the index that is no target.
        reduction: as torch's argument.
    """
    counted = target.value != ignored
    classes = np.where(counted, target.value, 0).astype(np.int64)
    chosen = gather(logs, np.expand_dims(classes, axis), axis)
    losses = -chosen.map(lambda array: np.squeeze(array, axis))
    class_weights = None if weight is None else take(weight, classes)
    if class_weights is not None:
        losses = losses * class_weights
    class_reduction = ClassReduction(reduction, counted, class_weights)
    return class_reduction.apply(choose(counted, losses, zeros(losses))), class_reduction


def nll_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Rounded:
    """l_n = −w_{y_n} x_{n,y_n}, w_c = 0 for the ignored index; the mean is Σl_n/Σw_{y_n}."""
    axis = class_axis(input.shape)
    return index_loss(input, target, weight, axis, ignore_index, reduction)[0]


nll_loss_module = module_oracle(nll_loss, "weight")


def zeros(like: Rounded) -> Rounded:
    """Exact zeros of the shape of another array."""
    zero_array = np.zeros(like.shape)
    return Rounded(zero_array, zero_array, like.precision)


def class_axis(input: Shape) -> int:
    """The axis of classes in (C), (N, C), (N, C, d_1, …, d_K)."""
    return 0 if len(input) == 1 else 1
