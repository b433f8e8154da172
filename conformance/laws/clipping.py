"""Laws of gradient norms and gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.model.formats import format_of
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    WITHIN_TWICE_BOUND,
    Claim,
    Claims,
    Generator,
    Side,
    large_size,
    law,
    outputs_with_bounds,
    scale_exactly,
    trial_with,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_UTILS = "utils."
_HARDTANH = "functional.hardtanh"


def _arguments(trial: Trial) -> dict[str, Any]:
    """All arguments of the call, defaults included."""
    return {**trial.spec.signature.defaults, **trial.case.call.arguments}


def _leading_inputs(trial: Trial) -> int:
    """Number of inputs before the gradients."""
    return sum(not x.passing.part_of for x in trial.spec.signature.inputs)


def _gradients(trial: Trial) -> list[np.ndarray]:
    """The gradients that are not None."""
    return [x for x in trial.case.inputs[_leading_inputs(trial) :] if x is not None]


def _call_with_gradients(trial: Trial, gradients: Sequence[np.ndarray], **changes: Any) -> Trial:
    """The call on other gradients."""
    leading: Any = trial.case.inputs[: _leading_inputs(trial)]
    return trial_with(trial, *leading, *gradients, **changes)


def _leading_outputs(trial: Trial) -> int:
    """Number of outputs before the gradients: 1 if the call returns the norm, else 0."""
    return int(trial.names[0] == "total_norm")


def _side(trial: Trial, outputs: Sequence[Rounded]) -> Side:
    return Side(trial.text(), tuple(outputs), trial)


def _in_range(trial: Trial) -> bool:
    """Whether every gradient can be halved and doubled without rounding."""
    target = format_of(trial.case.call.dtype)
    sizes = [np.abs(x[x != 0]) for x in _gradients(trial)]
    return all(((x >= 4 * target.normal) & (x <= target.largest / 4)).all() for x in sizes)


@law("scaled", "twice the gradients have twice the norm", WITHIN_SUM_OF_BOUNDS)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The call on doubled gradients, where none leaves the range."""
    if _in_range(trial):
        other = _call_with_gradients(trial, [2.0 * x for x in _gradients(trial)])
        yield Claim(
            trial.names, _side(other, outputs_with_bounds(other)),
            _side(trial, [scale_exactly(x, 2.0) for x in outputs_with_bounds(trial)]),
        )  # fmt: skip


@law("in two", "a gradient in two parts is measured and clipped as one", WITHIN_SUM_OF_BOUNDS)
def in_two(trial: Trial, generator: Generator) -> Claims:
    """The call with the first gradient of at least two elements flattened and split in two."""
    arrays = _gradients(trial)
    index = next((k for k, x in enumerate(arrays) if x.size > 1), None)
    if index is None or len(arrays) == len(trial.spec.signature.inputs) - _leading_inputs(trial):
        return
    flat = arrays[index].reshape(-1)
    cut = int(generator.integers(1, flat.size))
    parts = [*arrays[:index], flat[:cut], flat[cut:], *arrays[index + 1 :]]
    other = _call_with_gradients(trial, parts)
    got, wanted = outputs_with_bounds(other), outputs_with_bounds(trial)
    first = _leading_outputs(trial)
    if first:
        yield Claim(trial.names[:1], _side(other, got[:1]), _side(trial, wanted[:1]))
    if len(wanted) > first:
        unsplit = wanted[first + index].map(lambda array: array.reshape(-1))
        halves = [unsplit.map(lambda array: array[:cut]), unsplit.map(lambda array: array[cut:])]
        split_gradients = got[first + index : first + index + 2]
        yield Claim(
            other.names[first + index :][:2], _side(other, split_gradients), _side(trial, halves)
        )


@law("order", "gradients in another order are measured and clipped alike", WITHIN_SUM_OF_BOUNDS)
def order(trial: Trial, generator: Generator) -> Claims:
    """The call with the gradients permuted."""
    arrays = _gradients(trial)
    chosen = generator.permutation(len(arrays))
    other = _call_with_gradients(trial, [arrays[k] for k in chosen])
    got, wanted = outputs_with_bounds(other), outputs_with_bounds(trial)
    first = _leading_outputs(trial)
    reordered = [*wanted[:first], *(wanted[first + k] for k in chosen if wanted[first:])]
    yield Claim(other.names, _side(other, got), _side(trial, reordered))


@law("foreach", "foreach decides how it is computed, not what", WITHIN_SUM_OF_BOUNDS)
def foreach(trial: Trial, generator: Generator) -> Claims:
    """The call with another value of foreach."""
    others = [x for x in (None, True, False) if x is not _arguments(trial)["foreach"]]
    other = _call_with_gradients(trial, _gradients(trial), foreach=others[generator.integers(2)])
    yield Claim(
        trial.names,
        _side(other, outputs_with_bounds(other)),
        _side(trial, outputs_with_bounds(trial)),
    )


