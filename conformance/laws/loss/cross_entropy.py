"""Laws of the cross entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.loss.reductions import form, on, reductions, unbatched
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.oracles.loss.linear import IGNORED
from conformance.oracles.loss.nll import class_axis
from conformance.spec.law import SUMMED, Claims, Generator, Law, Side, claim, law, measured, same

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
        arguments: the written arguments.
    """

    trial: Trial
    x: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    arguments: dict[str, Any]

    @classmethod
    def of(cls, trial: Trial) -> Loss:
        """Read a case."""
        call, (x, target, *given) = trial.case.call, trial.case.inputs
        assert x is not None
        assert target is not None
        weight = given[0] if given else call.state.get("weight")
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
    def indices(self) -> bool:
        """Whether the target holds class indices."""
        return self.target.dtype.kind == "i"

    @property
    def ignored(self) -> int:
        """The ignored index."""
        found = self.arguments.get("ignore_index")
        return IGNORED if found is None else int(found)

    @property
    def reduction(self) -> str:
        """The reduction, by default the mean."""
        return str(self.arguments.get("reduction", "mean"))

    def counting(self, counts: np.ndarray) -> Self:
        """Select samples of a batch without positions.

        Args:
            counts: a mask of the samples.
        """
        return replace(self, x=self.x[counts], target=self.target[counts])

    def exchanged(self, order: np.ndarray) -> Self:
        """Permute the classes; ignore_index follows its class.

        Args:
            order: order[k] is the class that moves to index k.
        """
        other = self._retargeted(order)
        return replace(other, x=self.x.take(order, self.axis))

    def _retargeted(self, order: np.ndarray) -> Self:
        """Permute the classes in targets, weights and ignore_index."""
        where = np.argsort(order)  # the new index of each class
        target, arguments = self.target, dict(self.arguments)
        if self.indices:
            inside = (target >= 0) & (target < self.classes)
            target = np.where(inside, where[np.where(inside, target, 0)], target)
            if 0 <= self.ignored < self.classes:
                arguments["ignore_index"] = int(where[self.ignored])
        else:
            target = target.take(order, self.axis)
        weight = None if self.weight is None else self.weight[order]
        return replace(self, target=target, weight=weight, arguments=arguments)

    def run(self, layer: str | None = None) -> Trial:
        """The call on the same backend.

        Args:
            layer: the module or the function; None = the case's own.
        """
        name = layer or self.trial.case.call.layer
        inputs: tuple[np.ndarray | None, ...] = (self.x, self.target)
        state = {} if self.weight is None else {"weight": self.weight}
        if is_function(name):
            inputs, state = (*inputs, self.weight), {}
        return on(self.trial, inputs, layer=name, state=state, only=self.arguments)


Read = Callable[["Trial"], Loss]
"""trial → the operands of its case."""


