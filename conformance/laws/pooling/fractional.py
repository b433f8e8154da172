"""Laws of fractional pooling: its random windows, and what holds for any windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.pooling.gradients import whole
from conformance.laws.pooling.maximum import EXACT, TWINS, leading_axes
from conformance.oracles.pooling.fractional import window_starts
from conformance.spec.draws import Draws, MaskedOutput
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    law,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_REPEAT_PERIOD, _REPEATED_CALLS = 8, 64  # one case in 8 has a probe of 64 calls
_REPLACED_ARGUMENTS = {"output_size": None, "output_ratio": None, "return_indices": False}


def _arguments_for_size(trial: Trial, sizes: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    """The arguments with an output_size instead of the case's."""
    arguments = {k: v for k, v in trial.case.call.arguments.items() if k not in _REPLACED_ARGUMENTS}
    return {**arguments, "output_size": sizes, **changes}


def _observed_starts(
    trial: Trial, kernel: int, outputs: int, lengths: tuple[int, ...]
) -> np.ndarray:
    """The start of each window of a plane, (dimensions, *outputs), observed on rising numbers.

    NaN where the answer is no number of the plane.
    """
    plane = np.arange(float(np.prod(lengths))).reshape(1, *lengths)
    arguments = _arguments_for_size(trial, (outputs,) * len(lengths), kernel_size=kernel)
    got = trial_with(trial, plane, arguments=arguments).answer[0][0]
    is_of_plane = (got >= 0) & (got < plane.size) & (got == np.floor(got))
    places = np.where(is_of_plane, got, 0).astype(np.int64)
    starts = np.array(np.unravel_index(places, lengths), dtype=float) - (kernel - 1)
    return np.where(is_of_plane, starts, np.nan)


def draws(trial: Trial, generator: Generator) -> Draws:
    """Window i begins at ⌊i·α⌋ or ⌈i·α⌉, the same in all rows, drawn anew in each call.

    The probe is a plane of rising numbers, so that the largest element of a window is its last.
    """
    dims = trial.spec.signature.dims
    kernel, outputs = int(generator.integers(1, 3)), int(generator.integers(2, 4))
    lengths = tuple(kernel + outputs - 1 + int(extra) for extra in generator.integers(1, 4, dims))
    starts = _observed_starts(trial, kernel, outputs, lengths)
    for axis, length in enumerate(lengths):
        start_choices = window_starts(length, outputs, kernel)
        low, high = start_choices[0], start_choices[-1]
        broadcast_shape = [1] * dims
        broadcast_shape[axis] = outputs
        shape = (outputs,) * dims
        early, late = (
            np.broadcast_to(x.reshape(broadcast_shape), shape).astype(float) for x in (low, high)
        )
        width = late - early
        description = f"of {outputs} windows of {kernel} in {length}, where each begins"
        exact = np.zeros(shape)
        yield MaskedOutput(description, f"start along axis {axis}", starts[axis] - early,
                     Rounded(width, exact, trial.precision), 0.0, np.ones(shape, bool))  # fmt: skip
        rows = np.moveaxis(starts[axis], axis, -1).reshape(-1, outputs).astype(float)
        yield _same_in_each_row(trial, rows, description)
    if generator.integers(_REPEAT_PERIOD) == 0:
        yield from _drawn_anew(trial)


def _same_in_each_row(trial: Trial, rows: np.ndarray, description: str) -> Claim:
    """The claim that every row of a plane has the windows of the first row."""
    sides = [
        Side(f"{description}, {text}", (Rounded(x, np.zeros(x.shape), trial.precision),))
        for text, x in (("in each row", rows), ("in the first row",
                                                np.repeat(rows[:1], len(rows), 0)))
    ]  # fmt: skip
    return Claim(("start",), *sides)


def _drawn_anew(trial: Trial) -> Draws:
    """With three windows of 1 in a length of 4 the middle one begins at 1 or 2.

    The rates are not documented, but both must occur.
    """
    dims = trial.spec.signature.dims
    starts = [_observed_starts(trial, 1, 3, (4,) * dims) for _ in range(_REPEATED_CALLS)]
    middle = np.array([[start[(axis, *(1,) * dims)] for axis in range(dims)] for start in starts])
    unit = Rounded(np.ones(middle.shape), np.zeros(middle.shape), trial.precision)
    yield MaskedOutput("of 3 windows of 1 in 4, where the second begins, in 64 calls", "start",
                 middle - 1.0, unit, 0.0, np.ones(middle.shape, bool), 0.5, slack=0.45)  # fmt: skip


