"""Laws of Flatten, Unflatten and the shuffle of channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from conformance.laws.linear import EXACT
from conformance.model.case import is_function
from conformance.spec.law import Claims, Generator, called, input_of, law, many, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _given(trial: Trial) -> dict[str, Any]:
    return {**trial.row.signature.defaults, **trial.case.call.arguments}


def _range(trial: Trial) -> tuple[int, int]:
    """start_dim and end_dim, counted from the front."""
    axes, given = max(input_of(trial).ndim, 1), _given(trial)
    return given["start_dim"] % axes, given["end_dim"] % axes


@law("rows", "each row of a large batch is that row of a small one", EXACT)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    x = input_of(trial)
    if trial.row.batch_axis(trial.case, 0) is None or not len(x):
        return
    chosen = generator.integers(len(x), size=many(generator))
    large = called(trial, x[chosen])
    yield same(large, trial, wanted_moves=lambda y: y[chosen])


@law("ends", "an axis may be counted from either end", EXACT)
def ends(trial: Trial, generator: Generator) -> Claims:
    """Both axes counted from the other end."""
    x, given = input_of(trial), _given(trial)
    axes = max(x.ndim, 1)
    other = {name: k - axes if k >= 0 else k + axes for name, k in given.items()}
    yield same(called(trial, x, **other), trial)


@law("again", "what is flat stays so", EXACT)
def again(trial: Trial, generator: Generator) -> Claims:
    """The output flattened again, from the new axis to itself."""
    start, _ = _range(trial)
    yield same(called(trial, trial.answer[0], start_dim=start, end_dim=start), trial)


@law("pairs", "axes become one two by two as well as all at once", EXACT)
def pairs(trial: Trial, generator: Generator) -> Claims:
    """Flatten the first two axes, then the rest."""
    start, end = _range(trial)
    if start < end:
        two = called(trial, input_of(trial), start_dim=start, end_dim=start + 1)
        rest = called(trial, two.answer[0], start_dim=start, end_dim=end - 1)
        yield same(rest, trial)


@law("undone", "Unflatten of the same backend undoes it", EXACT)
def undone(trial: Trial, generator: Generator) -> Claims:
    """Unflatten of the output to the original sizes."""
    (start, end), x = _range(trial), input_of(trial)
    if x.ndim:
        sizes = x.shape[start : end + 1]
        given = {"dim": start, "unflattened_size": sizes}
        back = called(trial, trial.answer[0], layer="Unflatten", arguments=given)
        yield same(back, trial, wanted_moves=lambda y: y.reshape(x.shape))


FLATTEN = (rows, ends, again, pairs, undone)


@law("axis", "the axis may be counted from either end", EXACT)
def axis(trial: Trial, generator: Generator) -> Claims:
    """`dim` counted from the other end."""
    x, given = input_of(trial), _given(trial)
    given["dim"] += -x.ndim if given["dim"] >= 0 else x.ndim
    yield same(called(trial, x, **given), trial)


@law("inferred", "a size may be left to be inferred", EXACT)
def inferred(trial: Trial, generator: Generator) -> Claims:
    """The inferred size written out, and possibly another one left to be inferred."""
    x, given = input_of(trial), _given(trial)
    at, sizes = given["dim"] % x.ndim, list(given["unflattened_size"])
    out = list(trial.shapes[0] or ())[at : at + len(sizes)]
    which = int(generator.integers(len(sizes)))
    if sizes[which] != -1 and math.prod((*out[:which], *out[which + 1 :])):
        out[which] = -1
    yield same(called(trial, x, dim=given["dim"], unflattened_size=tuple(out)), trial)


@law("flattened", "Flatten of the same backend undoes it", EXACT)
def flattened(trial: Trial, generator: Generator) -> Claims:
    """Flatten of the new axes of the output."""
    x, given = input_of(trial), _given(trial)
    at, count = given["dim"] % x.ndim, len(given["unflattened_size"])
    ends = {"start_dim": at, "end_dim": at + count - 1}
    back = called(trial, trial.answer[0], layer="Flatten", arguments=ends)
    yield same(back, trial, wanted_moves=lambda y: y.reshape(x.shape))


UNFLATTEN = (rows, axis, inferred, flattened)
_FORMS = ("ChannelShuffle", "functional.channel_shuffle", "functional.native_channel_shuffle")


@law("form", "the module and the two functions are one", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """One of the other two forms."""
    others = [name for name in _FORMS if name != trial.case.call.layer]
    name = others[int(generator.integers(2))] if is_function(trial.case.call.layer) else others[0]
    yield same(called(trial, input_of(trial), layer=name), trial)


@law("dealt", "as many groups as a group had channels bring them back", EXACT)
def dealt(trial: Trial, generator: Generator) -> Claims:
    """The output shuffled with C/g groups, compared with a shuffle of one group: the input."""
    x, groups = input_of(trial), _given(trial)["groups"]
    if x.shape[1]:
        back = called(trial, trial.answer[0], groups=x.shape[1] // groups)
        yield same(back, called(trial, x, groups=1))


@law("places", "places in space mean nothing", EXACT)
def places(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 spatial positions drawn from the case's, in one row."""
    x = input_of(trial)
    row = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    if row.shape[2]:
        chosen = generator.integers(row.shape[2], size=many(generator))
        other = called(trial, row[:, :, chosen])
        yield same(other, trial, wanted_moves=lambda y: y.reshape(row.shape)[:, :, chosen])


SHUFFLE = (rows, form, dealt, places)
