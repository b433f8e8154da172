"""Laws of fractional pooling: its random windows, and what holds for any windows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.pooling.gradients import whole
from conformance.laws.pooling.maximum import EXACT, TWINS, leading
from conformance.oracles.pooling.fractional import starts_of
from conformance.spec.draws import Draws, Masked
from conformance.spec.law import Claim, Claims, Generator, Side, called, claim, input_of, law, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_EVERY, _CALLS = 8, 64  # one case in 8 has a probe of 64 calls
_NONE = {"output_size": None, "output_ratio": None, "return_indices": False}


def _sizes(trial: Trial, sizes: tuple[int, ...], **more: Any) -> dict[str, Any]:
    """The arguments with an output_size instead of the case's."""
    given = {k: v for k, v in trial.case.call.arguments.items() if k not in _NONE}
    return {**given, "output_size": sizes, **more}


def _starts(trial: Trial, kernel: int, outputs: int, lengths: tuple[int, ...]) -> np.ndarray:
    """The start of each window of a plane, (dimensions, *outputs), observed on rising numbers."""
    plane = np.arange(float(np.prod(lengths))).reshape(1, *lengths)
    given = _sizes(trial, (outputs,) * len(lengths), kernel_size=kernel)
    got = called(trial, plane, arguments=given).answer[0][0]
    return np.array(np.unravel_index(got.astype(np.int64), lengths)) - (kernel - 1)


def draws(trial: Trial, generator: Generator) -> Draws:
    """Window i begins at ⌊i·α⌋ or ⌈i·α⌉, the same in all rows, drawn anew in each call.

    The probe is a plane of rising numbers, so that the largest element of a window is its last.
    """
    dims = trial.row.signature.dims
    kernel, outputs = int(generator.integers(1, 3)), int(generator.integers(2, 4))
    lengths = tuple(kernel + outputs - 1 + int(more) for more in generator.integers(1, 4, dims))
    found = _starts(trial, kernel, outputs, lengths)
    for axis, length in enumerate(lengths):
        ways = starts_of(length, outputs, kernel)
        low, high = ways[0], ways[-1]
        view = [1] * dims
        view[axis] = outputs
        shape = (outputs,) * dims
        early, late = (np.broadcast_to(x.reshape(view), shape).astype(float) for x in (low, high))
        width = late - early
        what = f"of {outputs} windows of {kernel} in {length}, where each begins"
        exact = np.zeros(shape)
        yield Masked(what, f"start along axis {axis}", found[axis] - early,
                     Rounded(width, exact, trial.precision), 0.0, np.ones(shape, bool))  # fmt: skip
        rows = np.moveaxis(found[axis], axis, -1).reshape(-1, outputs).astype(float)
        yield _alike(trial, rows, what)
    if generator.integers(_EVERY) == 0:
        yield from _anew(trial)


def _alike(trial: Trial, rows: np.ndarray, what: str) -> Claim:
    """The claim that every row of a plane has the windows of the first row."""
    sides = [
        Side(f"{what}, {text}", (Rounded(x, np.zeros(x.shape), trial.precision),))
        for text, x in (("in each row", rows), ("in the first row",
                                                np.repeat(rows[:1], len(rows), 0)))
    ]  # fmt: skip
    return Claim(("start",), *sides)


def _anew(trial: Trial) -> Draws:
    """With three windows of 1 in a length of 4 the middle one begins at 1 or 2.

    The rates are not documented, but both must occur.
    """
    dims = trial.row.signature.dims
    starts = [_starts(trial, 1, 3, (4,) * dims) for _ in range(_CALLS)]
    middle = np.array([[found[(axis, *(1,) * dims)] for axis in range(dims)] for found in starts])
    one = Rounded(np.ones(middle.shape), np.zeros(middle.shape), trial.precision)
    yield Masked("of 3 windows of 1 in 4, where the second begins, in 64 calls", "start",
                 middle - 1.0, one, 0.0, np.ones(middle.shape, bool), 0.5, slack=0.45)  # fmt: skip


def _even(trial: Trial, generator: Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Output sizes with equal steps, for which nothing is drawn; and the steps."""
    dims = int(trial.row.signature.dims)
    kernel = trial.case.call.arguments["kernel_size"]
    kernels = kernel if isinstance(kernel, tuple) else (kernel,) * dims
    sizes, found = [], []
    for n, k in zip(input_of(trial).shape[-dims:], kernels, strict=True):
        room = n - k
        possible = [step for step in range(2, room + 1) if room % step == 0] or [1]
        step = int(generator.choice(possible))
        sizes.append(room // step + 1)
        found.append(step)
    return tuple(sizes), tuple(found)


@law("function", "the module and the function have windows of the same steps", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """The other form, with output sizes for which nothing is drawn."""
    sizes, _ = _even(trial, generator)
    layer, given = TWINS[trial.row.name], _sizes(trial, sizes, return_indices=True)
    one = called(trial, input_of(trial), arguments=given)
    yield same(called(trial, input_of(trial), layer=layer, arguments=given), one)


@law("steps", "where all steps are alike it is pooling by these steps", EXACT)
def steps(trial: Trial, generator: Generator) -> Claims:
    """Ordinary pooling with the equal steps as strides; values and indices."""
    sizes, stride = _even(trial, generator)
    given = _sizes(trial, sizes, return_indices=True)
    layer = trial.row.name.replace("Fractional", "").replace("fractional_", "")
    kernel = trial.case.call.arguments["kernel_size"]
    windows = {"kernel_size": kernel, "stride": stride, "return_indices": True}
    plain = called(trial, input_of(trial), layer=layer, arguments=windows)
    yield same(called(trial, input_of(trial), arguments=given), plain)


@law("indices", "each value is the element of the input that its index names", EXACT)
def indices(trial: Trial, generator: Generator) -> Claims:
    """Values and indices of one call, whatever its windows."""
    x, dims = input_of(trial), int(trial.row.signature.dims)
    call = called(trial, x, return_indices=True)
    values, found = call.answer
    before = x.shape[: leading(trial)]
    plane, windows = (int(np.prod(y.shape[-dims:])) for y in (x, values))
    flat = found.reshape(*before, windows)
    inside = (flat >= 0) & (flat < plane)
    named = np.take_along_axis(x.reshape(*before, plane), np.where(inside, flat, 0), -1)
    named = np.where(inside, named, np.nan).reshape(values.shape)
    exact = np.zeros(values.shape)
    one, other = (Rounded(array, exact, trial.precision) for array in (values, named))
    yield replace(
        claim(call, (one,), Side("what the indices name", (other,))), names=call.names[:1]
    )


@law("ends", "the first window begins with the input, the last one ends with it", EXACT)
def ends(trial: Trial, generator: Generator) -> Claims:
    """A plane with 1 in two opposite corners and 0 elsewhere, with at least two outputs."""
    dims = int(trial.row.signature.dims)
    if min(trial.shapes[0][-dims:]) < 2:
        return
    x = np.zeros(input_of(trial).shape)
    corners: list[tuple[Any, ...]] = [(..., *(corner,) * dims) for corner in (0, -1)]
    for corner in corners:
        x[corner] = 1.0
    call = called(trial, x, return_indices=False)
    got = call.answer[0]
    wanted = np.ones(got.shape[:-dims])
    for corner in corners:
        found = got[corner]
        sides = [Rounded(y, np.zeros(y.shape), trial.precision) for y in (found, wanted)]
        yield replace(
            claim(call, (sides[0],), Side("1, which stands in the corner", (sides[1],))),
            names=call.names[:1],
        )


LAWS = (function, steps, indices, ends, whole)
