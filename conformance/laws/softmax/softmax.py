"""Laws of softmax, softmin and log_softmax."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.elementary import exp
from conformance.arithmetic.rounded import OWN, Rounded
from conformance.model.case import Case
from conformance.oracles.softmax import axis_of, whole_error
from conformance.spec.law import (
    SUMMED,
    Claim,
    Claims,
    Generator,
    Move,
    Side,
    called,
    claim,
    input_of,
    law,
    many,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

BOTH = "equal where nothing rounds, else within twice the bound"
_FORMS = {
    "Softmin": "functional.softmin",
    "Softmax": "functional.softmax",
    "LogSoftmax": "functional.log_softmax",
}
_OTHER = {**_FORMS, **{function: module for module, function in _FORMS.items()}}
_GRID, _REACH = 8.0, 8.0  # eighths up to 8 have 7 bits, or 8 bits after a shift


def axis_of_case(case: Case) -> int:
    """The axis of the softmax of a case, counted from 0; 0 for a scalar.

    Args:
        case: a case of any layer of the family.
    """
    x, layer = case.inputs[0], case.call.layer
    assert x is not None
    if layer == "Softmax2d":
        return x.ndim - 3
    missing = -1 if "gumbel" in layer else None
    return axis_of(case.call.arguments.get("dim", missing), x.ndim)


def plain(trial: Trial) -> np.ndarray:
    """The input rounded to eighths from −8 to 8, so that sums of such numbers are exact."""
    return np.clip(np.round(input_of(trial) * _GRID) / _GRID, -_REACH, _REACH)


@law("form", "the module and the function are one", BOTH)
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse, without `dtype`: a module does not cast."""
    if trial.case.call.arguments.get("dtype") is None:
        call = trial.case.call
        given = {name: x for name, x in call.arguments.items() if name != "dtype"}
        call = replace(call, layer=_OTHER[call.layer], arguments=given)
        yield same(trial.other(replace(trial.case, call=call, layouts=())), trial)


@law("shift", "a number added to a whole slice cancels", SUMMED)
def shift(trial: Trial, generator: Generator) -> Claims:
    """A different number added to each slice, where no sum rounds."""
    x, axis = plain(trial), axis_of_case(trial.case)
    if x.ndim and x.size:
        sizes = [1 if place == axis else size for place, size in enumerate(x.shape)]
        shifts = generator.choice([1.0, -1.0, 2.0, -4.0, 8.0, -8.0], sizes)
        first, other = called(trial, x), called(trial, x + shifts)
        yield claim(other, measured(other), Side(first.text(), measured(first), first))


@law("order", "numbers of a slice may come in any order", BOTH)
def order(trial: Trial, generator: Generator) -> Claims:
    """The same permutation of all slices."""
    x, axis = input_of(trial), axis_of_case(trial.case)
    if x.ndim:
        chosen = generator.permutation(x.shape[axis])
        yield same(
            called(trial, x.take(chosen, axis)),
            trial,
            wanted_moves=lambda y: y.take(chosen, axis),
        )


