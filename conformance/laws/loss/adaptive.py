"""Laws of the adaptive softmax."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.elementary import exp
from conformance.arithmetic.reductions import maximum, over, total
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws.loss.reductions import on, samples, unbatched
from conformance.spec.law import (
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    bounded,
    law,
    many,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

LOSS = "AdaptiveLogSoftmaxWithLoss"
LOG_PROB, PREDICT = f"{LOSS}.log_prob", f"{LOSS}.predict"
_OUTPUT = "output"


@dataclass(frozen=True, eq=False)
class Softmax:
    """The operands of a call of the module or of one of its methods.

    Args:
        trial: the case that they were read from.
        inputs: features, and targets for the module.
        state: the weights.
    """

    trial: Trial
    inputs: tuple[np.ndarray, ...]
    state: dict[str, np.ndarray]

    @classmethod
    def of(cls, trial: Trial) -> Softmax:
        """Read a case."""
        inputs = tuple(x for x in trial.case.inputs if x is not None)
        return cls(trial, inputs, dict(trial.case.call.state))

    @property
    def x(self) -> np.ndarray:
        """The features."""
        return self.inputs[0]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.trial.case.call.arguments["n_classes"])

    @property
    def ends(self) -> tuple[int, ...]:
        """The class after the last one of each bucket: cutoffs, then n_classes."""
        return (*self.trial.case.call.arguments["cutoffs"], self.classes)

    def run(self, layer: str = "", *inputs: np.ndarray) -> Trial:
        """The call on the same backend.

        Args:
            layer: the module, or a method; empty = the case's own.
            inputs: other inputs; none = these.
        """
        return on(self.trial, inputs or self.inputs, layer=layer or None, state=self.state)


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    given = Softmax.of(trial)
    if given.x.ndim != 2 or not given.x.size:
        return
    chosen = generator.integers(len(given.x), size=many(generator, given.x[0].size))
    large = replace(given, inputs=tuple(x[chosen] for x in given.inputs)).run()
    wanted = measured(trial)[0].map(lambda array: array[chosen])
    (got,) = bounded(large.answer[:1], (wanted,))
    yield Claim(
        trial.names[:1], Side(large.text(), (got,), large), Side(trial.text(), (wanted,), trial)
    )


@law("averaged", "the loss is the mean of the outputs, negative", SUMMED)
def averaged(trial: Trial, generator: Generator) -> Claims:
    """Output and loss of the same call."""
    output, loss = measured(trial)
    with np.errstate(all="ignore"):
        mean = over(total(-on_host(output)), output.value.size)
    text = f"the mean of the outputs of {trial.text()}"
    yield Claim(trial.names[1:], Side(trial.text(), (loss,), trial), Side(text, (mean,)))


@law("certain", "the probabilities of all classes add up to 1", SUMMED)
def certain(trial: Trial, generator: Generator) -> Claims:
    """One row with each class as its target."""
    given = Softmax.of(trial)
    if not given.x.size:
        return
    row = given.x if given.x.ndim == 1 else given.x[int(generator.integers(len(given.x)))]
    every = given.run(LOSS, np.tile(row, (given.classes, 1)), np.arange(given.classes))
    logs = on_host(measured(every)[0])
    with np.errstate(all="ignore"):
        whole = total(exp(logs))
    one = exactly(np.ones(()), logs.precision)
    text = f"the sum of the probabilities of {every.text()}"
    yield Claim((_OUTPUT,), Side(text, (whole,)), Side("1", (one,)))


@law("classes", "classes of one cluster may change their places")
def classes(trial: Trial, generator: Generator) -> Claims:
    """The classes of the head, or of one cluster, permuted with their targets."""
    given = Softmax.of(trial)
    ends = given.ends
    bucket = int(generator.integers(len(ends)))
    start = ends[bucket - 1] if bucket else 0
    order = generator.permutation(ends[bucket] - start)
    state = dict(given.state)
    names = (f"tail.{bucket - 1}.1.weight",) if bucket else ("head.weight", "head.bias")
    for name in names:
        if name in state:
            array = state[name].copy()
            array[: len(order)] = array[order]
            state[name] = array
    moved = np.arange(given.classes)
    moved[start : ends[bucket]] = start + np.argsort(order)  # the new index of each class
    if len(given.inputs) > 1:
        inputs = (given.x, moved[given.inputs[1]])
        yield same(replace(given, inputs=inputs, state=state).run(), trial)
    else:
        other = replace(given, state=state).run()
        yield same(other, trial, got_moves=lambda y: y[:, moved])


@law("features", "features may change their places")
def features(trial: Trial, generator: Generator) -> Claims:
    """Features permuted with the columns of the head and of each projection."""
    given = Softmax.of(trial)
    order = generator.permutation(given.x.shape[-1])
    state = {
        name: array[:, order] if name == "head.weight" or name.endswith(".0.weight") else array
        for name, array in given.state.items()
    }
    inputs = (given.x[..., order], *given.inputs[1:])
    yield same(replace(given, inputs=inputs, state=state).run(), trial)


@law("targets", "the output is the target's of the logarithms of all classes")
def targets(trial: Trial, generator: Generator) -> Claims:
    """log_prob of a batch at each row's own target, or at a random one."""
    given = Softmax.of(trial)
    if given.x.ndim != 2 or not given.x.size:
        return
    drawn = generator.integers(given.classes, size=len(given.x))
    target = given.inputs[1] if len(given.inputs) > 1 else drawn
    loss, every = given.run(LOSS, given.x, target), given.run(LOG_PROB, given.x)
    wanted = measured(every)[0].map(lambda array: array[np.arange(len(target)), target])
    got = measured(loss)[0]
    yield Claim((_OUTPUT,), Side(loss.text(), (got,), loss), Side(every.text(), (wanted,), every))


@law("most", "what is predicted has the largest logarithm of all classes")
def most(trial: Trial, generator: Generator) -> Claims:
    """The page's definition, log_prob(input).argmax(dim=1)."""
    given = Softmax.of(trial)
    if given.x.ndim != 2 or not given.x.size:
        return
    every, chosen = given.run(LOG_PROB, given.x), given.run(PREDICT, given.x)
    (logs,), (classes,) = measured(every), chosen.answer
    wanted = maximum(logs, 1)
    inside = (classes >= 0) & (classes < given.classes)
    at = np.where(inside, classes, 0)
    got = logs.map(lambda array: array[np.arange(len(at)), at])
    # An index outside the classes has no logarithm.
    value, error = np.where(inside, got.value, np.nan), np.where(inside, got.error, 0.0)
    got = Rounded(value, error, logs.precision)
    text = f"{every.text()} at {chosen.text()}"
    yield Claim((_OUTPUT,), Side(text, (got,)), Side(every.text(), (wanted,), every))


# The methods accept only a batch.
LAWS = (samples, rows, unbatched(2), averaged, certain, classes, features, targets)
OF_ALL = (samples, rows, classes, features, targets, most)
OF_PREDICTED = (samples, rows, most)
