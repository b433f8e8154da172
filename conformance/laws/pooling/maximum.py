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
    claim,
    equality_claim,
    get_input,
    law,
    outputs_with_bounds,
    trial_with,
    with_bounds_of,
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


def per_dimension_argument(trial: Trial, name: str) -> tuple[int, ...]:
    """An argument as one number for each spatial dimension."""
    spec, arguments = trial.spec, trial.case.call.arguments
    defaults = {"padding": 0, "dilation": 1} | dict(spec.signature.defaults)
    value = arguments.get(name, defaults.get(name))
    value = arguments["kernel_size"] if value is None else value
    return per_dimension(value, spec.signature.dims)


def leading_axes(trial: Trial) -> int:
    """Number of axes before the spatial ones."""
    return get_input(trial).ndim - int(trial.spec.signature.dims)


def claim_values(got: Trial, value: np.ndarray, wanted: Trial) -> Claim:
    """A claim about the values alone, without the indices, which refer to another plane.

    Args:
        got: a call.
        value: its output, transformed for the comparison.
        wanted: the call whose output it must equal.
    """
    side = Side(wanted.text(), outputs_with_bounds(wanted)[:1])
    full_claim = claim(got, with_bounds_of([value], side.outputs), side)
    return replace(full_claim, names=full_claim.names[:1])


@law("rows", "each plane of a large batch is that plane of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    if get_input(trial).size <= 1 << 14:
        yield among_many(trial, generator, leading_axes(trial) - 1)


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most three samples; an unbatched case as a batch of one."""
    return each_alone(trial, generator, batched=leading_axes(trial) > 1)


@law("function", "the module is the function of the same backend", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    yield equality_claim(trial_with(trial, get_input(trial), layer=TWINS[trial.spec.name]), trial)


@law("stride", "a stride takes every s-th window of stride 1", EXACT)
def stride(trial: Trial, generator: Generator) -> Claims:
    """The call with stride 1, thinned out in all dimensions."""
    steps = per_dimension_argument(trial, "stride")
    if max(steps) == 1:
        return
    dense_call = trial_with(trial, get_input(trial), stride=1)
    lengths = trial.shapes[0][-trial.spec.signature.dims :]
    if any((n - 1) * s >= m for n, s, m in zip(lengths, steps, dense_call.shapes[0][-len(steps) :],
                                               strict=True)):  # fmt: skip
        return  # stride 1 does not have a window that extends beyond the input
    positions: tuple[Any, ...] = tuple(
        slice(0, (n - 1) * s + 1, s) for n, s in zip(lengths, steps, strict=True)
    )
    yield equality_claim(dense_call, trial, got_moves=lambda y: y[(..., *positions)])


@law("padding", "padding, and what a window goes off-bounds, is −∞ around the input", EXACT)
def padding(trial: Trial, generator: Generator) -> Claims:
    """An input padded with −∞ by NumPy, at the end as far as the last window extends."""
    x, pads = get_input(trial), per_dimension_argument(trial, "padding")
    kernel, dilation = (
        per_dimension_argument(trial, "kernel_size"),
        per_dimension_argument(trial, "dilation"),
    )
    steps, lengths = (
        per_dimension_argument(trial, "stride"),
        trial.shapes[0][-trial.spec.signature.dims :],
    )
    pad_widths = [(0, 0)] * leading_axes(trial)
    for n, p, k, d, s, m in zip(lengths, pads, kernel, dilation, steps, x.shape[-len(pads) :],
                                strict=True):  # fmt: skip
        pad_widths.append((p, max(0, (n - 1) * s + d * (k - 1) + 1 - p - m)))
    if not np.any(pad_widths):
        return
    smallest = np.iinfo(x.dtype).min if x.dtype.kind == "i" else -np.inf
    padded_input = np.pad(x, pad_widths, constant_values=smallest)
    by_hand = trial_with(trial, padded_input, padding=0, ceil_mode=False, return_indices=False)
    output_range: tuple[Any, ...] = tuple(slice(n) for n in lengths)
    yield claim_values(by_hand, by_hand.answer[0][(..., *output_range)], trial)


@law("apart", "a window is the largest of its rows' largest", EXACT)
def apart(trial: Trial, generator: Generator) -> Claims:
    """Each dimension in a call of its own, in random order."""
    dims = trial.spec.signature.dims
    arguments = {name: list(per_dimension_argument(trial, name))
            for name in ("kernel_size", "stride", "padding", "dilation")}  # fmt: skip
    trivial = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    order = [int(k) for k in generator.permutation(dims)]
    y = get_input(trial)
    calls: list[Trial] = []
    for k in order:
        single_dimension: dict[str, Any] = {"return_indices": False}
        for name, values in arguments.items():
            single_dimension[name] = tuple(
                values[j] if j == k else trivial[name] for j in range(dims)
            )
        calls.append(trial_with(trial, y, **single_dimension))
        y = calls[-1].answer[0]
    yield claim_values(calls[-1], y, trial)


@law("indices", "each value is the element of the input that its index names", EXACT)
def indices_law(trial: Trial, generator: Generator) -> Claims:
    """The call with return_indices, whatever the case's."""
    x = get_input(trial)
    call = trial_with(trial, x, return_indices=True)
    values, index_output = call.answer
    leading_shape = x.shape[: leading_axes(trial)]
    plane, windows = (math.prod(y.shape[len(leading_shape) :]) for y in (x, values))
    flat = index_output.reshape(*leading_shape, windows)
    inside = (flat >= 0) & (flat < plane)
    elements_at = np.take_along_axis(
        x.reshape(*leading_shape, plane), np.where(inside, flat, 0), -1
    )
    yield claim_values(call, values, trial)
    yield claim_values(call, _elements_at(elements_at.reshape(values.shape), inside, values), trial)


def _elements_at(elements: np.ndarray, inside: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The elements at the indices; a window without input elements has no right index."""
    if values.dtype.kind == "i":
        return elements
    elements = np.where(inside.reshape(values.shape), elements, np.nan)
    return np.where(values == -np.inf, values, elements)


@law("mirrored", "mirroring the planes mirrors the windows, where they fill them", EXACT)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All dimensions flipped."""
    x, dims = get_input(trial), trial.spec.signature.dims
    names = ("kernel_size", "stride", "padding", "dilation")
    rows = zip(
        x.shape[-dims:],
        trial.shapes[0][-dims:],
        *(per_dimension_argument(trial, n) for n in names),
        strict=True,
    )
    if any((n - 1) * s + d * (k - 1) + 1 != m + 2 * p for m, n, k, s, p, d in rows):
        return
    spatial_axes = tuple(range(-dims, 0))
    other = trial_with(trial, np.flip(x, spatial_axes).copy(), return_indices=False)
    yield claim_values(other, np.flip(other.answer[0], spatial_axes), trial)


@law("scaled", "the largest of c·x is c times the largest of x, c > 0 a power of two", EXACT)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two; the indices stay."""
    x, factor = get_input(trial), float(generator.choice([0.5, 2.0, 8.0]))
    if x.dtype.kind == "i":
        return
    scaled_input = round_to(x * factor, trial.case.call.dtype)
    if not np.array_equal(scaled_input / factor, x):
        return  # out of range, or a subnormal number
    other = trial_with(trial, scaled_input)
    moves: Sequence[Move] = (lambda y: y / factor, lambda i: i)
    yield equality_claim(other, trial, got_moves=moves[: len(trial.shapes)])


LAWS = (planes, singles, function, stride, padding, apart, indices_law, mirrored, scaled, whole)
