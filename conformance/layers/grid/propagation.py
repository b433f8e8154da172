"""How NaN and infinities in input and grid propagate through grid_sample and affine_grid.

By the documentation NaN in the grid stands for −1. An element with a nonzero weight decides the
output. With weight 0 it makes the output NaN if a form multiplies it, and has no effect if a form
skips it: the output is undecided.
"""

from __future__ import annotations

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.oracles.grid.grid import pixels, taps_of
from conformance.oracles.grid.sums import jointly
from conformance.spec.propagation import Propagation, finite
from conformance.spec.trial_protocol import TrialLike


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    given = {**trial.row.signature.defaults, **trial.case.call.arguments}
    x, grid = trial.case.inputs
    assert x is not None
    assert grid is not None
    with np.errstate(all="ignore"):
        if given["mode"] == "nearest":
            return trial.expected
        there = exactly(grid, trial.precision)
        operands = [exactly(finite(x), trial.precision), there]
        (whole,) = trial.evaluate({}, operands)
        # The alternatives differ in slope, not in value: the first will do.
        whole = getattr(whole, "alternatives", (whole,))[0]
        corners = bool(given["align_corners"])
        taps = taps_of(x.shape, there, given["mode"], given["padding_mode"], corners)
        return (_classified(x, whole, *jointly(taps, x.shape[2:])),)


def _classified(
    x: np.ndarray,
    whole: Rounded,
    index: np.ndarray,
    signs: np.ndarray,
    touched: np.ndarray,
) -> Rounded:
    """Set outputs to NaN, ±∞ or undecided, by the input's elements that they read.

    Args:
        whole: outputs where every special number of the input is replaced by a finite one.
        index: positions in the flat input that are read, (N, P, taps).
        signs: signs of their weights; 0 where a weight may be 0.
        touched: whether a form may multiply the element.
    """
    flat = x.reshape(*x.shape[:2], -1)
    seen = np.moveaxis(flat[np.arange(len(x))[:, np.newaxis, np.newaxis], :, index], -1, 1)
    signs, touched = signs[:, np.newaxis], touched[:, np.newaxis]
    sure = signs != 0
    odd = ~np.isfinite(seen)
    lost = (np.isnan(seen) & sure).any(-1)
    directed = np.where(np.isinf(seen) & sure, np.sign(seen) * signs, 0.0)
    up, down = (directed > 0).any(-1), (directed < 0).any(-1)
    doubtful = (odd & touched & ~sure).any(-1)
    # Sums along one axis may overflow, though the sum of all does not.
    size = np.where(touched & np.isfinite(seen), np.abs(seen), 0.0)
    mixed = (signs < 0).any(-1)
    doubtful |= mixed & (2 * size.max(-1, initial=0.0) > whole.precision.largest)
    doubtful |= mixed & up & down
    shape = whole.shape
    lost, up, down, doubtful = (array.reshape(shape) for array in (lost, up, down, doubtful))
    value = np.where(up, np.inf, np.where(down, -np.inf, whole.value))
    value = np.where(lost | (up & down), np.nan, value)
    error = np.where(np.isinf(whole.error), np.inf, np.where(lost | up | down, 0.0, whole.error))
    return Rounded(value, np.where(doubtful & ~lost, np.inf, error), whole.precision)


def _of_matrix(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected grid: each number is a product of a matrix row and (a pixel's coordinates, 1)."""
    given = {**trial.row.signature.defaults, **trial.case.call.arguments}
    theta = trial.case.inputs[0]
    assert theta is not None
    with np.errstate(all="ignore"):
        (whole,) = trial.evaluate({}, [exactly(finite(theta), trial.precision)])
        if np.isfinite(theta).all():
            return (whole,)
        base = pixels(tuple(given["size"][2:]), bool(given["align_corners"]), whole.precision)
        signs = np.where(np.abs(base.value) > base.error, np.sign(base.value), 0.0)
        rows, signs = theta[:, np.newaxis], signs[:, np.newaxis]
        odd, sure = ~np.isfinite(rows), signs != 0
        lost = np.isnan(rows).any(-1) & np.ones(signs.shape[:2], bool)
        directed = np.where(np.isinf(rows), np.sign(rows) * signs, 0.0)
        up, down = (directed > 0).any(-1), (directed < 0).any(-1)
        open_ = (odd & ~np.isnan(rows) & ~sure).any(-1) & ~lost
        lost, up, down, open_ = (x.reshape(whole.shape) for x in (lost, up, down, open_))
        value = np.where(up, np.inf, np.where(down, -np.inf, whole.value))
        value = np.where(lost | (up & down), np.nan, value)
        error = np.where(lost | up | down, 0.0, whole.error)
        return (Rounded(value, np.where(open_, np.inf, error), whole.precision),)


placed = Propagation(_of_matrix, parameters=False)
"""Propagation through products of matrix rows and the coordinates of pixels."""
sampled = Propagation(_expected, parameters=False)
"""Propagation through weighted sums of the input's elements, with weights that the grid decides."""