def _even_steps(trial: Trial, generator: Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Output sizes with equal steps, for which nothing is drawn; and the steps."""
    dims = int(trial.spec.signature.dims)
    kernel = trial.case.call.arguments["kernel_size"]
    kernels = kernel if isinstance(kernel, tuple) else (kernel,) * dims
    sizes, steps = [], []
    for n, k in zip(get_input(trial).shape[-dims:], kernels, strict=True):
        span = n - k
        possible = [step for step in range(2, span + 1) if span % step == 0] or [1]
        step = int(generator.choice(possible))
        sizes.append(span // step + 1)
        steps.append(step)
    return tuple(sizes), tuple(steps)


@law("function", "the module and the function have windows of the same steps", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """The other form, with output sizes for which nothing is drawn."""
    sizes, _ = _even_steps(trial, generator)
    layer, arguments = (
        TWINS[trial.spec.name],
        _arguments_for_size(trial, sizes, return_indices=True),
    )
    own_form = trial_with(trial, get_input(trial), arguments=arguments)
    yield equality_claim(
        trial_with(trial, get_input(trial), layer=layer, arguments=arguments), own_form
    )


@law("steps", "where all steps are alike it is pooling by these steps", EXACT)
def steps(trial: Trial, generator: Generator) -> Claims:
    """Ordinary pooling with the equal steps as strides; values and indices."""
    sizes, stride = _even_steps(trial, generator)
    arguments = _arguments_for_size(trial, sizes, return_indices=True)
    layer = trial.spec.name.replace("Fractional", "").replace("fractional_", "")
    kernel = trial.case.call.arguments["kernel_size"]
    windows = {"kernel_size": kernel, "stride": stride, "return_indices": True}
    pool_call = trial_with(trial, get_input(trial), layer=layer, arguments=windows)
    yield equality_claim(trial_with(trial, get_input(trial), arguments=arguments), pool_call)


@law("indices", "each value is the element of the input that its index names", EXACT)
def indices(trial: Trial, generator: Generator) -> Claims:
    """Values and indices of one call, whatever its windows."""
    x, dims = get_input(trial), int(trial.spec.signature.dims)
    call = trial_with(trial, x, return_indices=True)
    values, index_output = call.answer
    leading_shape = x.shape[: leading_axes(trial)]
    plane, windows = (int(np.prod(y.shape[-dims:])) for y in (x, values))
    flat = index_output.reshape(*leading_shape, windows)
    inside = (flat >= 0) & (flat < plane)
    elements_at = np.take_along_axis(
        x.reshape(*leading_shape, plane), np.where(inside, flat, 0), -1
    )
    elements_at = np.where(inside, elements_at, np.nan).reshape(values.shape)
    exact = np.zeros(values.shape)
    value_output, elements_output = (
        Rounded(array, exact, trial.precision) for array in (values, elements_at)
    )
    yield replace(
        claim(call, (value_output,), Side("what the indices name", (elements_output,))),
        names=call.names[:1],
    )


@law("ends", "the first window begins with the input, the last one ends with it", EXACT)
def ends(trial: Trial, generator: Generator) -> Claims:
    """A plane with 1 in two opposite corners and 0 elsewhere, with at least two outputs."""
    dims = int(trial.spec.signature.dims)
    if min(trial.shapes[0][-dims:]) < 2:
        return
    x = np.zeros(get_input(trial).shape)
    corners: list[tuple[Any, ...]] = [(..., *(corner,) * dims) for corner in (0, -1)]
    for corner in corners:
        x[corner] = 1.0
    call = trial_with(trial, x, return_indices=False)
    got = call.answer[0]
    wanted = np.ones(got.shape[:-dims])
    for corner in corners:
        corner_values = got[corner]
        sides = [Rounded(y, np.zeros(y.shape), trial.precision) for y in (corner_values, wanted)]
        yield replace(
            claim(call, (sides[0],), Side("1, which stands in the corner", (sides[1],))),
            names=call.names[:1],
        )


LAWS = (function, steps, indices, ends, whole)
