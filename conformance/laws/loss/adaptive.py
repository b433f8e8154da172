"""Laws of the adaptive softmax."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.elementary import exp
from conformance.arithmetic.reductions import divide_by_count, maximum, total
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws.loss.reductions import call_on, samples, unbatched_law
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claim,
    Claims,
    Generator,
    Side,
    equality_claim,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
    with_bounds_of,
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

    def call(self, layer: str = "", *inputs: np.ndarray) -> Trial:
        """The call on the same backend.

        Args:
            layer: the module, or a method; empty = the case's own.
            inputs: other inputs; none = these.
        """
        return call_on(self.trial, inputs or self.inputs, layer=layer or None, state=self.state)


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    op = Softmax.of(trial)
    if op.x.ndim != 2 or not op.x.size:
        return
    chosen = generator.integers(len(op.x), size=large_size(generator, op.x[0].size))
    large = replace(op, inputs=tuple(x[chosen] for x in op.inputs)).call()
    wanted = outputs_with_bounds(trial)[0].map(lambda array: array[chosen])
    (got,) = with_bounds_of(large.answer[:1], (wanted,))
    yield Claim(
        trial.names[:1], Side(large.text(), (got,), large), Side(trial.text(), (wanted,), trial)
    )


@law("averaged", "the loss is the mean of the outputs, negative", WITHIN_SUM_OF_BOUNDS)
def averaged(trial: Trial, generator: Generator) -> Claims:
    """Output and loss of the same call."""
    output, loss = outputs_with_bounds(trial)
    with np.errstate(all="ignore"):
        mean = divide_by_count(total(-in_float64(output)), output.value.size)
    text = f"the mean of the outputs of {trial.text()}"
    yield Claim(trial.names[1:], Side(trial.text(), (loss,), trial), Side(text, (mean,)))


@law("certain", "the probabilities of all classes add up to 1", WITHIN_SUM_OF_BOUNDS)
def certain(trial: Trial, generator: Generator) -> Claims:
    """One row with each class as its target."""
    op = Softmax.of(trial)
    if not op.x.size:
        return
    row = op.x if op.x.ndim == 1 else op.x[int(generator.integers(len(op.x)))]
    all_classes = op.call(LOSS, np.tile(row, (op.classes, 1)), np.arange(op.classes))
    logs = in_float64(outputs_with_bounds(all_classes)[0])
    with np.errstate(all="ignore"):
        probability_sum = total(exp(logs))
    one = exact_operand(np.ones(()), logs.precision)
    text = f"the sum of the probabilities of {all_classes.text()}"
    yield Claim((_OUTPUT,), Side(text, (probability_sum,)), Side("1", (one,)))


@law("classes", "classes of one cluster may change their places")
def classes(trial: Trial, generator: Generator) -> Claims:
    """The classes of the head, or of one cluster, permuted with their targets."""
    op = Softmax.of(trial)
    ends = op.ends
    bucket = int(generator.integers(len(ends)))
    start = ends[bucket - 1] if bucket else 0
    order = generator.permutation(ends[bucket] - start)
    state = dict(op.state)
    names = (f"tail.{bucket - 1}.1.weight",) if bucket else ("head.weight", "head.bias")
    for name in names:
        if name in state:
            array = state[name].copy()
            array[: len(order)] = array[order]
            state[name] = array
    new_places = np.arange(op.classes)
    new_places[start : ends[bucket]] = start + np.argsort(order)  # the new index of each class
    if len(op.inputs) > 1:
        inputs = (op.x, new_places[op.inputs[1]])
        yield equality_claim(replace(op, inputs=inputs, state=state).call(), trial)
    else:
        other = replace(op, state=state).call()
        yield equality_claim(other, trial, got_moves=lambda y: y[:, new_places])


@law("features", "features may change their places")
def features(trial: Trial, generator: Generator) -> Claims:
    """Features permuted with the columns of the head and of each projection."""
    op = Softmax.of(trial)
    order = generator.permutation(op.x.shape[-1])
    state = {
        name: array[:, order] if name == "head.weight" or name.endswith(".0.weight") else array
        for name, array in op.state.items()
    }
    inputs = (op.x[..., order], *op.inputs[1:])
    yield equality_claim(replace(op, inputs=inputs, state=state).call(), trial)


@law("targets", "the output is the target's of the logarithms of all classes")
def targets(trial: Trial, generator: Generator) -> Claims:
    """log_prob of a batch at each row's own target, or at a random one."""
    op = Softmax.of(trial)
    if op.x.ndim != 2 or not op.x.size:
        return
    drawn = generator.integers(op.classes, size=len(op.x))
    target = op.inputs[1] if len(op.inputs) > 1 else drawn
    loss, all_classes = op.call(LOSS, op.x, target), op.call(LOG_PROB, op.x)
    wanted = outputs_with_bounds(all_classes)[0].map(
        lambda array: array[np.arange(len(target)), target]
    )
    got = outputs_with_bounds(loss)[0]
    yield Claim(
        (_OUTPUT,),
        Side(loss.text(), (got,), loss),
        Side(all_classes.text(), (wanted,), all_classes),
    )


@law("most", "what is predicted has the largest logarithm of all classes")
def most(trial: Trial, generator: Generator) -> Claims:
    """The page's definition, log_prob(input).argmax(dim=1)."""
    op = Softmax.of(trial)
    if op.x.ndim != 2 or not op.x.size:
        return
    all_classes, chosen = op.call(LOG_PROB, op.x), op.call(PREDICT, op.x)
    (logs,), (classes,) = outputs_with_bounds(all_classes), chosen.answer
    wanted = maximum(logs, 1)
    inside = (classes >= 0) & (classes < op.classes)
    class_index = np.where(inside, classes, 0)
    got = logs.map(lambda array: array[np.arange(len(class_index)), class_index])
    # An index outside the classes has no logarithm.
    value, error = np.where(inside, got.value, np.nan), np.where(inside, got.error, 0.0)
    got = Rounded(value, error, logs.precision)
    text = f"{all_classes.text()} at {chosen.text()}"
    yield Claim((_OUTPUT,), Side(text, (got,)), Side(all_classes.text(), (wanted,), all_classes))


# The methods accept only a batch.
LOSS_LAWS = (samples, rows, unbatched_law(2), averaged, certain, classes, features, targets)
LOG_PROB_LAWS = (samples, rows, classes, features, targets, most)
PREDICT_LAWS = (samples, rows, most)