def mean_of_samples(trial: Trial, read: Read = Loss.of) -> float | None:
    """The number of samples, or None where they have weights or some are ignored."""
    loss = read(trial)
    if loss.weight is not None or (loss.indices and (loss.target == loss.ignored).any()):
        return None
    return float(loss.target.size if loss.indices else loss.target.size // loss.classes)


@law("positions", "positions are as good as samples")
def positions(trial: Trial, generator: Generator) -> Claims:
    """The call on (N·d_1·…·d_K, C) instead of (N, C, d_1, …, d_K)."""
    loss = Loss.of(trial)
    if loss.x.ndim < 3:
        return
    places = (len(loss.x), *loss.x.shape[2:])

    def flat(array: np.ndarray) -> np.ndarray:
        if array.ndim == loss.x.ndim:
            return np.moveaxis(array, 1, -1).reshape(math.prod(places), loss.classes)
        return array.reshape(-1)

    other = replace(loss, x=flat(loss.x), target=flat(loss.target)).run()
    yield same(other, trial, got_moves=lambda y: y.reshape(places) if y.ndim else y)


def classes(read: Read) -> Law:
    """The law that permuting the classes changes nothing.

    Args:
        read: reads a case.
    """

    @law("classes", "classes may change their places, with their weights and targets")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """The call with the classes permuted."""
        loss = read(trial)
        yield same(loss.exchanged(generator.permutation(loss.classes)).run(), trial)

    return claims


@law("shifted", "what is added to all logits of a sample means nothing")
def shifted(trial: Trial, generator: Generator) -> Claims:
    """Integers added to all logits of a sample, where no sum rounds."""
    loss = Loss.of(trial)
    shape = list(loss.x.shape)
    shape[loss.axis] = 1
    shift = generator.integers(-16, 16, shape).astype(np.float64)
    moved_by = loss.x + shift
    exact = (round_to(moved_by, trial.case.call.dtype) == moved_by) & (moved_by - shift == loss.x)
    x = np.where(exact.all(axis=loss.axis, keepdims=True), moved_by, loss.x)
    if not np.array_equal(x, loss.x):
        # The other call has its own bound: x − (max + log Σ) rounds the larger logits.
        other = replace(loss, x=x).run()
        yield claim(other, measured(other), Side(trial.text(), measured(trial)))


@law("ignored", "the logits of a sample that is ignored mean nothing")
def ignored(trial: Trial, generator: Generator) -> Claims:
    """The call with other logits for ignored samples."""
    loss = Loss.of(trial)
    gone = loss.target == loss.ignored
    if not loss.indices or not gone.any():
        return
    other = np.where(np.expand_dims(gone, loss.axis), -loss.x[..., ::-1] / 2, loss.x)
    yield same(replace(loss, x=round_to(other, trial.case.call.dtype)).run(), trial)


def dropped(read: Read) -> Law:
    """The law that removing ignored samples changes nothing.

    Args:
        read: reads a case.
    """

    @law("dropped", "a sample that is ignored is as good as none")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """The call without the ignored samples."""
        loss = read(trial)
        counts = loss.target != loss.ignored
        if not loss.indices or loss.target.ndim != 1 or counts.all():
            return
        others = loss.counting(counts).run()
        yield same(others, trial, wanted_moves=lambda y: y[counts] if y.ndim else y)

    return claims


@law("weighted", "weights half as large: the same mean over indices, otherwise half the loss")
def weighted(trial: Trial, generator: Generator) -> Claims:
    """Half the weights; or weights of 1, for a case without weights."""
    loss = Loss.of(trial)
    if loss.weight is None:
        yield same(replace(loss, weight=np.ones(loss.classes)).run(), trial)
        return
    other = replace(loss, weight=loss.weight / 2).run()  # larger ones might overflow
    if loss.reduction == "mean" and loss.indices:
        yield same(other, trial)
        return
    yield same(other, trial, got_moves=lambda y: y * 2)


@law("one-hot", "a class is a probability of 1", SUMMED)
def one_hot(trial: Trial, generator: Generator) -> Claims:
    """One-hot probabilities as target, where nothing is ignored and the mean is unweighted."""
    loss = Loss.of(trial)
    mean = loss.reduction == "mean" and loss.weight is not None
    if not loss.indices or mean or (loss.target == loss.ignored).any():
        return
    hot = np.moveaxis(np.eye(loss.classes)[loss.target], -1, loss.axis)
    arguments = {k: v for k, v in loss.arguments.items() if k != "ignore_index"}
    other = replace(loss, target=hot, arguments=arguments).run()
    yield claim(other, measured(other), Side(trial.text(), measured(trial)))


CLASSES, DROPPED = classes(Loss.of), dropped(Loss.of)
LAWS = (
    form("CrossEntropyLoss", "functional.cross_entropy", ("weight",)),
    *reductions({"mean": mean_of_samples}),
    unbatched(2),
    positions,
    CLASSES,
    shifted,
    ignored,
    DROPPED,
    weighted,
    one_hot,
)
