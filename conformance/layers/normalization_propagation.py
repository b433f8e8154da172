"""What NaN and infinities among the operands of a normalisation make of its outputs.

Where mean and variance are taken of numbers of which one is NaN or infinite, the variance is NaN in
every form of it (∞ − ∞ in two passes, by updates and as E[x²] − E[x]²): so is all of the group.
Where they are given, every number is scaled by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.layers.propagation import Propagation, finite, oracle
from conformance.layers.sizes import sizes_of
from conformance.model.case import Case, is_function

if TYPE_CHECKING:
    from conformance.model.protocols import TrialLike

Axes = Callable[["TrialLike"], tuple[int, ...] | None]


def _row_axes(trial: TrialLike) -> tuple[int, ...] | None:
    x = trial.case.inputs[0]
    assert x is not None
    sizes = sizes_of(trial.case.call.arguments["normalized_shape"])
    return tuple(range(x.ndim - len(sizes), x.ndim))


def uses_batch_statistics(case: Case) -> bool:
    """Whether the batch's own mean and variance are taken, so that no row is by itself."""
    call, arguments = case.call, case.call.arguments
    if is_function(call.layer):
        return bool(arguments.get("training", False))
    return call.training or not arguments.get("track_running_stats", True)


def _channel_axes(trial: TrialLike) -> tuple[int, ...] | None:
    """All but the channels; None where the statistics are given."""
    x = trial.case.inputs[0]
    assert x is not None
    return (0, *range(2, x.ndim)) if uses_batch_statistics(trial.case) else None


def _operand(trial: TrialLike, name: str) -> np.ndarray | None:
    """A weight or bias, shaped to broadcast against the input."""
    names, case = trial.row.input_names, trial.case
    found = case.call.state.get(name)
    if found is None and name in names and names.index(name) < len(case.inputs):
        found = case.inputs[names.index(name)]
    x = case.inputs[0]
    if found is None or x is None or _by_row(trial):
        return found
    return found.reshape(-1, *(1 for _ in x.shape[2:]))


def _by_row(trial: TrialLike) -> bool:
    return trial.row.argument("normalized_shape") is not None


def _expected(trial: TrialLike, axes: tuple[int, ...] | None) -> tuple[Rounded, ...]:
    x = trial.case.inputs[0]
    assert x is not None
    (result,) = oracle(trial, trial.precision, finite)
    value, error = result.value.copy(), result.error.copy()
    weight, bias = _operand(trial, "weight"), _operand(trial, "bias")
    factor = np.broadcast_to(1.0 if weight is None else weight, x.shape)
    shift = np.broadcast_to(0.0 if bias is None else bias, x.shape)
    odd = ~np.isfinite(x)
    lost = np.isnan(x) | np.isnan(factor) | np.isnan(shift)
    if axes is not None:
        odd = np.broadcast_to(odd.any(axis=axes, keepdims=True), x.shape)
        lost = lost | odd
    else:
        lost = lost | (odd & (factor == 0))
        endless = np.isinf(x) & np.isfinite(factor) & np.isfinite(shift) & ~lost
        value = np.where(endless, x * np.sign(factor), value)
        # r = 1/√(v + ε) > √normal/2, since v + ε ≤ largest < 4/normal: γ·r does not vanish.
        certain = np.abs(factor) >= 2.0 * trial.precision.normal**0.5
        error = np.where(endless, np.where(certain, 0.0, np.inf), error)
    # ∞ as a factor has the sign of what is near 0, or meets itself as x·s + (β − μ·s).
    error = np.where(np.isinf(factor) & ~lost, np.inf, error)
    both = np.isinf(shift) & ~lost & np.isfinite(factor)
    value = np.where(both, shift, value)
    error = np.where(both, np.where(np.isfinite(error) & ~odd, 0.0, np.inf), error)
    value, error = np.where(lost, np.nan, value), np.where(lost, 0.0, error)
    return (Rounded(value, error, trial.precision),)


def _of_rows(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return _expected(trial, _row_axes(trial))


def _of_channels(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return _expected(trial, _channel_axes(trial))


by_row = Propagation(_of_rows)
"""The last dimensions are normalised together."""
by_channel = Propagation(_of_channels)
"""Every channel is normalised together, or scaled number by number in eval mode."""
