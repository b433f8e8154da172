"""Laws of softmax, softmin and log_softmax."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.elementary import exp
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded
from conformance.model.case import Case
from conformance.oracles.softmax import resolve_axis, sum_error
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claim,
    Claims,
    Generator,
    Move,
    Side,
    claim,
    equality_claim,
    get_input,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

BOTH = "equal where nothing rounds, else within twice the bound"
_FORMS = {
    "Softmin": "functional.softmin",
    "Softmax": "functional.softmax",
    "LogSoftmax": "functional.log_softmax",
}
_COUNTERPARTS = {**_FORMS, **{function: module for module, function in _FORMS.items()}}
_STEPS_PER_UNIT, _LIMIT = 8.0, 8.0  # eighths up to 8 have 7 bits, or 8 bits after a shift


def axis_of_case(case: Case) -> int:
    """The axis of the softmax of a case, counted from 0; 0 for a scalar.

    Args:
        case: a case of any layer of the family.
    """
    x, layer = case.inputs[0], case.call.layer
    assert x is not None
    if layer == "Softmax2d":
        return x.ndim - 3
    default = -1 if "gumbel" in layer else None
    return resolve_axis(case.call.arguments.get("dim", default), x.ndim)


def coarse_input(trial: Trial) -> np.ndarray:
    """The input rounded to eighths from −8 to 8, so that sums of such numbers are exact."""
    return np.clip(np.round(get_input(trial) * _STEPS_PER_UNIT) / _STEPS_PER_UNIT, -_LIMIT, _LIMIT)


@law("form", "the module and the function are one", BOTH)
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse, without `dtype`: a module does not cast."""
    if trial.case.call.arguments.get("dtype") is None:
        call = trial.case.call
        arguments = {name: x for name, x in call.arguments.items() if name != "dtype"}
        call = replace(call, layer=_COUNTERPARTS[call.layer], arguments=arguments)
        yield equality_claim(trial.trial_of(replace(trial.case, call=call, layouts=())), trial)


@law("shift", "a number added to a whole slice cancels", WITHIN_SUM_OF_BOUNDS)
def shift(trial: Trial, generator: Generator) -> Claims:
    """A different number added to each slice, where no sum rounds."""
    x, axis = coarse_input(trial), axis_of_case(trial.case)
    if x.ndim and x.size:
        sizes = [1 if place == axis else size for place, size in enumerate(x.shape)]
        shifts = generator.choice([1.0, -1.0, 2.0, -4.0, 8.0, -8.0], sizes)
        first, other = trial_with(trial, x), trial_with(trial, x + shifts)
        yield claim(
            other, outputs_with_bounds(other), Side(first.text(), outputs_with_bounds(first), first)
        )


@law("order", "numbers of a slice may come in any order", BOTH)
def order(trial: Trial, generator: Generator) -> Claims:
    """The same permutation of all slices."""
    x, axis = get_input(trial), axis_of_case(trial.case)
    if x.ndim:
        chosen = generator.permutation(x.shape[axis])
        yield equality_claim(
            trial_with(trial, x.take(chosen, axis)),
            trial,
            wanted_moves=lambda y: y.take(chosen, axis),
        )


