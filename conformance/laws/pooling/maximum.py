"""Laws of pooling by maximum, and parts that all pooling laws share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.batches import among_many, each_alone
from conformance.laws.pooling.gradients import whole
from conformance.model.formats import round_to
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Side,
    bounded,
    called,
    claim,
    input_of,
    law,
    measured,
    same,
)
from conformance.spec.sizes import per_dimension

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

EXACT = "always equal: nothing is computed"
Move = Callable[[np.ndarray], np.ndarray]

_FORMS = {
    "MaxPool": "max_pool",
    "AvgPool": "avg_pool",
    "LPPool": "lp_pool",
    "FractionalMaxPool": "fractional_max_pool",
    "MaxUnpool": "max_unpool",
    "AdaptiveMaxPool": "adaptive_max_pool",
    "AdaptiveAvgPool": "adaptive_avg_pool",
}
FUNCTIONS = {f"{module}{dims}d": f"functional.{function}{dims}d"
             for module, function in _FORMS.items() for dims in (1, 2, 3)}  # fmt: skip
TWINS = FUNCTIONS | {function: module for module, function in FUNCTIONS.items()}
"""Module → function, and function → module."""


def numbers(trial: Trial, name: str) -> tuple[int, ...]:
    """An argument as one number for each spatial dimension."""
    row, arguments = trial.row, trial.case.call.arguments
    usual = {"padding": 0, "dilation": 1} | dict(row.signature.defaults)
    value = arguments.get(name, usual.get(name))
    value = arguments["kernel_size"] if value is None else value
    return per_dimension(value, row.signature.dims)


def leading(trial: Trial) -> int:
    """Number of axes before the spatial ones."""
    return input_of(trial).ndim - int(trial.row.signature.dims)


def values_of(got: Trial, value: np.ndarray, wanted: Trial) -> Claim:
    """A claim about the values alone, without the indices, which refer to another plane.

    Args:
        got: a call.
        value: its output, transformed for the comparison.
        wanted: the call whose output it must equal.
    """
    side = Side(wanted.text(), measured(wanted)[:1])
    found = claim(got, bounded([value], side.outputs), side)
    return replace(found, names=found.names[:1])


@law("rows", "each plane of a large batch is that plane of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    if input_of(trial).size <= 1 << 14:
        yield among_many(trial, generator, leading(trial) - 1)


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples; an unbatched case as a batch of one."""
    return each_alone(trial, generator, batched=leading(trial) > 1)


