"""Laws of gradient norms and gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.model.formats import format_of
from conformance.spec.law import (
    MOVED,
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    bounded,
    called,
    law,
    many,
    measured,
    times,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_UTILS = "utils."
_HARD = "functional.hardtanh"


def _given(trial: Trial) -> dict[str, Any]:
    """All arguments of the call, defaults included."""
    return {**trial.row.signature.defaults, **trial.case.call.arguments}


def _before(trial: Trial) -> int:
    """Number of inputs before the gradients."""
    return sum(not x.passed.part_of for x in trial.row.signature.inputs)


def _gradients(trial: Trial) -> list[np.ndarray]:
    """The gradients that are not None."""
    return [x for x in trial.case.inputs[_before(trial) :] if x is not None]


def _with(trial: Trial, gradients: Sequence[np.ndarray], **changes: Any) -> Trial:
    """The call on other gradients."""
    first: Any = trial.case.inputs[: _before(trial)]
    return called(trial, *first, *gradients, **changes)


def _norms(trial: Trial) -> int:
    """Number of outputs before the gradients: 1 if the call returns the norm, else 0."""
    return int(trial.names[0] == "total_norm")


def _sided(trial: Trial, outputs: Sequence[Rounded]) -> Side:
    return Side(trial.text(), tuple(outputs), trial)


def _in_range(trial: Trial) -> bool:
    """Whether every gradient can be halved and doubled without rounding."""
    own = format_of(trial.case.call.dtype)
    sizes = [np.abs(x[x != 0]) for x in _gradients(trial)]
    return all(((x >= 4 * own.normal) & (x <= own.largest / 4)).all() for x in sizes)


@law("scaled", "twice the gradients have twice the norm", SUMMED)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The call on doubled gradients, where none leaves the range."""
    if _in_range(trial):
        other = _with(trial, [2.0 * x for x in _gradients(trial)])
        yield Claim(
            trial.names, _sided(other, measured(other)),
            _sided(trial, [times(x, 2.0) for x in measured(trial)]),
        )  # fmt: skip


@law("in two", "a gradient in two parts is measured and clipped as one", SUMMED)
def in_two(trial: Trial, generator: Generator) -> Claims:
    """The call with the first gradient of at least two elements flattened and split in two."""
    arrays = _gradients(trial)
    place = next((k for k, x in enumerate(arrays) if x.size > 1), None)
    if place is None or len(arrays) == len(trial.row.signature.inputs) - _before(trial):
        return
    flat = arrays[place].reshape(-1)
    cut = int(generator.integers(1, flat.size))
    parts = [*arrays[:place], flat[:cut], flat[cut:], *arrays[place + 1 :]]
    other = _with(trial, parts)
    got, wanted = measured(other), measured(trial)
    first = _norms(trial)
    if first:
        yield Claim(trial.names[:1], _sided(other, got[:1]), _sided(trial, wanted[:1]))
    if len(wanted) > first:
        whole = wanted[first + place].map(lambda array: array.reshape(-1))
        halves = [whole.map(lambda array: array[:cut]), whole.map(lambda array: array[cut:])]
        there = got[first + place : first + place + 2]
        yield Claim(other.names[first + place :][:2], _sided(other, there), _sided(trial, halves))


@law("order", "gradients in another order are measured and clipped alike", SUMMED)
def order(trial: Trial, generator: Generator) -> Claims:
    """The call with the gradients permuted."""
    arrays = _gradients(trial)
    chosen = generator.permutation(len(arrays))
    other = _with(trial, [arrays[k] for k in chosen])
    got, wanted = measured(other), measured(trial)
    first = _norms(trial)
    moved = [*wanted[:first], *(wanted[first + k] for k in chosen if wanted[first:])]
    yield Claim(other.names, _sided(other, got), _sided(trial, moved))


@law("foreach", "foreach decides how it is computed, not what", SUMMED)
def foreach(trial: Trial, generator: Generator) -> Claims:
    """The call with another value of foreach."""
    others = [x for x in (None, True, False) if x is not _given(trial)["foreach"]]
    other = _with(trial, _gradients(trial), foreach=others[generator.integers(2)])
    yield Claim(trial.names, _sided(other, measured(other)), _sided(trial, measured(trial)))


