"""Laws of affine_grid and grid_sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.model.formats import round_to
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    large_size,
    law,
    outputs_with_bounds,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _arguments(trial: Trial) -> dict[str, Any]:
    return {**trial.spec.signature.defaults, **trial.case.call.arguments}


def _centres(n: int, aligned: bool) -> np.ndarray:
    """The grid numbers of the elements of an axis."""
    above = 2.0 * np.arange(n) + 1 - n
    return above / (max(n - 1, 1) if aligned else n)


def _has_dyadic_centres(n: int, aligned: bool) -> bool:
    """Whether every dtype can represent the numbers of `_centres`."""
    step = max(n - 1, 1) if aligned else n
    return step & (step - 1) == 0 and n < 100


@law("rows", "each matrix of a large batch has the grid that it has in a small one")
def matrices(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 matrices drawn from the case's."""
    theta, size = get_input(trial), list(_arguments(trial)["size"])
    chosen = generator.integers(len(theta), size=large_size(generator))
    large = trial_with(trial, theta[chosen], size=(len(chosen), *size[1:]))
    yield equality_claim(large, trial, wanted_moves=lambda y: y[chosen])


@law("identity", "the unit matrix makes the centres of the output's pixels", WITHIN_SUM_OF_BOUNDS)
def identity(trial: Trial, generator: Generator) -> Claims:
    """The call with unit matrices."""
    theta, arguments = get_input(trial), _arguments(trial)
    dims, lengths = theta.shape[1], arguments["size"][2:]
    other = trial_with(trial, np.broadcast_to(np.eye(dims, dims + 1), theta.shape).copy())
    centres = [_centres(n, bool(arguments["align_corners"])) for n in lengths]
    wanted = np.stack(np.meshgrid(*centres, indexing="ij")[::-1], -1)
    wanted = np.broadcast_to(wanted, trial.shapes[0])
    side = Side("the centres of the pixels", (exact_operand(wanted, trial.precision),))
    yield claim(other, outputs_with_bounds(other), side)


@law("moved", "the last column alone is the same vector everywhere", WITHIN_SUM_OF_BOUNDS)
def moved(trial: Trial, generator: Generator) -> Claims:
    """The case's matrices with all but the last column set to 0."""
    theta = get_input(trial).copy()
    theta[..., :-1] = 0
    other = trial_with(trial, theta)
    shape = trial.shapes[0]
    vector = theta[..., -1].reshape(len(theta), *(1,) * (len(shape) - 2), shape[-1])
    wanted = exact_operand(np.broadcast_to(vector, shape), trial.precision)
    yield claim(other, outputs_with_bounds(other), Side("the last column", (wanted,)))


@law("mirrored", "a matrix that takes x the other way mirrors the grid", WITHIN_SUM_OF_BOUNDS)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The matrices with one column negated."""
    theta = get_input(trial).copy()
    k = int(generator.integers(theta.shape[1]))
    theta[..., k] *= -1
    other = trial_with(trial, theta)
    axis = len(trial.shapes[0]) - 2 - k
    unmirrored = tuple(
        y.map(lambda array: np.flip(array, axis)) for y in outputs_with_bounds(other)
    )
    yield claim(other, unmirrored, Side(trial.text(), outputs_with_bounds(trial), trial))


@law("scaled", "a multiple of the matrix is that multiple of the grid")
def theta_scaled(trial: Trial, generator: Generator) -> Claims:
    """The matrices times a power of two."""
    theta, factor = get_input(trial), float(generator.choice([0.5, -2.0, 4.0]))
    scaled_theta = round_to(theta * factor, trial.case.call.dtype)
    if np.array_equal(scaled_theta / factor, theta):
        yield equality_claim(trial_with(trial, scaled_theta), trial, got_moves=lambda y: y / factor)


@law("thin", "a dimension of 1 more is 0 and changes no other", WITHIN_SUM_OF_BOUNDS)
def affine_thin(trial: Trial, generator: Generator) -> Claims:
    """The 2-D case as a 3-D one, with a first dimension of size 1."""
    theta, size = get_input(trial), list(_arguments(trial)["size"])
    if theta.shape[1] != 2:
        return
    wide_theta = np.zeros((len(theta), 3, 4))
    wide_theta[:, :2, :2], wide_theta[:, :2, 3] = theta[..., :2], theta[..., 2]
    other = trial_with(trial, wide_theta, size=(*size[:2], 1, *size[2:]))
    flat_grid = tuple(y.map(lambda array: array[:, 0, ..., :2]) for y in outputs_with_bounds(other))
    yield claim(other, flat_grid, Side(trial.text(), outputs_with_bounds(trial), trial))


AFFINE = (matrices, identity, moved, mirrored, theta_scaled, affine_thin)


def _operands(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, grid = trial.case.inputs
    assert x is not None
    assert grid is not None
    return x, grid


@law("rows", "each sample of a large batch is that sample of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 of them, drawn from the case's."""
    x, grid = _operands(trial)
    if len(x) and x.size + grid.size < 1 << 12:
        chosen = generator.integers(len(x), size=large_size(generator))
        large = trial_with(trial, x[chosen], grid[chosen])
        yield equality_claim(large, trial, wanted_moves=lambda y: y[chosen])


@law("planes", "each channel is sampled by itself")
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 of them, drawn from the case's."""
    x, grid = _operands(trial)
    if x.size and x.size < 1 << 12:
        chosen = generator.integers(x.shape[1], size=large_size(generator))
        large = trial_with(trial, x[:, chosen], grid)
        yield equality_claim(large, trial, wanted_moves=lambda y: y[:, chosen])


