"""Laws of affine_grid and grid_sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exactly
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
    many,
    measured,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _given(trial: Trial) -> dict[str, Any]:
    return {**trial.row.signature.defaults, **trial.case.call.arguments}


def _centres(n: int, aligned: bool) -> np.ndarray:
    """The grid numbers of the elements of an axis."""
    above = 2.0 * np.arange(n) + 1 - n
    return above / (max(n - 1, 1) if aligned else n)


def _dyadic(n: int, aligned: bool) -> bool:
    """Whether every dtype can represent the numbers of `_centres`."""
    step = max(n - 1, 1) if aligned else n
    return step & (step - 1) == 0 and n < 100


@law("rows", "each matrix of a large batch has the grid that it has in a small one")
def matrices(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 matrices drawn from the case's."""
    theta, size = input_of(trial), list(_given(trial)["size"])
    chosen = generator.integers(len(theta), size=many(generator))
    large = called(trial, theta[chosen], size=(len(chosen), *size[1:]))
    yield same(large, trial, wanted_moves=lambda y: y[chosen])


@law("identity", "the unit matrix makes the centres of the output's pixels", SUMMED)
def identity(trial: Trial, generator: Generator) -> Claims:
    """The call with unit matrices."""
    theta, given = input_of(trial), _given(trial)
    dims, lengths = theta.shape[1], given["size"][2:]
    other = called(trial, np.broadcast_to(np.eye(dims, dims + 1), theta.shape).copy())
    centres = [_centres(n, bool(given["align_corners"])) for n in lengths]
    wanted = np.stack(np.meshgrid(*centres, indexing="ij")[::-1], -1)
    wanted = np.broadcast_to(wanted, trial.shapes[0])
    side = Side("the centres of the pixels", (exactly(wanted, trial.precision),))
    yield claim(other, measured(other), side)


@law("moved", "the last column alone is the same vector everywhere", SUMMED)
def moved(trial: Trial, generator: Generator) -> Claims:
    """The case's matrices with all but the last column set to 0."""
    theta = input_of(trial).copy()
    theta[..., :-1] = 0
    other = called(trial, theta)
    shape = trial.shapes[0]
    vector = theta[..., -1].reshape(len(theta), *(1,) * (len(shape) - 2), shape[-1])
    wanted = exactly(np.broadcast_to(vector, shape), trial.precision)
    yield claim(other, measured(other), Side("the last column", (wanted,)))


@law("mirrored", "a matrix that takes x the other way mirrors the grid", SUMMED)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The matrices with one column negated."""
    theta = input_of(trial).copy()
    k = int(generator.integers(theta.shape[1]))
    theta[..., k] *= -1
    other = called(trial, theta)
    axis = len(trial.shapes[0]) - 2 - k
    back = tuple(y.map(lambda array: np.flip(array, axis)) for y in measured(other))
    yield claim(other, back, Side(trial.text(), measured(trial), trial))


@law("scaled", "a multiple of the matrix is that multiple of the grid")
def theta_scaled(trial: Trial, generator: Generator) -> Claims:
    """The matrices times a power of two."""
    theta, factor = input_of(trial), float(generator.choice([0.5, -2.0, 4.0]))
    there = round_to(theta * factor, trial.case.call.dtype)
    if np.array_equal(there / factor, theta):
        yield same(called(trial, there), trial, got_moves=lambda y: y / factor)


@law("thin", "a dimension of 1 more is 0 and changes no other", SUMMED)
def affine_thin(trial: Trial, generator: Generator) -> Claims:
    """The 2-D case as a 3-D one, with a first dimension of size 1."""
    theta, size = input_of(trial), list(_given(trial)["size"])
    if theta.shape[1] != 2:
        return
    more = np.zeros((len(theta), 3, 4))
    more[:, :2, :2], more[:, :2, 3] = theta[..., :2], theta[..., 2]
    other = called(trial, more, size=(*size[:2], 1, *size[2:]))
    found = tuple(y.map(lambda array: array[:, 0, ..., :2]) for y in measured(other))
    yield claim(other, found, Side(trial.text(), measured(trial), trial))


AFFINE = (matrices, identity, moved, mirrored, theta_scaled, affine_thin)


def _both(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, grid = trial.case.inputs
    assert x is not None
    assert grid is not None
    return x, grid


@law("rows", "each sample of a large batch is that sample of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 of them, drawn from the case's."""
    x, grid = _both(trial)
    if len(x) and x.size + grid.size < 1 << 12:
        chosen = generator.integers(len(x), size=many(generator))
        large = called(trial, x[chosen], grid[chosen])
        yield same(large, trial, wanted_moves=lambda y: y[chosen])


@law("planes", "each channel is sampled by itself")
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 of them, drawn from the case's."""
    x, grid = _both(trial)
    if x.size and x.size < 1 << 12:
        chosen = generator.integers(x.shape[1], size=many(generator))
        large = called(trial, x[:, chosen], grid)
        yield same(large, trial, wanted_moves=lambda y: y[:, chosen])


