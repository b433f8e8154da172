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
from conformance.arithmetic.reductions import over, total
from conformance.arithmetic.rounded import Rounded, choose
from conformance.oracles.forms import of_module

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


@dataclass(frozen=True)
class Reduced:
    """How losses of samples are reduced, each weighted by its target class.

    Args:
        reduction: as torch's argument.
        counts: which samples count, because they are not ignored.
        shares: for each sample the weight of its class; None = all 1.
    """

    reduction: str
    counts: np.ndarray
    shares: Rounded | None

    def of(self, terms: Rounded) -> Rounded:
        """The terms, their sum, or their sum divided by the total weight of counted samples."""
        if self.reduction != "mean":
            return terms if self.reduction == "none" else total(terms)
        if self.shares is None:
            return over(total(terms), int(self.counts.sum()))
        return total(terms) / self.whole(terms)

    def whole(self, like: Rounded) -> Rounded:
        """The divisor of the mean: the total weight, or number, of counted samples."""
        if self.shares is None:
            return constant(float(self.counts.sum()), like)
        return total(choose(self.counts, self.shares, zeros(self.shares)))


def of_indices(
    logs: Rounded,
    target: Rounded,
    weight: Rounded | None,
    axis: int,
    ignored: int,
    reduction: str,
) -> tuple[Rounded, Reduced]:
    """The reduced l = −w_y log_y, 0 where y is the ignored index; and its reduction.

    Args:
        logs: log probabilities.
        target: a class for each sample.
        weight: weights of the classes; None = all 1.
        axis: the axis of classes.
        ignored: the index that is no target.
        reduction: as torch's argument.
    """
    counts = target.value != ignored
    classes = np.where(counts, target.value, 0).astype(np.int64)
    chosen = gather(logs, np.expand_dims(classes, axis), axis)
    losses = -chosen.map(lambda array: np.squeeze(array, axis))
    shares = None if weight is None else take(weight, classes)
    if shares is not None:
        losses = losses * shares
    reduced = Reduced(reduction, counts, shares)
    return reduced.of(choose(counts, losses, zeros(losses))), reduced


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
    return of_indices(input, target, weight, axis, ignore_index, reduction)[0]


nll_loss_module = of_module(nll_loss, "weight")


def zeros(like: Rounded) -> Rounded:
    """Exact zeros of the shape of another array."""
    none = np.zeros(like.shape)
    return Rounded(none, none, like.precision)


def class_axis(input: Shape) -> int:
    """The axis of classes in (C), (N, C), (N, C, d_1, …, d_K)."""
    return 0 if len(input) == 1 else 1
