"""Laws of the connectionist temporal classification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.elementary import constants
from conformance.arithmetic.reductions import divide_by_count, total
from conformance.laws.loss.reductions import argument_value, form_law, samples, with_reduction
from conformance.model.formats import round_to
from conformance.oracles.loss.ctc import pad_targets
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    in_float64,
    law,
    outputs_with_bounds,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_MAX_EXTRA = 17  # most extra steps or labels beyond the lengths


@dataclass(frozen=True, eq=False)
class Sequences:
    """The operands of a call as a batch with padded targets.

    Args:
        trial: the case that they were read from.
        x: (T, N, C).
        targets: (N, S).
        steps, lengths: (N), of the inputs and of the targets.
        form: the case's form: `"padded"`, `"concatenated"` or `"unbatched"`.
        tuples: the case passes lengths as tuples, not tensors.
    """

    trial: Trial
    x: np.ndarray
    targets: np.ndarray
    steps: np.ndarray
    lengths: np.ndarray
    form: str
    tuples: bool

    @classmethod
    def of(cls, trial: Trial) -> Sequences:
        """Read a case."""
        case = trial.case
        x, targets, *tensors = case.inputs
        assert x is not None
        assert targets is not None
        length_tensors = tensors or [
            np.array(case.keywords[n]) for n in trial.spec.signature.input_names[2:]
        ]
        steps, lengths = (np.atleast_1d(np.asarray(n, np.int64)) for n in length_tensors)
        form = "padded" if targets.ndim == 2 else "concatenated"
        if x.ndim == 2:
            form, x = "unbatched", x[:, np.newaxis]
        rows = pad_targets(targets, lengths)
        return cls(trial, x, rows, steps, lengths, form, not tensors)

    @property
    def blank(self) -> int:
        """The class of blanks."""
        return int(argument_value(self.trial, "blank"))

    def call(self, **changes: Any) -> Trial:
        """The call on the same backend, in this form.

        Args:
            changes: changed arguments.
        """
        case, x, targets = self.trial.case, self.x, self.targets
        inside = np.arange(targets.shape[1]) < self.lengths[:, np.newaxis]
        if self.form != "padded":
            targets = targets[inside]
        length_arrays: list[Any] = [self.steps, self.lengths]
        if self.form == "unbatched":
            x, length_arrays = x[:, 0], [n[0] for n in length_arrays]
        call = case.call
        call = replace(call, arguments={**call.arguments, **changes}, layouts={})
        keywords: dict[str, Any] = {}
        inputs: tuple[np.ndarray, ...] = (x, targets)
        if self.tuples:
            numbers = (tuple(map(int, np.atleast_1d(n))) for n in length_arrays)
            keywords = dict(zip(self.trial.spec.signature.input_names[2:], numbers, strict=True))
        else:
            inputs = (*inputs, *(np.asarray(n, np.int64) for n in length_arrays))
        return self.trial.trial_of(
            replace(case, call=call, inputs=inputs, keywords=keywords, layouts=())
        )


@law("singles", "each loss of a batch is that of its sample alone")
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples, each in a call of its own."""
    op = Sequences.of(trial)
    if op.form == "unbatched":
        return
    unreduced = op.call(reduction="none")
    for n in generator.permutation(len(op.steps))[:3]:
        sample = slice(int(n), int(n) + 1)
        alone = replace(
            op,
            x=op.x[:, sample],
            targets=op.targets[sample],
            steps=op.steps[sample],
            lengths=op.lengths[sample],
        ).call(reduction="none")
        yield equality_claim(alone, unreduced, wanted_moves=lambda y, one=sample: y[one])  # type: ignore[misc]


@law("targets", "padded targets are as good as concatenated ones")
def targets(trial: Trial, generator: Generator) -> Claims:
    """Concatenated targets instead of padded ones, or the reverse."""
    op = Sequences.of(trial)
    forms = {"padded": "concatenated", "concatenated": "padded"}
    if op.form in forms:
        yield equality_claim(replace(op, form=forms[op.form]).call(), trial)


@law("unbatched", "a sequence without a batch dimension is a batch of one")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """An unbatched sequence as a batch of one, or the reverse."""
    op = Sequences.of(trial)
    if len(op.steps) != 1:
        return
    other = "padded" if op.form == "unbatched" else "unbatched"
    (shape,) = trial.shapes
    yield equality_claim(
        replace(op, form=other).call(), trial, got_moves=lambda y: y.reshape(shape)
    )


