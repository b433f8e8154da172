"""Laws of the cross entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.loss.reductions import call_on, form_law, reductions, unbatched_law
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.oracles.loss.linear import IGNORED
from conformance.oracles.loss.nll import class_axis
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Law,
    Side,
    claim,
    equality_claim,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from typing import Self

    from conformance.spec.trial_protocol import TrialLike as Trial


@dataclass(frozen=True, eq=False)
class Loss:
    """The operands of a call, of a module or a function.

    Args:
        trial: the case that they were read from.
        x, target: logits, and class indices or probabilities.
        weight: weights of the classes, or None.
        arguments: the arguments that the call has written out.
    """

    trial: Trial
    x: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    arguments: dict[str, Any]

    @classmethod
    def of(cls, trial: Trial) -> Loss:
        """Read a case."""
        call, (x, target, *weights) = trial.case.call, trial.case.inputs
        assert x is not None
        assert target is not None
        weight = weights[0] if weights else call.state.get("weight")
        return cls(trial, x, target, weight, dict(call.arguments))

    @property
    def axis(self) -> int:
        """The axis of classes."""
        return class_axis(self.x.shape)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.x.shape[self.axis])

    @property
    def has_indices(self) -> bool:
        """Whether the target holds class indices."""
        return self.target.dtype.kind == "i"

    @property
    def ignored_index(self) -> int:
        """`ignore_index` of the call, or torch's default of −100."""
        index = self.arguments.get("ignore_index")
        return IGNORED if index is None else int(index)

    @property
    def reduction(self) -> str:
        """The reduction, by default the mean."""
        return str(self.arguments.get("reduction", "mean"))

    def select_samples(self, chosen: np.ndarray) -> Self:
        """Select samples; inputs are of shape (N, C).

        Args:
            counts: a mask of the samples.
        """
        return replace(self, x=self.x[chosen], target=self.target[chosen])

    def permute_classes(self, order: np.ndarray) -> Self:
        """Permute the classes in all operands; ignore_index follows its class.

        Args:
            order: order[k] is the class that moves to index k.
        """
        other = self._permute_targets(order)
        return replace(other, x=self.x.take(order, self.axis))

    def _permute_targets(self, order: np.ndarray) -> Self:
        """Permute the classes in targets, weights and ignore_index."""
        new_places = np.argsort(order)  # the new index of each class
        target, arguments = self.target, dict(self.arguments)
        if self.has_indices:
            inside = (target >= 0) & (target < self.classes)
            target = np.where(inside, new_places[np.where(inside, target, 0)], target)
            if 0 <= self.ignored_index < self.classes:
                arguments["ignore_index"] = int(new_places[self.ignored_index])
        else:
            target = target.take(order, self.axis)
        weight = None if self.weight is None else self.weight[order]
        return replace(self, target=target, weight=weight, arguments=arguments)

    def call(self, layer: str | None = None) -> Trial:
        """The call on the same backend.

        Args:
            layer: the module or the function; None = the case's own.
        """
        name = layer or self.trial.case.call.layer
        inputs: tuple[np.ndarray | None, ...] = (self.x, self.target)
        state = {} if self.weight is None else {"weight": self.weight}
        if is_function(name):
            inputs, state = (*inputs, self.weight), {}
        return call_on(self.trial, inputs, layer=name, state=state, only=self.arguments)


ReadCase = Callable[["Trial"], Loss]
"""trial → the operands of its case."""


