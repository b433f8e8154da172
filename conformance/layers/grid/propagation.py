"""How NaN and infinities in input and grid propagate through grid_sample and affine_grid.

By the documentation NaN in the grid stands for −1. An element with a nonzero weight decides the
output. With weight 0 it makes the output NaN if a form multiplies it, and has no effect if a form
skips it: the output is undecided.
"""

from __future__ import annotations

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.oracles.grid.grid import axis_taps, pixel_centres
from conformance.oracles.grid.sums import read_elements
from conformance.spec.propagation import Propagation, zero_nonfinite
from conformance.spec.trial_protocol import TrialLike


def _expected_sample(trial: TrialLike) -> tuple[Rounded, ...]:
    arguments = {**trial.spec.signature.defaults, **trial.case.call.arguments}
    x, grid = trial.case.inputs
    assert x is not None
    assert grid is not None
    with np.errstate(all="ignore"):
        if arguments["mode"] == "nearest":
            return trial.expected
        grid_values = exact_operand(grid, trial.precision)
        operands = [exact_operand(zero_nonfinite(x), trial.precision), grid_values]
        (finite_output,) = trial.evaluate({}, operands)
        # The alternatives differ in slope, not in value: the first will do.
        finite_output = getattr(finite_output, "alternatives", (finite_output,))[0]
        corners = bool(arguments["align_corners"])
        taps = axis_taps(
            x.shape, grid_values, arguments["mode"], arguments["padding_mode"], corners
        )
        return (_classify(x, finite_output, *read_elements(taps, x.shape[2:])),)


def _classify(
    x: np.ndarray,
    finite_output: Rounded,
    index: np.ndarray,
    signs: np.ndarray,
    touched: np.ndarray,
) -> Rounded:
    """Set outputs to NaN, ±∞ or undecided, by the input's elements that they read.

    Args:
        finite_output: outputs where every special number of the input is replaced by a finite one.
        index: positions in the flat input that are read, (N, P, taps).
        signs: signs of their weights; 0 where a weight may be 0.
        touched: whether a form may multiply the element.
    """
    flat = x.reshape(*x.shape[:2], -1)
    read_elements = np.moveaxis(flat[np.arange(len(x))[:, np.newaxis, np.newaxis], :, index], -1, 1)
    signs, touched = signs[:, np.newaxis], touched[:, np.newaxis]
    has_sign = signs != 0
    nonfinite = ~np.isfinite(read_elements)
    has_nan = (np.isnan(read_elements) & has_sign).any(-1)
    infinity_signs = np.where(
        np.isinf(read_elements) & has_sign, np.sign(read_elements) * signs, 0.0
    )
    positive_infinity, negative_infinity = (
        (infinity_signs > 0).any(-1),
        (infinity_signs < 0).any(-1),
    )
    undecided = (nonfinite & touched & ~has_sign).any(-1)
    # Sums along one axis may overflow, though the sum of all does not.
    size = np.where(touched & np.isfinite(read_elements), np.abs(read_elements), 0.0)
    has_negative_weight = (signs < 0).any(-1)
    undecided |= has_negative_weight & (
        2 * size.max(-1, initial=0.0) > finite_output.precision.largest
    )
    undecided |= has_negative_weight & positive_infinity & negative_infinity
    shape = finite_output.shape
    has_nan, positive_infinity, negative_infinity, undecided = (
        array.reshape(shape) for array in (has_nan, positive_infinity, negative_infinity, undecided)
    )
    value = np.where(
        positive_infinity, np.inf, np.where(negative_infinity, -np.inf, finite_output.value)
    )
    value = np.where(has_nan | (positive_infinity & negative_infinity), np.nan, value)
    error = np.where(
        np.isinf(finite_output.error),
        np.inf,
        np.where(has_nan | positive_infinity | negative_infinity, 0.0, finite_output.error),
    )
    return Rounded(value, np.where(undecided & ~has_nan, np.inf, error), finite_output.precision)


def _expected_affine(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected grid: each number is a product of a matrix row and (a pixel's coordinates, 1)."""
    arguments = {**trial.spec.signature.defaults, **trial.case.call.arguments}
    theta = trial.case.inputs[0]
    assert theta is not None
    with np.errstate(all="ignore"):
        (finite_output,) = trial.evaluate(
            {}, [exact_operand(zero_nonfinite(theta), trial.precision)]
        )
        if np.isfinite(theta).all():
            return (finite_output,)
        base = pixel_centres(
            tuple(arguments["size"][2:]), bool(arguments["align_corners"]), finite_output.precision
        )
        signs = np.where(np.abs(base.value) > base.error, np.sign(base.value), 0.0)
        rows, signs = theta[:, np.newaxis], signs[:, np.newaxis]
        nonfinite, has_sign = ~np.isfinite(rows), signs != 0
        has_nan = np.isnan(rows).any(-1) & np.ones(signs.shape[:2], bool)
        infinity_signs = np.where(np.isinf(rows), np.sign(rows) * signs, 0.0)
        positive_infinity, negative_infinity = (
            (infinity_signs > 0).any(-1),
            (infinity_signs < 0).any(-1),
        )
        undecided = (nonfinite & ~np.isnan(rows) & ~has_sign).any(-1) & ~has_nan
        has_nan, positive_infinity, negative_infinity, undecided = (
            x.reshape(finite_output.shape)
            for x in (has_nan, positive_infinity, negative_infinity, undecided)
        )
        value = np.where(
            positive_infinity, np.inf, np.where(negative_infinity, -np.inf, finite_output.value)
        )
        value = np.where(has_nan | (positive_infinity & negative_infinity), np.nan, value)
        error = np.where(has_nan | positive_infinity | negative_infinity, 0.0, finite_output.error)
        return (Rounded(value, np.where(undecided, np.inf, error), finite_output.precision),)


affine_propagation = Propagation(_expected_affine, special_parameters=False)
"""Propagation through products of matrix rows and the coordinates of pixels."""
sample_propagation = Propagation(_expected_sample, special_parameters=False)
"""Propagation through weighted sums of the input's elements, with weights that the grid decides."""
