"""Laws of the cross entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    claim,
    law,
    measured,
    same,
)
from conformance.laws.loss_reductions import form, on, reductions, unbatched
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.oracles.loss_nll import class_axis

if TYPE_CHECKING:
    from conformance.model.protocols import TrialLike as Trial


@dataclass(frozen=True, eq=False)
class Loss:
    """One call, whether the weight is state or an input.

    Args:
        trial: the case that it was read from.
        x, target: logits and what they should say.
        weight: of the classes; None where there is none.
        arguments: those written out.
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
        """Of the classes."""
        return class_axis(self.x.shape)

    @property
    def classes(self) -> int:
        """How many there are."""
        return int(self.x.shape[self.axis])

    @property
    def indices(self) -> bool:
        """Whether the target names classes."""
        return self.target.dtype.kind == "i"

    @property
    def ignored(self) -> int:
        """The index that is no target."""
        return int(self.arguments.get("ignore_index", -100))

    @property
    def reduction(self) -> str:
        """How the losses are reduced."""
        return str(self.arguments.get("reduction", "mean"))

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


def mean_of_samples(trial: Trial) -> float | None:
    """The samples, where each counts as one: no weights, nothing ignored."""
    loss = Loss.of(trial)
    if loss.weight is not None or (loss.indices and (loss.target == loss.ignored).any()):
        return None
    return float(loss.target.size if loss.indices else loss.target.size // loss.classes)


@law("positions", "positions are as good as samples")
def positions(trial: Trial, generator: Generator) -> Claims:
    """(N, C, d_1, …, d_K) as (N·d_1·…·d_K, C)."""
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


@law("classes", "classes may change their places, with their weights and targets")
def classes(trial: Trial, generator: Generator) -> Claims:
    """A permutation of the classes; an ignored class stays the ignored one."""
    loss = Loss.of(trial)
    order = generator.permutation(loss.classes)
    where = np.argsort(order)  # the new place of each class
    arguments = dict(loss.arguments)
    if loss.indices:
        inside = (loss.target >= 0) & (loss.target < loss.classes)
        target = np.where(inside, where[np.where(inside, loss.target, 0)], loss.target)
        if 0 <= loss.ignored < loss.classes:
            arguments["ignore_index"] = int(where[loss.ignored])
    else:
        target = loss.target.take(order, loss.axis)
    other = replace(
        loss,
        x=loss.x.take(order, loss.axis),
        target=target,
        weight=None if loss.weight is None else loss.weight[order],
        arguments=arguments,
    )
    yield same(other.run(), trial)


@law("shifted", "what is added to all logits of a sample means nothing")
def shifted(trial: Trial, generator: Generator) -> Claims:
    """Whole numbers, added where no logit is rounded."""
    loss = Loss.of(trial)
    shape = list(loss.x.shape)
    shape[loss.axis] = 1
    shift = generator.integers(-16, 16, shape).astype(np.float64)
    moved_by = loss.x + shift
    exact = (round_to(moved_by, trial.case.call.dtype) == moved_by) & (moved_by - shift == loss.x)
    x = np.where(exact.all(axis=loss.axis, keepdims=True), moved_by, loss.x)
    if not np.array_equal(x, loss.x):
        # Their own bound: x − (max + log Σ) rounds numbers as large as those.
        other = replace(loss, x=x).run()
        yield claim(other, measured(other), Side(trial.text(), measured(trial)))


@law("ignored", "the logits of a sample that is ignored mean nothing")
def ignored(trial: Trial, generator: Generator) -> Claims:
    """Others in their place."""
    loss = Loss.of(trial)
    gone = loss.target == loss.ignored
    if not loss.indices or not gone.any():
        return
    other = np.where(np.expand_dims(gone, loss.axis), -loss.x[..., ::-1] / 2, loss.x)
    yield same(replace(loss, x=round_to(other, trial.case.call.dtype)).run(), trial)


@law("dropped", "a sample that is ignored is as good as none")
def dropped(trial: Trial, generator: Generator) -> Claims:
    """The others alone."""
    loss = Loss.of(trial)
    counts = loss.target != loss.ignored
    if not loss.indices or loss.x.ndim != 2 or counts.all():
        return
    others = replace(loss, x=loss.x[counts], target=loss.target[counts]).run()
    yield same(others, trial, wanted_moves=lambda y: y[counts] if y.ndim else y)


@law("weighted", "weights half as large: the same mean over indices, otherwise half the loss")
def weighted(trial: Trial, generator: Generator) -> Claims:
    """Weights of 1 are none."""
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
    """Where nothing is ignored, and the mean is over samples either way."""
    loss = Loss.of(trial)
    mean = loss.reduction == "mean" and loss.weight is not None
    if not loss.indices or mean or (loss.target == loss.ignored).any():
        return
    hot = np.moveaxis(np.eye(loss.classes)[loss.target], -1, loss.axis)
    arguments = {k: v for k, v in loss.arguments.items() if k != "ignore_index"}
    other = replace(loss, target=hot, arguments=arguments).run()
    yield claim(other, measured(other), Side(trial.text(), measured(trial)))


LAWS = (
    form("CrossEntropyLoss", "functional.cross_entropy", ("weight",)),
    *reductions({"mean": mean_of_samples}),
    unbatched(2),
    positions,
    classes,
    shifted,
    ignored,
    dropped,
    weighted,
    one_hot,
)
