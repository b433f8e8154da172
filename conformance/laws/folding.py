"""Laws of Unfold and Fold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws.batches import each_alone
from conformance.laws.linear import EXACT
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
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
from conformance.spec.sizes import per_dimension

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_FORMS = {"Unfold": "functional.unfold", "Fold": "functional.fold"}
_TWINS = {**_FORMS, **{function: module for module, function in _FORMS.items()}}
_SIZES = ("kernel_size", "dilation", "padding", "stride")


def _given(trial: Trial, *names: str) -> dict[str, tuple[int, ...]]:
    """The named arguments, or all, with one number for each dimension."""
    given = {**trial.row.signature.defaults, **trial.case.call.arguments}
    return {name: per_dimension(given[name], 2) for name in names or given}


def _folds(trial: Trial) -> bool:
    return "output_size" in trial.case.call.arguments


def _inner(trial: Trial) -> int:
    """Number of positions in a block."""
    return math.prod(_given(trial, "kernel_size")["kernel_size"])


def _by_channel(trial: Trial, array: np.ndarray, columns: bool) -> np.ndarray:
    """Make the channels the third axis from the end.

    Args:
        array: an image, or columns.
        columns: whether it holds columns.
    """
    if not columns:
        return array
    *batch, depth, total = array.shape
    return array.reshape(*batch, depth // _inner(trial), _inner(trial), total)


@law("rows", "each plane of an image with many channels is that plane of another", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x, folds = input_of(trial), _folds(trial)
    if x.size > 1 << 13:
        return
    apart = _by_channel(trial, x, folds)
    chosen = generator.integers(apart.shape[-3], size=many(generator))
    inner = 1 if not folds else _inner(trial)
    drawn = apart.take(chosen, -3)
    if folds:
        drawn = drawn.reshape(*drawn.shape[:-3], len(chosen) * inner, drawn.shape[-1])

    def moved(y: np.ndarray) -> np.ndarray:
        there = _by_channel(trial, y, not folds).take(chosen, -3)
        return there if folds else there.reshape(*there.shape[:-3], -1, there.shape[-1])

    if x.size:
        yield same(called(trial, drawn), trial, wanted_moves=moved)


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples; an unbatched case as a batch of one."""
    batched = trial.row.batch_axis(trial.case, 0) is not None
    return each_alone(trial, generator, batched=batched)


@law("function", "the module is the function of the same backend", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    yield same(called(trial, input_of(trial), layer=_TWINS[trial.row.name]), trial)


@law("padding", "padding is zeros around the image", EXACT)
def padding(trial: Trial, generator: Generator) -> Claims:
    """The call without padding on an image padded by NumPy; for Fold, with a cropped output."""
    x, given = input_of(trial), _given(trial)
    high, wide = given["padding"]
    if not high and not wide:
        return
    if _folds(trial):
        rows, columns = given["output_size"]
        given["output_size"] = (rows + 2 * high, columns + 2 * wide)
        large = called(trial, x, arguments={**given, "padding": 0})
        inner = (..., slice(high, high + rows), slice(wide, wide + columns))
        yield same(large, trial, got_moves=lambda y: y[inner])
        return
    around = [(0, 0)] * (x.ndim - 2) + [(high, high), (wide, wide)]
    yield same(called(trial, np.pad(x, around), padding=0), trial)


@law("transposed", "rows for columns, of the image, of each block, and of the blocks", EXACT)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """The call with both numbers of every argument exchanged, and the image transposed."""
    given, folds = _given(trial), _folds(trial)
    high, wide = given["kernel_size"]
    lengths = given["output_size"] if folds else input_of(trial).shape[-2:]
    rows = zip(lengths, *(given[name] for name in _SIZES), strict=True)
    counts = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in rows]

    def turned(array: np.ndarray, columns: bool) -> np.ndarray:
        if not columns:
            return np.ascontiguousarray(array.swapaxes(-1, -2))
        apart = array.reshape(*array.shape[:-2], array.shape[-2] // (high * wide), high, wide,
                              *counts)  # fmt: skip
        return np.ascontiguousarray(apart.swapaxes(-1, -2).swapaxes(-3, -4)).reshape(array.shape)

    exchanged: dict[str, Any] = {name: value[::-1] for name, value in given.items()}
    other = called(trial, turned(input_of(trial), folds), **exchanged)
    yield same(other, trial, wanted_moves=lambda y: turned(y, not folds))


@law("divisor", "Fold after Unfold counts in how many blocks each pixel is", SUMMED)
def divisor(trial: Trial, generator: Generator) -> Claims:
    """fold(unfold(input)) == divisor * input; the divisor counts the blocks of each pixel."""
    x = input_of(trial)
    layer = "Fold" if trial.row.name == "Unfold" else "functional.fold"
    given = {**trial.case.call.arguments, "output_size": x.shape[-2:]}
    back = called(trial, trial.answer[0], layer=layer, arguments=given)
    counts = np.zeros(x.shape[-2:])
    each = _given(trial)
    axes = []
    for n, k, d, p, s in zip(x.shape[-2:], *(each[name] for name in _SIZES), strict=True):
        starts = np.arange((n + 2 * p - d * (k - 1) - 1) // s + 1) * s - p
        at = (starts[:, np.newaxis] + np.arange(k) * d).reshape(-1)
        axes.append(np.bincount(at[(at >= 0) & (at < n)], minlength=n))
    counts = np.multiply.outer(*axes).astype(float)
    whole = on_host(exactly(x, back.precision))
    product = whole * Rounded(np.broadcast_to(counts, x.shape), np.zeros(x.shape), whole.precision)
    yield claim(back, measured(back), Side("each pixel times the number of its blocks", (product,)))


@law("undone", "Unfold brings back blocks that share no pixel", EXACT)
def undone(trial: Trial, generator: Generator) -> Claims:
    """Unfold of the output, for disjoint blocks without padding."""
    given = _given(trial)
    rows = zip(*(given[name] for name in _SIZES), strict=True)
    if any(p or s <= d * (k - 1) for k, d, p, s in rows):
        return
    layer = "Unfold" if trial.row.name == "Fold" else "functional.unfold"
    arguments = {k: v for k, v in trial.case.call.arguments.items() if k != "output_size"}
    back = called(trial, trial.answer[0], layer=layer, arguments=arguments)
    x = exactly(input_of(trial), trial.precision)
    yield claim(back, measured(back), Side("the blocks", (x,)))


_LAWS = (planes, singles, function, padding, transposed)
UNFOLD = (*_LAWS, divisor)
FOLD = (*_LAWS, undone)
