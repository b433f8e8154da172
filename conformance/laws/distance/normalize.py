"""Laws of functional.normalize."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.batches import among_many
from conformance.model.formats import round_to
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    called,
    claim,
    input_of,
    law,
    measured,
    same,
    times,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _axes(trial: Trial) -> tuple[int, ...]:
    """The axes of a vector, counted from the front."""
    dim, rank = trial.case.call.arguments.get("dim", 1), input_of(trial).ndim
    return tuple(axis % rank for axis in ((dim,) if isinstance(dim, int) else dim))


@law("names", "an axis may be counted from either end, and several in any order")
def names(trial: Trial, generator: Generator) -> Claims:
    """Each axis counted from the other end, in reverse order; one axis as a number or a tuple."""
    x, axes = input_of(trial), _axes(trial)
    given = trial.case.call.arguments.get("dim", 1)
    numbers = (given,) if isinstance(given, int) else given
    others = [k - x.ndim if k >= 0 else k + x.ndim for k in numbers][::-1]
    one = len(axes) == 1 and isinstance(given, int) and bool(generator.integers(2))
    yield same(called(trial, x, dim=others[0] if one else tuple(others)), trial)


@law("rows", "a vector means the same among many others")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 vectors along an axis that is not in `dim`, drawn from the case's."""
    x, axes = input_of(trial), _axes(trial)
    free = [axis for axis in range(x.ndim) if axis not in axes and x.shape[axis]]
    if not free:
        return
    yield among_many(trial, generator, free[int(generator.integers(len(free)))])


@law("order", "components may come in any order")
def order(trial: Trial, generator: Generator) -> Claims:
    """The same permutation of all vectors, along one of their axes."""
    x, axes = input_of(trial), _axes(trial)
    axis = axes[int(generator.integers(len(axes)))]
    chosen = generator.permutation(x.shape[axis])
    yield same(
        called(trial, x.take(chosen, axis)), trial, wanted_moves=lambda y: y.take(chosen, axis)
    )


@law("negated", "an opposite vector has the opposite direction", SUMMED)
def negated(trial: Trial, generator: Generator) -> Claims:
    """The input with its sign changed."""
    other = called(trial, -input_of(trial))
    wanted = tuple(times(y, -1.0) for y in measured(trial))
    yield claim(other, measured(other), Side(f"-1 · {trial.text()}", wanted))


@law(
    "stretched", "a vector that is longer has the same direction, if eps is as much larger", SUMMED
)
def stretched(trial: Trial, generator: Generator) -> Claims:
    """Input and eps times a power of two; not for p = 0, which counts components."""
    x, given = input_of(trial), {**trial.row.signature.defaults, **trial.case.call.arguments}
    factor = float(generator.choice([0.5, 2.0, 4.0]))
    longer = round_to(x * factor, trial.case.call.dtype)
    if not given["p"] or not np.array_equal(longer / factor, x):
        return
    other = called(trial, longer, eps=given["eps"] * factor)
    yield claim(other, measured(other), Side(trial.text(), measured(trial)))


@law("flat", "a vector along several axes is one along their product")
def flat(trial: Trial, generator: Generator) -> Claims:
    """The axes moved to the end and merged; a single axis of even size is split in two."""
    x, axes = input_of(trial), _axes(trial)
    others = tuple(axis for axis in range(x.ndim) if axis not in axes)
    moved = x.transpose(*others, *axes)
    size = math.prod(x.shape[axis] for axis in axes)
    leading, back = moved.shape[: len(others)], np.argsort((*others, *axes))
    halves = size % 2 == 0 and size > 0 and len(axes) == 1
    shape = (*leading, 2, size // 2) if halves else (*leading, size)
    dim: Any = (-2, -1) if halves else -1
    other = called(trial, moved.reshape(shape), dim=dim)
    yield same(other, trial, got_moves=lambda y: y.reshape(moved.shape).transpose(back))


UNIT = (names, rows, order, negated, stretched, flat)
