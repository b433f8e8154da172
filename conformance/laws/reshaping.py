"""Laws of Flatten, Unflatten and the shuffle of channels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.law import Claims, Generator, law, many, same
from conformance.laws.linear import EXACT
from conformance.model.case import is_function

if TYPE_CHECKING:
    from conformance.model.protocols import TrialLike as Trial


def _input(trial: Trial) -> np.ndarray:
    (x,) = trial.case.inputs
    assert x is not None
    return x


def _given(trial: Trial) -> dict[str, Any]:
    return {**trial.row.defaults, **trial.case.call.arguments}


def _calling(trial: Trial, x: np.ndarray, layer: str = "", **arguments: Any) -> Trial:
    """A call on another array, of another layer if it is named, with these arguments alone."""
    call = replace(trial.case.call, layer=layer or trial.case.call.layer, arguments=arguments)
    return trial.other(replace(trial.case, call=call, inputs=(x,), layouts=()))


def _range(trial: Trial) -> tuple[int, int]:
    """The first and the last axis that become one, counted from the front."""
    axes, given = max(_input(trial).ndim, 1), _given(trial)
    return given["start_dim"] % axes, given["end_dim"] % axes


@law("rows", "each row of a large batch is that row of a small one", EXACT)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    x = _input(trial)
    if trial.row.batch_axis(trial.case, 0) is None or not len(x):
        return
    chosen = generator.integers(len(x), size=many(generator))
    large = _calling(trial, x[chosen], **trial.case.call.arguments)
    yield same(large, trial, wanted_moves=lambda y: y[chosen])


@law("ends", "an axis may be counted from either end", EXACT)
def ends(trial: Trial, generator: Generator) -> Claims:
    """The other way for both."""
    x, given = _input(trial), _given(trial)
    axes = max(x.ndim, 1)
    other = {name: k - axes if k >= 0 else k + axes for name, k in given.items()}
    yield same(_calling(trial, x, **other), trial)


@law("again", "what is flat stays so", EXACT)
def again(trial: Trial, generator: Generator) -> Claims:
    """The one axis flattened once more, and with it nothing."""
    start, _ = _range(trial)
    yield same(_calling(trial, trial.answer[0], start_dim=start, end_dim=start), trial)


@law("pairs", "axes become one two by two as well as all at once", EXACT)
def pairs(trial: Trial, generator: Generator) -> Claims:
    """The first two of them, and then the rest."""
    start, end = _range(trial)
    if start < end:
        two = _calling(trial, _input(trial), start_dim=start, end_dim=start + 1)
        rest = _calling(trial, two.answer[0], start_dim=start, end_dim=end - 1)
        yield same(rest, trial)


@law("undone", "Unflatten of the same backend undoes it", EXACT)
def undone(trial: Trial, generator: Generator) -> Claims:
    """The sizes that the axes had."""
    (start, end), x = _range(trial), _input(trial)
    if x.ndim:
        sizes = x.shape[start : end + 1]
        back = _calling(trial, trial.answer[0], "Unflatten", dim=start, unflattened_size=sizes)
        yield same(back, trial, wanted_moves=lambda y: y.reshape(x.shape))


FLATTEN = (rows, ends, again, pairs, undone)


@law("axis", "the axis may be counted from either end", EXACT)
def axis(trial: Trial, generator: Generator) -> Claims:
    """The other way."""
    x, given = _input(trial), _given(trial)
    given["dim"] += -x.ndim if given["dim"] >= 0 else x.ndim
    yield same(_calling(trial, x, **given), trial)


@law("inferred", "a size may be left to be inferred", EXACT)
def inferred(trial: Trial, generator: Generator) -> Claims:
    """Another one than before, or the one that was inferred written out."""
    x, given = _input(trial), _given(trial)
    at, sizes = given["dim"] % x.ndim, list(given["unflattened_size"])
    out = list(trial.shapes[0] or ())[at : at + len(sizes)]
    which = int(generator.integers(len(sizes)))
    if sizes[which] != -1 and math.prod((*out[:which], *out[which + 1 :])):
        out[which] = -1
    yield same(_calling(trial, x, dim=given["dim"], unflattened_size=tuple(out)), trial)


@law("flattened", "Flatten of the same backend undoes it", EXACT)
def flattened(trial: Trial, generator: Generator) -> Claims:
    """The axes that came of one."""
    x, given = _input(trial), _given(trial)
    at, count = given["dim"] % x.ndim, len(given["unflattened_size"])
    back = _calling(trial, trial.answer[0], "Flatten", start_dim=at, end_dim=at + count - 1)
    yield same(back, trial, wanted_moves=lambda y: y.reshape(x.shape))


UNFLATTEN = (rows, axis, inferred, flattened)
_FORMS = ("ChannelShuffle", "functional.channel_shuffle", "functional.native_channel_shuffle")


@law("form", "the module and the two functions are one", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """One of the other two."""
    others = [name for name in _FORMS if name != trial.case.call.layer]
    name = others[int(generator.integers(2))] if is_function(trial.case.call.layer) else others[0]
    yield same(_calling(trial, _input(trial), name, **_given(trial)), trial)


@law("dealt", "as many groups as a group had channels bring them back", EXACT)
def dealt(trial: Trial, generator: Generator) -> Claims:
    """What was shuffled, shuffled the other way, is the input: what one group leaves as it is."""
    x, groups = _input(trial), _given(trial)["groups"]
    if x.shape[1]:
        back = _calling(trial, trial.answer[0], groups=x.shape[1] // groups)
        yield same(back, _calling(trial, x, groups=1))


@law("places", "places in space mean nothing", EXACT)
def places(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 of them, drawn from the case's, in a row."""
    x = _input(trial)
    row = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    if row.shape[2]:
        chosen = generator.integers(row.shape[2], size=many(generator))
        other = _calling(trial, row[:, :, chosen], **_given(trial))
        yield same(other, trial, wanted_moves=lambda y: y.reshape(row.shape)[:, :, chosen])


SHUFFLE = (rows, form, dealt, places)
