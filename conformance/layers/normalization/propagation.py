"""How NaN and infinities propagate through normalisations.

If one of the numbers in a group is NaN or infinite, every form of the variance is NaN: ∞ − ∞ in two
passes, by updates, and as E[x²] − E[x]². The whole group is then NaN. With running statistics every
number is scaled by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.oracles.normalization.modes import uses_batch_statistics, uses_own_statistics
from conformance.spec.propagation import Propagation, finite, oracle
from conformance.spec.sizes import sizes_of

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike

Spread = Callable[[np.ndarray], np.ndarray]
"""Where numbers are not finite → where the statistics that depend on them are used."""


def _along(axes: tuple[int, ...]) -> Spread:
    return lambda odd: np.broadcast_to(odd.any(axis=axes, keepdims=True), odd.shape)


def _in_groups(count: int) -> Spread:
    def spread(odd: np.ndarray) -> np.ndarray:
        groups = odd.reshape(odd.shape[0], count, math.prod(odd.shape[1:]) // count)
        return np.broadcast_to(groups.any(2, keepdims=True), groups.shape).reshape(odd.shape)

    return spread


def _row_axes(trial: TrialLike) -> tuple[int, ...]:
    x = trial.case.inputs[0]
    assert x is not None
    sizes = sizes_of(trial.case.call.arguments["normalized_shape"])
    return tuple(range(x.ndim - len(sizes), x.ndim))


def _space(trial: TrialLike) -> tuple[int, ...]:
    """The axes after that of the channels, which is the first one if there is no batch."""
    x = trial.case.inputs[0]
    assert x is not None
    alone = bool(trial.row.signature.dims) and x.ndim == trial.row.signature.dims + 1
    return tuple(range(1 if alone else 2, x.ndim))


def _operand(trial: TrialLike, name: str) -> np.ndarray | None:
    """The weight or bias of a case, shaped to broadcast with the input; None without one."""
    names, case = trial.row.signature.input_names, trial.case
    found = case.call.state.get(name)
    if found is None and name in names and names.index(name) < len(case.inputs):
        found = case.inputs[names.index(name)]
    x = case.inputs[0]
    if found is None or x is None or _by_row(trial):
        return found
    return found.reshape(-1, *(1 for _ in _space(trial)))


def _by_row(trial: TrialLike) -> bool:
    return trial.row.signature.argument("normalized_shape") is not None


def _expected(trial: TrialLike, together: Spread | None) -> tuple[Rounded, ...]:
    x = trial.case.inputs[0]
    assert x is not None
    (result,) = oracle(trial, trial.precision, finite)
    value, error = result.value.copy(), result.error.copy()
    weight, bias = _operand(trial, "weight"), _operand(trial, "bias")
    factor = np.broadcast_to(1.0 if weight is None else weight, x.shape)
    shift = np.broadcast_to(0.0 if bias is None else bias, x.shape)
    odd = ~np.isfinite(x)
    lost = np.isnan(x) | np.isnan(factor) | np.isnan(shift)
    if together is not None:
        odd = together(odd)
        lost = lost | odd
    else:
        lost = lost | (odd & (factor == 0))
        endless = np.isinf(x) & np.isfinite(factor) & np.isfinite(shift) & ~lost
        value = np.where(endless, x * np.sign(factor), value)
        # r = 1/√(v + ε) > √normal/2, since v + ε ≤ largest < 4/normal: γ·r does not vanish.
        certain = np.abs(factor) >= 2.0 * trial.precision.normal**0.5
        error = np.where(endless, np.where(certain, 0.0, np.inf), error)
    # An infinite factor gives ∞ of an unclear sign near 0, and NaN in the form x·s + (β − μ·s).
    error = np.where(np.isinf(factor) & ~lost, np.inf, error)
    both = np.isinf(shift) & ~lost & np.isfinite(factor)
    value = np.where(both, shift, value)
    error = np.where(both, np.where(np.isfinite(error) & ~odd, 0.0, np.inf), error)
    value, error = np.where(lost, np.nan, value), np.where(lost, 0.0, error)
    return (Rounded(value, error, trial.precision),)


def _of_rows(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return _expected(trial, _along(_row_axes(trial)))


def _of_channels(trial: TrialLike) -> tuple[Rounded, ...]:
    axes = (0, *_space(trial)) if uses_batch_statistics(trial.case) else None
    with np.errstate(all="ignore"):
        return _expected(trial, None if axes is None else _along(axes))


def _of_instances(usual: bool, trial: TrialLike) -> tuple[Rounded, ...]:
    own = uses_own_statistics(usual, trial.case)
    with np.errstate(all="ignore"):
        return _expected(trial, _along(_space(trial)) if own else None)


def _of_groups(trial: TrialLike) -> tuple[Rounded, ...]:
    with np.errstate(all="ignore"):
        return _expected(trial, _in_groups(trial.case.call.arguments["num_groups"]))


def _by_reach(trial: TrialLike, reached: Spread) -> tuple[Rounded, ...]:
    """Expected outputs of a division by a root of sums of squares.

    A NaN makes all sums NaN that contain it, and ∞/∞ is NaN. A finite number divided by ∞ stays
    open: a scaled sum of squares makes it NaN.
    """
    x = trial.case.inputs[0]
    assert x is not None
    with np.errstate(all="ignore"):
        (result,) = oracle(trial, trial.precision, finite)
        weight = _operand(trial, "weight")
        factor = np.broadcast_to(1.0 if weight is None else weight, x.shape)
        lost = reached(np.isnan(x)) | np.isnan(factor) | np.isinf(x)
        unknown = reached(np.isinf(x)) | np.isinf(factor)
        value = np.where(lost, np.nan, result.value)
        error = np.where(lost, 0.0, np.where(unknown, np.inf, result.error))
    return (Rounded(value, error, trial.precision),)


def _of_squares(trial: TrialLike) -> tuple[Rounded, ...]:
    return _by_reach(trial, _along(_row_axes(trial)))


def _of_neighbours(trial: TrialLike) -> tuple[Rounded, ...]:
    size = trial.case.call.arguments["size"]

    def reached(odd: np.ndarray) -> np.ndarray:
        channels = np.arange(odd.shape[1])
        apart = channels[:, np.newaxis] - channels  # [output channel, neighbour]
        near = (apart <= size // 2) & (-apart <= (size - 1) // 2)
        return np.asarray(np.einsum("cd,nd...->nc...", near, odd.astype(int)) > 0)

    return _by_reach(trial, reached)


by_row = Propagation(_of_rows)
"""Propagation where the last dimensions are normalised together."""
by_channel = Propagation(_of_channels)
"""Propagation where each channel is normalised, or in eval mode each number is scaled."""
by_group = Propagation(_of_groups)
"""Propagation where several channels of a sample are normalised together."""
by_square = Propagation(_of_squares)
"""Propagation where the last dimensions are divided by the root of their mean square."""
by_neighbour = Propagation(_of_neighbours)
"""Propagation where a channel is divided by a power of a sum of its neighbours' squares."""


def by_instance(usual: bool) -> Propagation:
    """Propagation where each channel of a sample is normalised, or each number is scaled.

    Args:
        usual: default of `track_running_stats`.
    """
    return Propagation(partial(_of_instances, usual))