@law("measured", "the norm is that of get_total_norm", WITHIN_SUM_OF_BOUNDS)
def of_the_measure(trial: Trial, generator: Generator) -> Claims:
    """get_total_norm of the same backend on the same gradients."""
    names = ("norm_type", "foreach")
    norm_arguments = {k: x for k, x in trial.case.call.arguments.items() if k in names}
    other = trial_with(
        trial, *_gradients(trial), layer=f"{_UTILS}get_total_norm", arguments=norm_arguments
    )
    yield Claim(
        trial.names[:1],
        _side(other, outputs_with_bounds(other)),
        _side(trial, outputs_with_bounds(trial)[:1]),
    )


@law("in steps", "it is get_total_norm and then clip_grads_with_norm_", WITHIN_SUM_OF_BOUNDS)
def in_steps(trial: Trial, generator: Generator) -> Claims:
    """clip_grads_with_norm_ with the norm that the call returned, within the call's own bounds."""
    clip_arguments = {k: _arguments(trial)[k] for k in ("max_norm", "foreach")}
    total = trial.answer[0]
    if not np.isfinite(total):
        return
    other = trial_with(
        trial,
        total,
        *_gradients(trial),
        layer=f"{_UTILS}clip_grads_with_norm_",
        arguments=clip_arguments,
    )
    wanted = outputs_with_bounds(trial)[1:]
    yield Claim(
        trial.names[1:], _side(other, with_bounds_of(other.answer, wanted)), _side(trial, wanted)
    )


@law("signs", "the norm does not depend on signs", WITHIN_SUM_OF_BOUNDS)
def signs(trial: Trial, generator: Generator) -> Claims:
    """The call on gradients with random signs."""
    signed = [x * (generator.integers(0, 2, x.shape) * 2.0 - 1) for x in _gradients(trial)]
    other = _call_with_gradients(trial, signed)
    yield Claim(
        trial.names,
        _side(other, outputs_with_bounds(other)),
        _side(trial, outputs_with_bounds(trial)),
    )


@law("alone", "each gradient is clipped alone as it is among others", WITHIN_TWICE_BOUND)
def alone(trial: Trial, generator: Generator) -> Claims:
    """At most three gradients, each in a call of its own."""
    arrays, wanted = _gradients(trial), outputs_with_bounds(trial)
    for k in generator.permutation(len(arrays))[:3].tolist():
        single = _call_with_gradients(trial, [arrays[k]])
        outputs = with_bounds_of(single.answer, wanted[k : k + 1])
        sides = (Side(single.text(), outputs, single), _side(trial, wanted[k : k + 1]))
        yield Claim(trial.names[k : k + 1], *sides)


@law("rows", "each element among many is clipped as it is among few", WITHIN_TWICE_BOUND)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 elements drawn from the first gradient, as one gradient."""
    arrays = _gradients(trial)
    if not arrays[0].size:
        return
    chosen = generator.integers(arrays[0].size, size=large_size(generator))
    large = _call_with_gradients(trial, [arrays[0].reshape(-1)[chosen]])
    wanted = outputs_with_bounds(trial)[0].map(lambda array: array.reshape(-1)[chosen])
    outputs = with_bounds_of(large.answer, (wanted,))
    yield Claim(trial.names[:1], Side(large.text(), outputs, large), _side(trial, [wanted]))


@law("odd", "of gradients with the other sign all comes with the other sign", WITHIN_TWICE_BOUND)
def odd(trial: Trial, generator: Generator) -> Claims:
    """The call with all signs changed."""
    other = _call_with_gradients(trial, [-x for x in _gradients(trial)])
    outputs = [-x for x in outputs_with_bounds(trial)]
    sides = (
        Side(other.text(), with_bounds_of(other.answer, outputs), other),
        _side(trial, outputs),
    )
    yield Claim(trial.names, *sides)


@law("twice", "what is clipped already is left as it is", WITHIN_TWICE_BOUND)
def twice(trial: Trial, generator: Generator) -> Claims:
    """The call on its own output."""
    other = _call_with_gradients(trial, trial.answer)
    wanted = with_bounds_of(
        trial.answer, [x.with_error(0 * x.value) for x in outputs_with_bounds(trial)]
    )
    yield Claim(trial.names, Side(other.text(), with_bounds_of(other.answer, wanted), other),
                _side(trial, wanted))  # fmt: skip


@law("hardtanh", "clipping is hardtanh between the two values", WITHIN_SUM_OF_BOUNDS)
def hard(trial: Trial, generator: Generator) -> Claims:
    """hardtanh of each gradient, for a finite clip_value above 0."""
    limit = float(_arguments(trial)["clip_value"])
    if not 0 < limit < np.inf:
        return
    range_arguments = {"min_val": -limit, "max_val": limit}
    for k, x in enumerate(_gradients(trial)):
        other = trial_with(trial, x, layer=_HARDTANH, arguments=range_arguments)
        wanted = outputs_with_bounds(trial)[k : k + 1]
        yield Claim(
            trial.names[k : k + 1], _side(other, outputs_with_bounds(other)), _side(trial, wanted)
        )


MEASURE = (scaled, in_two, order, foreach, signs)
NORM = (in_two, order, foreach, of_the_measure, in_steps)
WITH_NORM = (scaled, alone, order, foreach, odd, rows)
VALUE = (alone, rows, odd, twice, hard, foreach)
