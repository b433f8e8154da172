"""Laws of functional.normalize."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.batches import among_many
from conformance.model.formats import round_to
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    law,
    outputs_with_bounds,
    scale_exactly,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _vector_axes(trial: Trial) -> tuple[int, ...]:
    """The axes of a vector, counted from the front."""
    dim, rank = trial.case.call.arguments.get("dim", 1), get_input(trial).ndim
    return tuple(axis % rank for axis in ((dim,) if isinstance(dim, int) else dim))


@law("names", "an axis may be counted from either end, and several in any order")
def names(trial: Trial, generator: Generator) -> Claims:
    """Each axis counted from the other end, in reverse order; one axis as a number or a tuple."""
    x, axes = get_input(trial), _vector_axes(trial)
    dim = trial.case.call.arguments.get("dim", 1)
    numbers = (dim,) if isinstance(dim, int) else dim
    other_names = [k - x.ndim if k >= 0 else k + x.ndim for k in numbers][::-1]
    as_single = len(axes) == 1 and isinstance(dim, int) and bool(generator.integers(2))
    yield equality_claim(
        trial_with(trial, x, dim=other_names[0] if as_single else tuple(other_names)), trial
    )


@law("rows", "a vector means the same among many others")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 vectors along an axis that is not in `dim`, drawn from the case's."""
    x, axes = get_input(trial), _vector_axes(trial)
    other_axes = [axis for axis in range(x.ndim) if axis not in axes and x.shape[axis]]
    if not other_axes:
        return
    yield among_many(trial, generator, other_axes[int(generator.integers(len(other_axes)))])


@law("order", "components may come in any order")
def order(trial: Trial, generator: Generator) -> Claims:
    """The same permutation of all vectors, along one of their axes."""
    x, axes = get_input(trial), _vector_axes(trial)
    axis = axes[int(generator.integers(len(axes)))]
    chosen = generator.permutation(x.shape[axis])
    yield equality_claim(
        trial_with(trial, x.take(chosen, axis)), trial, wanted_moves=lambda y: y.take(chosen, axis)
    )


@law("negated", "an opposite vector has the opposite direction", WITHIN_SUM_OF_BOUNDS)
def negated(trial: Trial, generator: Generator) -> Claims:
    """The input with its sign changed."""
    other = trial_with(trial, -get_input(trial))
    wanted = tuple(scale_exactly(y, -1.0) for y in outputs_with_bounds(trial))
    yield claim(other, outputs_with_bounds(other), Side(f"-1 · {trial.text()}", wanted))


@law(
    "stretched",
    "a vector that is longer has the same direction, if eps is as much larger",
    WITHIN_SUM_OF_BOUNDS,
)
def stretched(trial: Trial, generator: Generator) -> Claims:
    """Input and eps times a power of two; not for p = 0, which counts components."""
    x, arguments = get_input(trial), {**trial.spec.signature.defaults, **trial.case.call.arguments}
    factor = float(generator.choice([0.5, 2.0, 4.0]))
    stretched_input = round_to(x * factor, trial.case.call.dtype)
    if not arguments["p"] or not np.array_equal(stretched_input / factor, x):
        return
    other = trial_with(trial, stretched_input, eps=arguments["eps"] * factor)
    yield claim(other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial)))


@law("flat", "a vector along several axes is one along their product")
def flat(trial: Trial, generator: Generator) -> Claims:
    """The axes moved to the end and merged; a single axis of even size is split in two."""
    x, axes = get_input(trial), _vector_axes(trial)
    others = tuple(axis for axis in range(x.ndim) if axis not in axes)
    moved = x.transpose(*others, *axes)
    size = math.prod(x.shape[axis] for axis in axes)
    leading, inverse_order = moved.shape[: len(others)], np.argsort((*others, *axes))
    can_halve = size % 2 == 0 and size > 0 and len(axes) == 1
    shape = (*leading, 2, size // 2) if can_halve else (*leading, size)
    dim: Any = (-2, -1) if can_halve else -1
    other = trial_with(trial, moved.reshape(shape), dim=dim)
    yield equality_claim(
        other, trial, got_moves=lambda y: y.reshape(moved.shape).transpose(inverse_order)
    )


UNIT = (names, rows, order, negated, stretched, flat)