@law("slices", "a slice means the same among many others", BOTH)
def slices(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 slices drawn from the case's, as rows or as columns."""
    found = _slices(trial, generator)
    if found is None:
        return
    rows, moved = found
    if trial.case.call.layer == "Softmax2d":
        turned = bool(generator.integers(2))
        images = rows.T[:, :, np.newaxis] if turned else rows[..., np.newaxis, np.newaxis]
        yield same(
            called(trial, images),
            trial,
            got_moves=lambda y: y[..., 0].T if turned else y[..., 0, 0],
            wanted_moves=moved,
        )
    elif generator.integers(2):
        yield same(called(trial, rows, dim=1), trial, wanted_moves=moved)
    else:
        back = called(trial, np.ascontiguousarray(rows.T), dim=-2)
        yield same(back, trial, got_moves=np.transpose, wanted_moves=moved)


def _slices(trial: Trial, generator: Generator) -> tuple[np.ndarray, Move] | None:
    """Slices of the input as rows, and the move that selects them in an output."""
    x, axis = input_of(trial), axis_of_case(trial.case)
    if not (x.ndim and x.size):
        return None
    count = x.size // x.shape[axis]
    chosen = generator.integers(count, size=many(generator))

    def moved(y: np.ndarray) -> np.ndarray:
        return np.moveaxis(y, axis, -1).reshape(count, -1)[chosen]

    return moved(x), moved


@law("axis", "dim is the name of an axis", BOTH)
def axis(trial: Trial, generator: Generator) -> Claims:
    """`dim` counted from either end, or the axis moved to the end."""
    x, place = input_of(trial), axis_of_case(trial.case)
    if generator.integers(2) or not x.ndim:
        other = place - max(x.ndim, 1) if generator.integers(2) else place
        yield same(called(trial, x, dim=other), trial)
    else:
        last = called(trial, np.ascontiguousarray(np.moveaxis(x, place, -1)), dim=-1)
        yield same(last, trial, got_moves=lambda y: np.moveaxis(y, -1, place))


@law("mirrored", "softmin(x) = softmax(-x)", BOTH)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """softmin for softmax, or the reverse, on the negated input."""
    name = trial.case.call.layer
    ends = ("max", "min") if name.endswith("max") else ("min", "max")
    other = called(trial, -input_of(trial), layer=name.replace(*ends))
    yield same(other, trial)


@law("whole", "each slice adds up to 1", "within what the sum and the quotients round")
def whole(trial: Trial, generator: Generator) -> Claims:
    """The call on moderate numbers, whose exponentials do not underflow."""
    yield from adds_up(called(trial, plain(trial)))


def adds_up(trial: Trial) -> Iterator[Claim]:
    """The claim that each slice of the answer sums to 1; none for an empty answer."""
    x, along = input_of(trial), axis_of_case(trial.case)
    if not x.size:
        return
    (got,) = trial.answer
    (like,) = trial.expected
    if not x.ndim:
        got = got.reshape(1)
    count = got.shape[along]
    added = got.sum(along)
    ones = np.ones(added.shape)
    error = ones * (whole_error(count, like) + count * OWN)
    first = Rounded(added, np.zeros(added.shape), like.precision)
    wanted = Side("1", (Rounded(ones, error, like.precision),))
    yield Claim(trial.names, Side(f"sums of {trial.text()}", (first,)), wanted)


@law("logarithm", "exp(log_softmax(x)) = softmax(x)", SUMMED)
def logarithm(trial: Trial, generator: Generator) -> Claims:
    """exp of the output, compared with softmax; where softmax underflows it shows nothing."""
    name = trial.case.call.layer.replace("log_s", "s").replace("LogS", "S")
    other = called(trial, input_of(trial), layer=name)
    raised = tuple(exp(on_host(y)) for y in measured(trial))
    one = Side(f"exp of {trial.text()}", raised, trial)
    yield Claim(trial.names, one, Side(other.text(), measured(other), other))


@law("cast", "a dtype that the input has changes nothing", BOTH)
def cast(trial: Trial, generator: Generator) -> Claims:
    """`dtype` set to the input's dtype, compared with None."""
    call = trial.case.call
    if call.arguments.get("dtype") in (None, call.dtype):
        own = called(trial, input_of(trial), dtype=call.dtype)
        yield same(own, called(trial, input_of(trial), dtype=None))


@law("channels", "it is Softmax along the third axis from the end", BOTH)
def channels(trial: Trial, generator: Generator) -> Claims:
    """Softmax with dim=−3 on the same input."""
    yield same(called(trial, input_of(trial), layer="Softmax", dim=-3), trial)


EVERY = (form, shift, order, slices, axis)
OF_CHANNELS = (shift, order, slices, channels, whole)