@law("function", "the module is the function of the same backend", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    yield same(called(trial, input_of(trial), layer=TWINS[trial.row.name]), trial)


@law("stride", "a stride takes every s-th window of stride 1", EXACT)
def stride(trial: Trial, generator: Generator) -> Claims:
    """The call with stride 1, thinned out in all dimensions."""
    steps = numbers(trial, "stride")
    if max(steps) == 1:
        return
    dense = called(trial, input_of(trial), stride=1)
    lengths = trial.shapes[0][-trial.row.signature.dims :]
    if any((n - 1) * s >= m for n, s, m in zip(lengths, steps, dense.shapes[0][-len(steps) :],
                                               strict=True)):  # fmt: skip
        return  # stride 1 does not have a window that extends beyond the input
    places: tuple[Any, ...] = tuple(
        slice(0, (n - 1) * s + 1, s) for n, s in zip(lengths, steps, strict=True)
    )
    yield same(dense, trial, got_moves=lambda y: y[(..., *places)])


@law("padding", "padding, and what a window goes off-bounds, is −∞ around the input", EXACT)
def padding(trial: Trial, generator: Generator) -> Claims:
    """An input padded with −∞ by NumPy, at the end as far as the last window extends."""
    x, pads = input_of(trial), numbers(trial, "padding")
    kernel, dilation = numbers(trial, "kernel_size"), numbers(trial, "dilation")
    steps, lengths = numbers(trial, "stride"), trial.shapes[0][-trial.row.signature.dims :]
    around = [(0, 0)] * leading(trial)
    for n, p, k, d, s, m in zip(lengths, pads, kernel, dilation, steps, x.shape[-len(pads) :],
                                strict=True):  # fmt: skip
        around.append((p, max(0, (n - 1) * s + d * (k - 1) + 1 - p - m)))
    if not np.any(around):
        return
    least = np.iinfo(x.dtype).min if x.dtype.kind == "i" else -np.inf
    wide = np.pad(x, around, constant_values=least)
    by_hand = called(trial, wide, padding=0, ceil_mode=False, return_indices=False)
    kept: tuple[Any, ...] = tuple(slice(n) for n in lengths)
    yield values_of(by_hand, by_hand.answer[0][(..., *kept)], trial)


@law("apart", "a window is the largest of its rows' largest", EXACT)
def apart(trial: Trial, generator: Generator) -> Claims:
    """Each dimension in a call of its own, in random order."""
    dims = trial.row.signature.dims
    each = {name: list(numbers(trial, name))
            for name in ("kernel_size", "stride", "padding", "dilation")}  # fmt: skip
    plain = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    order = [int(k) for k in generator.permutation(dims)]
    y = input_of(trial)
    calls: list[Trial] = []
    for k in order:
        one: dict[str, Any] = {"return_indices": False}
        for name, along in each.items():
            one[name] = tuple(along[j] if j == k else plain[name] for j in range(dims))
        calls.append(called(trial, y, **one))
        y = calls[-1].answer[0]
    yield values_of(calls[-1], y, trial)


@law("indices", "each value is the element of the input that its index names", EXACT)
def indices(trial: Trial, generator: Generator) -> Claims:
    """The call with return_indices, whatever the case's."""
    x = input_of(trial)
    call = called(trial, x, return_indices=True)
    values, found = call.answer
    before = x.shape[: leading(trial)]
    plane, windows = (math.prod(y.shape[len(before) :]) for y in (x, values))
    flat = found.reshape(*before, windows)
    inside = (flat >= 0) & (flat < plane)
    named = np.take_along_axis(x.reshape(*before, plane), np.where(inside, flat, 0), -1)
    yield values_of(call, values, trial)
    yield values_of(call, _named(named.reshape(values.shape), inside, values), trial)


def _named(named: np.ndarray, inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The elements at the indices; a window without input elements has no right index."""
    if values.dtype.kind == "i":
        return named
    named = np.where(inside.reshape(values.shape), named, np.nan)
    return np.where(values == -np.inf, values, named)


@law("mirrored", "mirroring the planes mirrors the windows, where they fill them", EXACT)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All dimensions flipped."""
    x, dims = input_of(trial), trial.row.signature.dims
    names = ("kernel_size", "stride", "padding", "dilation")
    rows = zip(
        x.shape[-dims:], trial.shapes[0][-dims:], *(numbers(trial, n) for n in names), strict=True
    )
    if any((n - 1) * s + d * (k - 1) + 1 != m + 2 * p for m, n, k, s, p, d in rows):
        return
    back = tuple(range(-dims, 0))
    other = called(trial, np.flip(x, back).copy(), return_indices=False)
    yield values_of(other, np.flip(other.answer[0], back), trial)


@law("scaled", "the largest of c·x is c times the largest of x, c > 0 a power of two", EXACT)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two; the indices stay."""
    x, factor = input_of(trial), float(generator.choice([0.5, 2.0, 8.0]))
    if x.dtype.kind == "i":
        return
    there = round_to(x * factor, trial.case.call.dtype)
    if not np.array_equal(there / factor, x):
        return  # out of range, or a subnormal number
    other = called(trial, there)
    moves: Sequence[Move] = (lambda y: y / factor, lambda i: i)
    yield same(other, trial, got_moves=moves[: len(trial.shapes)])


LAWS = (planes, singles, function, stride, padding, apart, indices, mirrored, scaled, whole)
