"""How NaN and infinities propagate through normalisations.

If one of the numbers in a group is NaN or infinite, every form of the variance is NaN. In two
passes, by updates, and as E[x²] − E[x]², it subtracts ∞ from ∞. The whole group is then NaN. With
running statistics every number is scaled by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.oracles.normalization.modes import uses_batch_statistics, uses_own_statistics
from conformance.spec.propagation import Propagation, evaluate_oracle_on, zero_nonfinite
from conformance.spec.sizes import as_size_tuple

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike

SpreadNonfinite = Callable[[np.ndarray], np.ndarray]
"""Where numbers are not finite → where the statistics that depend on them are used."""


def _spread_along(axes: tuple[int, ...]) -> SpreadNonfinite:
    return lambda odd: np.broadcast_to(odd.any(axis=axes, keepdims=True), odd.shape)


def _spread_in_groups(count: int) -> SpreadNonfinite:
    def spread(nonfinite: np.ndarray) -> np.ndarray:
        groups = nonfinite.reshape(
            nonfinite.shape[0], count, math.prod(nonfinite.shape[1:]) // count
        )
        return np.broadcast_to(groups.any(2, keepdims=True), groups.shape).reshape(nonfinite.shape)

    return spread


def _row_axes(trial: TrialLike) -> tuple[int, ...]:
    x = trial.case.inputs[0]
    assert x is not None
    sizes = as_size_tuple(trial.case.call.arguments["normalized_shape"])
    return tuple(range(x.ndim - len(sizes), x.ndim))


def _spatial_axes(trial: TrialLike) -> tuple[int, ...]:
    """The axes after that of the channels, which is the first one if there is no batch."""
    x = trial.case.inputs[0]
    assert x is not None
    has_no_batch = bool(trial.spec.signature.dims) and x.ndim == trial.spec.signature.dims + 1
    return tuple(range(1 if has_no_batch else 2, x.ndim))


def _operand(trial: TrialLike, name: str) -> np.ndarray | None:
    """The weight or bias of a case, shaped to broadcast with the input; None without one."""
    names, case = trial.spec.signature.input_names, trial.case
    operand = case.call.state.get(name)
    if operand is None and name in names and names.index(name) < len(case.inputs):
        operand = case.inputs[names.index(name)]
    x = case.inputs[0]
    if operand is None or x is None or _normalizes_rows(trial):
        return operand
    return operand.reshape(-1, *(1 for _ in _spatial_axes(trial)))


def _normalizes_rows(trial: TrialLike) -> bool:
    return trial.spec.signature.argument("normalized_shape") is not None


def _expected(trial: TrialLike, spread: SpreadNonfinite | None) -> tuple[Rounded, ...]:
    x = trial.case.inputs[0]
    assert x is not None
    (result,) = evaluate_oracle_on(trial, trial.precision, zero_nonfinite)
    value, error = result.value.copy(), result.error.copy()
    weight, bias = _operand(trial, "weight"), _operand(trial, "bias")
    factor = np.broadcast_to(1.0 if weight is None else weight, x.shape)
    shift = np.broadcast_to(0.0 if bias is None else bias, x.shape)
    nonfinite = ~np.isfinite(x)
    is_nan = np.isnan(x) | np.isnan(factor) | np.isnan(shift)
    if spread is not None:
        nonfinite = spread(nonfinite)
        is_nan = is_nan | nonfinite
    else:
        is_nan = is_nan | (nonfinite & (factor == 0))
        stays_infinite = np.isinf(x) & np.isfinite(factor) & np.isfinite(shift) & ~is_nan
        value = np.where(stays_infinite, x * np.sign(factor), value)
        # r = 1/√(v + ε) > √normal/2, since v + ε ≤ largest < 4/normal: γ·r does not vanish.
        survives_scaling = np.abs(factor) >= 2.0 * trial.precision.normal**0.5
        error = np.where(stays_infinite, np.where(survives_scaling, 0.0, np.inf), error)
    # An infinite factor gives ∞ of an unclear sign near 0, and NaN in the form x·s + (β − μ·s).
    error = np.where(np.isinf(factor) & ~is_nan, np.inf, error)
    is_infinite_shift = np.isinf(shift) & ~is_nan & np.isfinite(factor)
    value = np.where(is_infinite_shift, shift, value)
    error = np.where(
        is_infinite_shift, np.where(np.isfinite(error) & ~nonfinite, 0.0, np.inf), error
    )
    value, error = np.where(is_nan, np.nan, value), np.where(is_nan, 0.0, error)
    return (Rounded(value, error, trial.precision),)


def _expected_rows(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return _expected(trial, _spread_along(_row_axes(trial)))


def _expected_channels(trial: TrialLike) -> tuple[Rounded, ...]:
    axes = (0, *_spatial_axes(trial)) if uses_batch_statistics(trial.case) else None
    with np.errstate(all="ignore"):
        return _expected(trial, None if axes is None else _spread_along(axes))


def _expected_instances(tracks_by_default: bool, trial: TrialLike) -> tuple[Rounded, ...]:
    uses_own = uses_own_statistics(tracks_by_default, trial.case)
    with np.errstate(all="ignore"):
        return _expected(trial, _spread_along(_spatial_axes(trial)) if uses_own else None)


def _expected_groups(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return _expected(trial, _spread_in_groups(trial.case.call.arguments["num_groups"]))


def _expected_by_reach(trial: TrialLike, spread: SpreadNonfinite) -> tuple[Rounded, ...]:
    """Expected outputs of a division by a root of sums of squares.

    A NaN makes all sums NaN that contain it, and ∞/∞ is NaN. A finite number divided by ∞ stays
    open: a scaled sum of squares makes it NaN.
    """
    x = trial.case.inputs[0]
    assert x is not None
    with np.errstate(all="ignore"):
        (result,) = evaluate_oracle_on(trial, trial.precision, zero_nonfinite)
        weight = _operand(trial, "weight")
        factor = np.broadcast_to(1.0 if weight is None else weight, x.shape)
        is_nan = spread(np.isnan(x)) | np.isnan(factor) | np.isinf(x)
        undecided = spread(np.isinf(x)) | np.isinf(factor)
        value = np.where(is_nan, np.nan, result.value)
        error = np.where(is_nan, 0.0, np.where(undecided, np.inf, result.error))
    return (Rounded(value, error, trial.precision),)


def _expected_squares(trial: TrialLike) -> tuple[Rounded, ...]:
    return _expected_by_reach(trial, _spread_along(_row_axes(trial)))


def _expected_neighbours(trial: TrialLike) -> tuple[Rounded, ...]:
    size = trial.case.call.arguments["size"]

    def spread(nonfinite: np.ndarray) -> np.ndarray:
        channels = np.arange(nonfinite.shape[1])
        distances = channels[:, np.newaxis] - channels  # [output channel, neighbour]
        in_window = (distances <= size // 2) & (-distances <= (size - 1) // 2)
        return np.asarray(np.einsum("cd,nd...->nc...", in_window, nonfinite.astype(int)) > 0)

    return _expected_by_reach(trial, spread)


row_propagation = Propagation(_expected_rows)
"""Propagation where the last dimensions are normalised together."""
channel_propagation = Propagation(_expected_channels)
"""Propagation where each channel is normalised, or in eval mode each number is scaled."""
group_propagation = Propagation(_expected_groups)
"""Propagation where several channels of a sample are normalised together."""
square_propagation = Propagation(_expected_squares)
"""Propagation where the last dimensions are divided by the root of their mean square."""
neighbour_propagation = Propagation(_expected_neighbours)
"""Propagation where a channel is divided by a power of a sum of its neighbours' squares."""


def instance_propagation(tracks_by_default: bool) -> Propagation:
    """Propagation where each channel of a sample is normalised, or each number is scaled.

    Args:
        tracks_by_default: default of `track_running_stats`.
    """
    return Propagation(partial(_expected_instances, tracks_by_default))