def mean_divisor(trial: Trial, read_case: ReadCase = Loss.of) -> float | None:
    """The divisor of the mean: the number of samples; None if weighted, or if some are ignored."""
    loss = read_case(trial)
    if loss.weight is not None or (loss.has_indices and (loss.target == loss.ignored_index).any()):
        return None
    return float(loss.target.size if loss.has_indices else loss.target.size // loss.classes)


@law("positions", "positions are as good as samples")
def positions(trial: Trial, generator: Generator) -> Claims:
    """The call on (N·d_1·…·d_K, C) instead of (N, C, d_1, …, d_K)."""
    loss = Loss.of(trial)
    if loss.x.ndim < 3:
        return
    position_shape = (len(loss.x), *loss.x.shape[2:])

    def flatten(array: np.ndarray) -> np.ndarray:
        if array.ndim == loss.x.ndim:
            return np.moveaxis(array, 1, -1).reshape(math.prod(position_shape), loss.classes)
        return array.reshape(-1)

    other = replace(loss, x=flatten(loss.x), target=flatten(loss.target)).call()
    yield equality_claim(
        other, trial, got_moves=lambda y: y.reshape(position_shape) if y.ndim else y
    )


def classes_law(read_case: ReadCase) -> Law:
    """The law that permuting the classes changes nothing.

    Args:
        read_case: a trial → the operands of its loss.
    """

    @law("classes", "classes may change their places, with their weights and targets")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """The call with the classes permuted."""
        loss = read_case(trial)
        yield equality_claim(
            loss.permute_classes(generator.permutation(loss.classes)).call(), trial
        )

    return claims


@law("shifted", "what is added to all logits of a sample means nothing")
def shifted(trial: Trial, generator: Generator) -> Claims:
    """The call with an integer added to all logits of a sample, where no sum rounds."""
    loss = Loss.of(trial)
    shape = list(loss.x.shape)
    shape[loss.axis] = 1
    shift = generator.integers(-16, 16, shape).astype(np.float64)
    shifted_logits = loss.x + shift
    exact = (round_to(shifted_logits, trial.case.call.dtype) == shifted_logits) & (
        shifted_logits - shift == loss.x
    )
    x = np.where(exact.all(axis=loss.axis, keepdims=True), shifted_logits, loss.x)
    if not np.array_equal(x, loss.x):
        # The other call has its own bound: x − (max + log Σ) rounds the larger logits.
        other = replace(loss, x=x).call()
        yield claim(
            other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial))
        )


@law("ignored", "the logits of a sample that is ignored mean nothing")
def ignored(trial: Trial, generator: Generator) -> Claims:
    """The call with other logits for ignored samples."""
    loss = Loss.of(trial)
    is_ignored = loss.target == loss.ignored_index
    if not loss.has_indices or not is_ignored.any():
        return
    other_logits = np.where(np.expand_dims(is_ignored, loss.axis), -loss.x[..., ::-1] / 2, loss.x)
    yield equality_claim(
        replace(loss, x=round_to(other_logits, trial.case.call.dtype)).call(), trial
    )


def dropped_law(read_case: ReadCase) -> Law:
    """The law that removing ignored samples changes nothing.

    Args:
        read_case: a trial → the operands of its loss.
    """

    @law("dropped", "a sample that is ignored is as good as none")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """The call without the ignored samples."""
        loss = read_case(trial)
        is_counted = loss.target != loss.ignored_index
        if not loss.has_indices or loss.target.ndim != 1 or is_counted.all():
            return
        other = loss.select_samples(is_counted).call()
        yield equality_claim(other, trial, wanted_moves=lambda y: y[is_counted] if y.ndim else y)

    return claims


@law("weighted", "weights half as large: the same mean over indices, otherwise half the loss")
def weighted(trial: Trial, generator: Generator) -> Claims:
    """The call with half the weights; without weights, the call with weights of 1."""
    loss = Loss.of(trial)
    if loss.weight is None:
        yield equality_claim(replace(loss, weight=np.ones(loss.classes)).call(), trial)
        return
    other = replace(loss, weight=loss.weight / 2).call()  # larger ones might overflow
    if loss.reduction == "mean" and loss.has_indices:
        yield equality_claim(other, trial)
        return
    yield equality_claim(other, trial, got_moves=lambda y: y * 2)


@law("one-hot", "a class is a probability of 1", WITHIN_SUM_OF_BOUNDS)
def one_hot(trial: Trial, generator: Generator) -> Claims:
    """The call with one-hot targets, if nothing is ignored and the mean is unweighted."""
    loss = Loss.of(trial)
    is_weighted_mean = loss.reduction == "mean" and loss.weight is not None
    if not loss.has_indices or is_weighted_mean or (loss.target == loss.ignored_index).any():
        return
    one_hot_target = np.moveaxis(np.eye(loss.classes)[loss.target], -1, loss.axis)
    arguments = {k: v for k, v in loss.arguments.items() if k != "ignore_index"}
    other = replace(loss, target=one_hot_target, arguments=arguments).call()
    yield claim(other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial)))


CLASSES_LAW, DROPPED_LAW = classes_law(Loss.of), dropped_law(Loss.of)
LAWS = (
    form_law("CrossEntropyLoss", "functional.cross_entropy", ("weight",)),
    *reductions({"mean": mean_divisor}),
    unbatched_law(2),
    positions,
    CLASSES_LAW,
    shifted,
    ignored,
    DROPPED_LAW,
    weighted,
    one_hot,
)