@law("tuples", "lengths are the same as a tuple and as a tensor")
def tuples(trial: Trial, generator: Generator) -> Claims:
    """Lengths as tuples instead of tensors, or the reverse."""
    op = Sequences.of(trial)
    yield equality_claim(replace(op, tuples=not op.tuples).call(), trial)


@law("beyond", "what lies beyond the lengths means nothing")
def beyond(trial: Trial, generator: Generator) -> Claims:
    """More steps and longer padding, filled with other numbers: blanks, or invalid classes."""
    op = Sequences.of(trial)
    extra_steps, extra_labels = generator.integers(_MAX_EXTRA, size=2, endpoint=True)
    x = np.concatenate([op.x, np.repeat(op.x[:1], extra_steps, axis=0)])
    ended = np.arange(len(x))[:, np.newaxis] >= op.steps
    x = np.where(ended[..., np.newaxis], round_to(x[::-1] / 2, trial.case.call.dtype), x)
    count, longest = op.targets.shape
    rows = np.concatenate([op.targets, np.zeros((count, extra_labels), np.int64)], axis=1)
    padding = generator.choice([op.blank, 0, op.x.shape[2] - 1, 10**6, -1])
    inside = np.arange(longest + extra_labels) < op.lengths[:, np.newaxis]
    other = replace(op, x=x, targets=np.where(inside, rows, padding)).call()
    yield equality_claim(other, trial)


@law("classes", "classes may change their places, the blank among them")
def classes(trial: Trial, generator: Generator) -> Claims:
    """The classes permuted, in the targets, too."""
    op = Sequences.of(trial)
    order = generator.permutation(op.x.shape[2])
    new_places = np.argsort(order)
    other = replace(op, x=op.x[..., order], targets=new_places[op.targets])
    yield equality_claim(other.call(blank=int(new_places[op.blank])), trial)


@law("certain", "a step at which the blank is certain means nothing, put before all others")
def certain(trial: Trial, generator: Generator) -> Claims:
    """A first step with log_probs of 0 for the blank and −∞ for the other classes."""
    op = Sequences.of(trial)
    if not op.steps.all():
        return  # of no steps only the empty target has a probability
    blank_step = np.full((1, *op.x.shape[1:]), -np.inf)
    blank_step[..., op.blank] = 0.0
    longer = replace(op, x=np.concatenate([blank_step, op.x]), steps=op.steps + 1).call()
    yield claim(
        longer, outputs_with_bounds(longer), Side(trial.text(), outputs_with_bounds(trial), trial)
    )


@law(
    "averaged",
    "the mean is that of the losses over the lengths of the targets",
    WITHIN_SUM_OF_BOUNDS,
)
def averaged(trial: Trial, generator: Generator) -> Claims:
    """Mean and sum, computed from the unreduced losses; an empty target has the length 1."""
    op = Sequences.of(trial)
    unreduced = with_reduction(trial, "none")
    (losses,) = outputs_with_bounds(unreduced)
    with np.errstate(all="ignore"):
        wide_losses = in_float64(losses)
        divided_losses = wide_losses / constants(
            np.maximum(op.lengths, 1).reshape(wide_losses.shape).astype(float), wide_losses
        )
        sides = {
            "sum": total(wide_losses),
            "mean": divide_by_count(total(divided_losses), max(wide_losses.value.size, 1)),
        }
    for reduction, side in sides.items():
        other = with_reduction(trial, reduction)
        text = f"the {reduction} of {unreduced.text()}"
        yield claim(other, outputs_with_bounds(other), Side(text, (side,)))


@law("zeroed", "zero_infinity makes impossible losses 0, and changes no other")
def zeroed(trial: Trial, generator: Generator) -> Claims:
    """The unreduced losses with and without zero_infinity."""
    op = Sequences.of(trial)
    plain, zero = (op.call(reduction="none", zero_infinity=flag) for flag in (False, True))
    (losses,) = plain.answer
    wanted = with_bounds_of((np.where(np.isposinf(losses), 0.0, losses),), plain.expected)
    yield claim(zero, outputs_with_bounds(zero), Side(f"{plain.text()}, without ∞", wanted))


LAWS = (
    form_law("CTCLoss", "functional.ctc_loss"),
    samples,
    singles,
    targets,
    unbatched,
    tuples,
    beyond,
    classes,
    certain,
    averaged,
    zeroed,
)