@law("places", "each place of the output is sampled by itself")
def places(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 of them, drawn from the case's, in a row."""
    x, grid = _both(trial)
    if not grid.size or x.size > 1 << 12:
        return
    flat = grid.reshape(len(grid), -1, grid.shape[-1])
    chosen = generator.integers(flat.shape[1], size=many(generator))
    row = flat[:, chosen].reshape(len(grid), *(1,) * (grid.ndim - 3), -1, grid.shape[-1])
    other = called(trial, x, row)

    def picked(y: np.ndarray) -> np.ndarray:
        found = y.reshape(*y.shape[:2], -1)[..., chosen]
        return found.reshape(*y.shape[:2], *(1,) * (grid.ndim - 3), -1)

    yield same(other, trial, wanted_moves=picked)


@law("centres", "sampled at the centres of its elements an input is itself", SUMMED)
def centres(trial: Trial, generator: Generator) -> Claims:
    """Sampling at the centres of the input's elements, where the dtype can represent them."""
    x, _ = _both(trial)
    aligned = bool(_given(trial)["align_corners"])
    if not x.size or not all(_dyadic(n, aligned) for n in x.shape[2:]):
        return
    each = [_centres(n, aligned) for n in x.shape[2:]]
    there = np.stack(np.meshgrid(*each, indexing="ij")[::-1], -1)
    other = called(trial, x, np.broadcast_to(there, (len(x), *there.shape)).copy())
    yield claim(other, measured(other), Side("the input", (exactly(x, trial.precision),)))


@law("mirrored", "a mirrored input, sampled the other way, is the same", SUMMED)
def grid_mirrored(trial: Trial, generator: Generator) -> Claims:
    """The input flipped along one dimension, and that coordinate negated."""
    x, grid = _both(trial)
    k = int(generator.integers(grid.shape[-1]))
    grid = grid.copy()
    grid[..., k] *= -1
    other = called(trial, np.flip(x, x.ndim - 1 - k).copy(), grid)
    yield claim(other, measured(other), Side(trial.text(), measured(trial), trial))


@law("exchanged", "axes of the input and numbers of the grid may change places together", SUMMED)
def exchanged(trial: Trial, generator: Generator) -> Claims:
    """The last two axes, and the first two coordinates, exchanged."""
    x, grid = _both(trial)
    swapped = grid.copy()
    swapped[..., 0], swapped[..., 1] = grid[..., 1], grid[..., 0]
    other = called(trial, np.swapaxes(x, -1, -2).copy(), swapped)
    yield claim(other, measured(other), Side(trial.text(), measured(trial), trial))


@law("thin", "a dimension of 1 more, sampled in its middle, changes nothing", SUMMED)
def thin(trial: Trial, generator: Generator) -> Claims:
    """The image as a volume with one slice, sampled at its middle."""
    x, grid = _both(trial)
    if x.ndim != 4 or _given(trial)["mode"] == "bicubic":
        return
    middle = np.concatenate([grid, np.zeros((*grid.shape[:-1], 1))], -1)[:, np.newaxis]
    other = called(trial, x[:, :, np.newaxis], middle)
    found = tuple(y.map(lambda array: array[:, :, 0]) for y in measured(other))
    yield claim(other, found, Side(trial.text(), measured(trial), trial))


@law("scaled", "a multiple of the input is that multiple of the output")
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two, within the dtype's range."""
    (x, grid), factor = _both(trial), float(generator.choice([0.5, -2.0, 8.0]))
    there = round_to(x * factor, trial.case.call.dtype)
    low = np.abs(there[there != 0]).min(initial=np.inf) * 2.0**-24 < trial.precision.normal
    if low or not np.array_equal(there / factor, x) or not np.isfinite(there).all():
        return
    yield same(called(trial, there, grid), trial, got_moves=lambda y: y / factor)


@law("interpolated", "the grid of an interpolation is that interpolation", SUMMED)
def interpolated(trial: Trial, generator: Generator) -> Claims:
    """interpolate of the same backend to twice the size, where the grid's numbers are exact."""
    x, _ = _both(trial)
    mode = _given(trial)["mode"]
    if not x.size or x.size > 1 << 10 or not all(_dyadic(n, False) for n in x.shape[2:]):
        return
    sizes = tuple(2 * n for n in x.shape[2:])
    grid = np.stack(np.meshgrid(*(_centres(n, False) for n in sizes), indexing="ij")[::-1], -1)
    grid = np.broadcast_to(grid, (len(x), *grid.shape)).copy()
    other = called(trial, x, grid, padding_mode="border", align_corners=False)
    name = {"nearest": "nearest-exact"}.get(mode, mode if x.ndim == 4 else "trilinear")
    given = {"size": sizes, "mode": name}
    wanted = called(trial, x, layer="functional.interpolate", arguments=given)
    yield claim(other, measured(other), Side(wanted.text(), measured(wanted), wanted))


SAMPLE = (rows, planes, places, centres, grid_mirrored, exchanged, thin, scaled, interpolated)
