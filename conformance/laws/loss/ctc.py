"""Laws of the connectionist temporal classification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.elementary import known
from conformance.arithmetic.reductions import over, total
from conformance.laws.loss.reductions import form, given, reduced_by, samples
from conformance.model.formats import round_to
from conformance.oracles.loss.ctc import padded
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    bounded,
    claim,
    law,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_MORE = 17  # most extra steps or labels beyond the lengths


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
        both = tensors or [np.array(case.keywords[n]) for n in trial.row.signature.input_names[2:]]
        steps, lengths = (np.atleast_1d(np.asarray(n, np.int64)) for n in both)
        form = "padded" if targets.ndim == 2 else "concatenated"
        if x.ndim == 2:
            form, x = "unbatched", x[:, np.newaxis]
        rows = padded(targets, lengths)
        return cls(trial, x, rows, steps, lengths, form, not tensors)

    @property
    def blank(self) -> int:
        """The class of blanks."""
        return int(given(self.trial, "blank"))

    def run(self, **changes: Any) -> Trial:
        """The call on the same backend, in this form.

        Args:
            changes: changed arguments.
        """
        case, x, targets = self.trial.case, self.x, self.targets
        inside = np.arange(targets.shape[1]) < self.lengths[:, np.newaxis]
        if self.form != "padded":
            targets = targets[inside]
        both: list[Any] = [self.steps, self.lengths]
        if self.form == "unbatched":
            x, both = x[:, 0], [n[0] for n in both]
        call = case.call
        call = replace(call, arguments={**call.arguments, **changes}, layouts={})
        keywords: dict[str, Any] = {}
        inputs: tuple[np.ndarray, ...] = (x, targets)
        if self.tuples:
            numbers = (tuple(map(int, np.atleast_1d(n))) for n in both)
            keywords = dict(zip(self.trial.row.signature.input_names[2:], numbers, strict=True))
        else:
            inputs = (*inputs, *(np.asarray(n, np.int64) for n in both))
        return self.trial.other(
            replace(case, call=call, inputs=inputs, keywords=keywords, layouts=())
        )


@law("singles", "each loss of a batch is that of its sample alone")
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples, each in a call of its own."""
    whole = Sequences.of(trial)
    if whole.form == "unbatched":
        return
    each = whole.run(reduction="none")
    for n in generator.permutation(len(whole.steps))[:3]:
        one = slice(int(n), int(n) + 1)
        alone = replace(
            whole,
            x=whole.x[:, one],
            targets=whole.targets[one],
            steps=whole.steps[one],
            lengths=whole.lengths[one],
        ).run(reduction="none")
        yield same(alone, each, wanted_moves=lambda y, one=one: y[one])  # type: ignore[misc]


@law("targets", "padded targets are as good as concatenated ones")
def targets(trial: Trial, generator: Generator) -> Claims:
    """Concatenated targets instead of padded ones, or the reverse."""
    whole = Sequences.of(trial)
    forms = {"padded": "concatenated", "concatenated": "padded"}
    if whole.form in forms:
        yield same(replace(whole, form=forms[whole.form]).run(), trial)


@law("unbatched", "a sequence without a batch dimension is a batch of one")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """An unbatched sequence as a batch of one, or the reverse."""
    whole = Sequences.of(trial)
    if len(whole.steps) != 1:
        return
    other = "padded" if whole.form == "unbatched" else "unbatched"
    (shape,) = trial.shapes
    yield same(replace(whole, form=other).run(), trial, got_moves=lambda y: y.reshape(shape))


@law("tuples", "lengths are the same as a tuple and as a tensor")
def tuples(trial: Trial, generator: Generator) -> Claims:
    """Lengths as tuples instead of tensors, or the reverse."""
    whole = Sequences.of(trial)
    yield same(replace(whole, tuples=not whole.tuples).run(), trial)


@law("beyond", "what lies beyond the lengths means nothing")
def beyond(trial: Trial, generator: Generator) -> Claims:
    """More steps and longer padding, filled with other numbers: blanks, or invalid classes."""
    whole = Sequences.of(trial)
    more, longer = generator.integers(_MORE, size=2, endpoint=True)
    x = np.concatenate([whole.x, np.repeat(whole.x[:1], more, axis=0)])
    ended = np.arange(len(x))[:, np.newaxis] >= whole.steps
    x = np.where(ended[..., np.newaxis], round_to(x[::-1] / 2, trial.case.call.dtype), x)
    count, longest = whole.targets.shape
    rows = np.concatenate([whole.targets, np.zeros((count, longer), np.int64)], axis=1)
    padding = generator.choice([whole.blank, 0, whole.x.shape[2] - 1, 10**6, -1])
    inside = np.arange(longest + longer) < whole.lengths[:, np.newaxis]
    other = replace(whole, x=x, targets=np.where(inside, rows, padding)).run()
    yield same(other, trial)


@law("classes", "classes may change their places, the blank among them")
def classes(trial: Trial, generator: Generator) -> Claims:
    """The classes permuted, in the targets, too."""
    whole = Sequences.of(trial)
    order = generator.permutation(whole.x.shape[2])
    where = np.argsort(order)
    other = replace(whole, x=whole.x[..., order], targets=where[whole.targets])
    yield same(other.run(blank=int(where[whole.blank])), trial)


@law("certain", "a step at which the blank is certain means nothing, put before all others")
def certain(trial: Trial, generator: Generator) -> Claims:
    """A first step with log_probs of 0 for the blank and −∞ for the other classes."""
    whole = Sequences.of(trial)
    if not whole.steps.all():
        return  # of no steps only the empty target has a probability
    step = np.full((1, *whole.x.shape[1:]), -np.inf)
    step[..., whole.blank] = 0.0
    longer = replace(whole, x=np.concatenate([step, whole.x]), steps=whole.steps + 1).run()
    yield claim(longer, measured(longer), Side(trial.text(), measured(trial), trial))


@law("averaged", "the mean is that of the losses over the lengths of the targets", SUMMED)
def averaged(trial: Trial, generator: Generator) -> Claims:
    """Mean and sum, computed from the unreduced losses; an empty target has the length 1."""
    whole = Sequences.of(trial)
    single = reduced_by(trial, "none")
    (losses,) = measured(single)
    with np.errstate(all="ignore"):
        each = on_host(losses)
        mean = each / known(np.maximum(whole.lengths, 1).reshape(each.shape).astype(float), each)
        sides = {"sum": total(each), "mean": over(total(mean), max(each.value.size, 1))}
    for reduction, side in sides.items():
        other = reduced_by(trial, reduction)
        text = f"the {reduction} of {single.text()}"
        yield claim(other, measured(other), Side(text, (side,)))


@law("zeroed", "zero_infinity makes impossible losses 0, and changes no other")
def zeroed(trial: Trial, generator: Generator) -> Claims:
    """The unreduced losses with and without zero_infinity."""
    whole = Sequences.of(trial)
    plain, zero = (whole.run(reduction="none", zero_infinity=flag) for flag in (False, True))
    (losses,) = plain.answer
    wanted = bounded((np.where(np.isposinf(losses), 0.0, losses),), plain.expected)
    yield claim(zero, measured(zero), Side(f"{plain.text()}, without ∞", wanted))


LAWS = (
    form("CTCLoss", "functional.ctc_loss"),
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