@law("slices", "a slice means the same among many others", BOTH)
def slices(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 slices drawn from the case's, as rows or as columns."""
    selection = _select_slices(trial, generator)
    if selection is None:
        return
    rows, take_slices = selection
    if trial.case.call.layer == "Softmax2d":
        as_columns = bool(generator.integers(2))
        images = rows.T[:, :, np.newaxis] if as_columns else rows[..., np.newaxis, np.newaxis]
        yield equality_claim(
            trial_with(trial, images),
            trial,
            got_moves=lambda y: y[..., 0].T if as_columns else y[..., 0, 0],
            wanted_moves=take_slices,
        )
    elif generator.integers(2):
        yield equality_claim(trial_with(trial, rows, dim=1), trial, wanted_moves=take_slices)
    else:
        back = trial_with(trial, np.ascontiguousarray(rows.T), dim=-2)
        yield equality_claim(back, trial, got_moves=np.transpose, wanted_moves=take_slices)


def _select_slices(trial: Trial, generator: Generator) -> tuple[np.ndarray, Move] | None:
    """Slices of the input as rows, and the move that selects them in an output."""
    x, axis = get_input(trial), axis_of_case(trial.case)
    if not (x.ndim and x.size):
        return None
    count = x.size // x.shape[axis]
    chosen = generator.integers(count, size=large_size(generator))

    def take_slices(y: np.ndarray) -> np.ndarray:
        return np.moveaxis(y, axis, -1).reshape(count, -1)[chosen]

    return take_slices(x), take_slices


@law("axis", "dim is the name of an axis", BOTH)
def axis(trial: Trial, generator: Generator) -> Claims:
    """`dim` counted from either end, or the axis moved to the end."""
    x, position = get_input(trial), axis_of_case(trial.case)
    if generator.integers(2) or not x.ndim:
        other = position - max(x.ndim, 1) if generator.integers(2) else position
        yield equality_claim(trial_with(trial, x, dim=other), trial)
    else:
        last = trial_with(trial, np.ascontiguousarray(np.moveaxis(x, position, -1)), dim=-1)
        yield equality_claim(last, trial, got_moves=lambda y: np.moveaxis(y, -1, position))


@law("mirrored", "softmin(x) = softmax(-x)", BOTH)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """softmin for softmax, or the reverse, on the negated input."""
    name = trial.case.call.layer
    ends = ("max", "min") if name.endswith("max") else ("min", "max")
    other = trial_with(trial, -get_input(trial), layer=name.replace(*ends))
    yield equality_claim(other, trial)


@law("whole", "each slice adds up to 1", "within what the sum and the quotients round")
def whole(trial: Trial, generator: Generator) -> Claims:
    """The call on moderate numbers, whose exponentials do not underflow."""
    yield from claim_sums(trial_with(trial, coarse_input(trial)))


def claim_sums(trial: Trial) -> Iterator[Claim]:
    """The claim that each slice of the answer sums to 1; none for an empty answer."""
    x, axis_index = get_input(trial), axis_of_case(trial.case)
    if not x.size:
        return
    (got,) = trial.answer
    (expected,) = trial.expected
    if not x.ndim:
        got = got.reshape(1)
    count = got.shape[axis_index]
    sums = got.sum(axis_index)
    ones = np.ones(sums.shape)
    error = ones * (sum_error(count, expected) + count * ORACLE_UNIT)
    observed = Rounded(sums, np.zeros(sums.shape), expected.precision)
    wanted = Side("1", (Rounded(ones, error, expected.precision),))
    yield Claim(trial.names, Side(f"sums of {trial.text()}", (observed,)), wanted)


@law("logarithm", "exp(log_softmax(x)) = softmax(x)", WITHIN_SUM_OF_BOUNDS)
def logarithm(trial: Trial, generator: Generator) -> Claims:
    """exp of the output, compared with softmax; where softmax underflows it shows nothing."""
    name = trial.case.call.layer.replace("log_s", "s").replace("LogS", "S")
    other = trial_with(trial, get_input(trial), layer=name)
    exponentials = tuple(exp(in_float64(y)) for y in outputs_with_bounds(trial))
    exponential_side = Side(f"exp of {trial.text()}", exponentials, trial)
    yield Claim(
        trial.names, exponential_side, Side(other.text(), outputs_with_bounds(other), other)
    )


@law("cast", "a dtype that the input has changes nothing", BOTH)
def cast(trial: Trial, generator: Generator) -> Claims:
    """`dtype` set to the input's dtype, compared with None."""
    call = trial.case.call
    if call.arguments.get("dtype") in (None, call.dtype):
        own = trial_with(trial, get_input(trial), dtype=call.dtype)
        yield equality_claim(own, trial_with(trial, get_input(trial), dtype=None))


@law("channels", "it is Softmax along the third axis from the end", BOTH)
def channels(trial: Trial, generator: Generator) -> Claims:
    """Softmax with dim=−3 on the same input."""
    yield equality_claim(trial_with(trial, get_input(trial), layer="Softmax", dim=-3), trial)


COMMON_LAWS = (form, shift, order, slices, axis)
CHANNEL_LAWS = (shift, order, slices, channels, whole)