@law("places", "each place of the output is sampled by itself")
def places(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 of them, drawn from the case's, in a row."""
    x, grid = _operands(trial)
    if not grid.size or x.size > 1 << 12:
        return
    flat = grid.reshape(len(grid), -1, grid.shape[-1])
    chosen = generator.integers(flat.shape[1], size=large_size(generator))
    single_row = flat[:, chosen].reshape(len(grid), *(1,) * (grid.ndim - 3), -1, grid.shape[-1])
    other = trial_with(trial, x, single_row)

    def select_places(y: np.ndarray) -> np.ndarray:
        flat = y.reshape(*y.shape[:2], -1)[..., chosen]
        return flat.reshape(*y.shape[:2], *(1,) * (grid.ndim - 3), -1)

    yield equality_claim(other, trial, wanted_moves=select_places)


@law("centres", "sampled at the centres of its elements an input is itself", WITHIN_SUM_OF_BOUNDS)
def centres(trial: Trial, generator: Generator) -> Claims:
    """Sampling at the centres of the input's elements, where the dtype can represent them."""
    x, _ = _operands(trial)
    aligned = bool(_arguments(trial)["align_corners"])
    if not x.size or not all(_has_dyadic_centres(n, aligned) for n in x.shape[2:]):
        return
    axis_centres = [_centres(n, aligned) for n in x.shape[2:]]
    centre_grid = np.stack(np.meshgrid(*axis_centres, indexing="ij")[::-1], -1)
    other = trial_with(trial, x, np.broadcast_to(centre_grid, (len(x), *centre_grid.shape)).copy())
    yield claim(
        other, outputs_with_bounds(other), Side("the input", (exact_operand(x, trial.precision),))
    )


@law("mirrored", "a mirrored input, sampled the other way, is the same", WITHIN_SUM_OF_BOUNDS)
def grid_mirrored(trial: Trial, generator: Generator) -> Claims:
    """The input flipped along one dimension, and that coordinate negated."""
    x, grid = _operands(trial)
    k = int(generator.integers(grid.shape[-1]))
    grid = grid.copy()
    grid[..., k] *= -1
    other = trial_with(trial, np.flip(x, x.ndim - 1 - k).copy(), grid)
    yield claim(
        other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial), trial)
    )


@law(
    "exchanged",
    "axes of the input and numbers of the grid may change places together",
    WITHIN_SUM_OF_BOUNDS,
)
def exchanged(trial: Trial, generator: Generator) -> Claims:
    """The last two axes, and the first two coordinates, exchanged."""
    x, grid = _operands(trial)
    swapped = grid.copy()
    swapped[..., 0], swapped[..., 1] = grid[..., 1], grid[..., 0]
    other = trial_with(trial, np.swapaxes(x, -1, -2).copy(), swapped)
    yield claim(
        other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial), trial)
    )


@law("thin", "a dimension of 1 more, sampled in its middle, changes nothing", WITHIN_SUM_OF_BOUNDS)
def thin(trial: Trial, generator: Generator) -> Claims:
    """The image as a volume with one slice, sampled at its middle."""
    x, grid = _operands(trial)
    if x.ndim != 4 or _arguments(trial)["mode"] == "bicubic":
        return
    middle = np.concatenate([grid, np.zeros((*grid.shape[:-1], 1))], -1)[:, np.newaxis]
    other = trial_with(trial, x[:, :, np.newaxis], middle)
    flat_output = tuple(y.map(lambda array: array[:, :, 0]) for y in outputs_with_bounds(other))
    yield claim(other, flat_output, Side(trial.text(), outputs_with_bounds(trial), trial))


@law("scaled", "a multiple of the input is that multiple of the output")
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two, within the dtype's range."""
    (x, grid), factor = _operands(trial), float(generator.choice([0.5, -2.0, 8.0]))
    scaled_input = round_to(x * factor, trial.case.call.dtype)
    near_underflow = (
        np.abs(scaled_input[scaled_input != 0]).min(initial=np.inf) * 2.0**-24
        < trial.precision.normal
    )
    if (
        near_underflow
        or not np.array_equal(scaled_input / factor, x)
        or not np.isfinite(scaled_input).all()
    ):
        return
    yield equality_claim(
        trial_with(trial, scaled_input, grid), trial, got_moves=lambda y: y / factor
    )


@law("interpolated", "the grid of an interpolation is that interpolation", WITHIN_SUM_OF_BOUNDS)
def interpolated(trial: Trial, generator: Generator) -> Claims:
    """interpolate of the same backend to twice the size, where the grid's numbers are exact."""
    x, _ = _operands(trial)
    mode = _arguments(trial)["mode"]
    if (
        not x.size
        or x.size > 1 << 10
        or not all(_has_dyadic_centres(n, False) for n in x.shape[2:])
    ):
        return
    sizes = tuple(2 * n for n in x.shape[2:])
    grid = np.stack(np.meshgrid(*(_centres(n, False) for n in sizes), indexing="ij")[::-1], -1)
    grid = np.broadcast_to(grid, (len(x), *grid.shape)).copy()
    other = trial_with(trial, x, grid, padding_mode="border", align_corners=False)
    name = {"nearest": "nearest-exact"}.get(mode, mode if x.ndim == 4 else "trilinear")
    arguments = {"size": sizes, "mode": name}
    wanted = trial_with(trial, x, layer="functional.interpolate", arguments=arguments)
    yield claim(
        other, outputs_with_bounds(other), Side(wanted.text(), outputs_with_bounds(wanted), wanted)
    )


SAMPLE = (rows, planes, places, centres, grid_mirrored, exchanged, thin, scaled, interpolated)