@law("measured", "the norm is that of get_total_norm", SUMMED)
def of_the_measure(trial: Trial, generator: Generator) -> Claims:
    """get_total_norm of the same backend on the same gradients."""
    names = ("norm_type", "foreach")
    given = {k: x for k, x in trial.case.call.arguments.items() if k in names}
    other = called(trial, *_gradients(trial), layer=f"{_UTILS}get_total_norm", arguments=given)
    yield Claim(trial.names[:1], _sided(other, measured(other)), _sided(trial, measured(trial)[:1]))


@law("in steps", "it is get_total_norm and then clip_grads_with_norm_", SUMMED)
def in_steps(trial: Trial, generator: Generator) -> Claims:
    """clip_grads_with_norm_ with the norm that the call returned, within the call's own bounds."""
    given = {k: _given(trial)[k] for k in ("max_norm", "foreach")}
    total = trial.answer[0]
    if not np.isfinite(total):
        return
    other = called(
        trial, total, *_gradients(trial), layer=f"{_UTILS}clip_grads_with_norm_", arguments=given
    )
    wanted = measured(trial)[1:]
    yield Claim(
        trial.names[1:], _sided(other, bounded(other.answer, wanted)), _sided(trial, wanted)
    )


@law("signs", "the norm does not depend on signs", SUMMED)
def signs(trial: Trial, generator: Generator) -> Claims:
    """The call on gradients with random signs."""
    turned = [x * (generator.integers(0, 2, x.shape) * 2.0 - 1) for x in _gradients(trial)]
    other = _with(trial, turned)
    yield Claim(trial.names, _sided(other, measured(other)), _sided(trial, measured(trial)))


@law("alone", "each gradient is clipped alone as it is among others", MOVED)
def alone(trial: Trial, generator: Generator) -> Claims:
    """At most three gradients, each in a call of its own."""
    arrays, wanted = _gradients(trial), measured(trial)
    for k in generator.permutation(len(arrays))[:3].tolist():
        one = _with(trial, [arrays[k]])
        outputs = bounded(one.answer, wanted[k : k + 1])
        sides = (Side(one.text(), outputs, one), _sided(trial, wanted[k : k + 1]))
        yield Claim(trial.names[k : k + 1], *sides)


@law("rows", "each element among many is clipped as it is among few", MOVED)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 elements drawn from the first gradient, as one gradient."""
    arrays = _gradients(trial)
    if not arrays[0].size:
        return
    chosen = generator.integers(arrays[0].size, size=many(generator))
    large = _with(trial, [arrays[0].reshape(-1)[chosen]])
    wanted = measured(trial)[0].map(lambda array: array.reshape(-1)[chosen])
    outputs = bounded(large.answer, (wanted,))
    yield Claim(trial.names[:1], Side(large.text(), outputs, large), _sided(trial, [wanted]))


@law("odd", "of gradients with the other sign all comes with the other sign", MOVED)
def odd(trial: Trial, generator: Generator) -> Claims:
    """The call with all signs changed."""
    other = _with(trial, [-x for x in _gradients(trial)])
    outputs = [-x for x in measured(trial)]
    sides = (Side(other.text(), bounded(other.answer, outputs), other), _sided(trial, outputs))
    yield Claim(trial.names, *sides)


@law("twice", "what is clipped already is left as it is", MOVED)
def twice(trial: Trial, generator: Generator) -> Claims:
    """The call on its own output."""
    other = _with(trial, trial.answer)
    wanted = bounded(trial.answer, [x.with_error(0 * x.value) for x in measured(trial)])
    yield Claim(trial.names, Side(other.text(), bounded(other.answer, wanted), other),
                _sided(trial, wanted))  # fmt: skip


@law("hardtanh", "clipping is hardtanh between the two values", SUMMED)
def hard(trial: Trial, generator: Generator) -> Claims:
    """hardtanh of each gradient, for a finite clip_value above 0."""
    most = float(_given(trial)["clip_value"])
    if not 0 < most < np.inf:
        return
    given = {"min_val": -most, "max_val": most}
    for k, x in enumerate(_gradients(trial)):
        other = called(trial, x, layer=_HARD, arguments=given)
        wanted = measured(trial)[k : k + 1]
        yield Claim(trial.names[k : k + 1], _sided(other, measured(other)), _sided(trial, wanted))


MEASURE = (scaled, in_two, order, foreach, signs)
NORM = (in_two, order, foreach, of_the_measure, in_steps)
WITH_NORM = (scaled, alone, order, foreach, odd, rows)
VALUE = (alone, rows, odd, twice, hard, foreach)
