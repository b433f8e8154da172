"""How NaN and infinities propagate through attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.spec.propagation import Propagation, evaluate_oracle_on, zero_nonfinite

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike


def _finite_except_masked(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == bool else np.where(np.isneginf(x), x, zero_nonfinite(x))


def _expected_attention(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs where inputs hold NaN or infinities.

    Outputs that no special number reaches keep their value. A NaN in a query makes its row NaN, one
    in a key all rows that attend to it, one in a value its column in these rows. Undecided are
    masked entries, which forms skip or multiply by 0, and rows with infinite scores.
    """
    query, key, value, *masks = trial.case.inputs
    assert query is not None
    assert key is not None
    assert value is not None
    mask = masks[0] if masks else None
    (finite_output,) = evaluate_oracle_on(trial, trial.precision, _finite_except_masked)
    first_choice = (
        finite_output.alternatives[0] if isinstance(finite_output, Choices) else finite_output
    )
    output_values, error = first_choice.value.copy(), first_choice.error.copy()
    shape = (*query.shape[:-1], key.shape[-2])
    attended = np.broadcast_to(_attended(trial, mask, shape), shape)
    keys, values = (_repeat_heads(x, query) for x in (key, value))
    # Undecided: every output that a special number may reach.
    reached = ~np.isfinite(query).all(-1, keepdims=True)
    reached |= (~np.isfinite(keys)).any((-1, -2))[..., np.newaxis, np.newaxis]
    reached &= bool(key.shape[-2])  # without keys the sums are empty
    touched = reached | (~np.isfinite(values)).any(-2)[..., np.newaxis, :]
    error = np.where(touched, np.inf, error)
    # Certain: NaN at a position that is not masked.
    nan_rows = np.isnan(query).any(-1, keepdims=True) & attended.any(-1, keepdims=True)
    nan_rows |= (attended & np.isnan(keys).any(-1)[..., np.newaxis, :]).any(-1, keepdims=True)
    nan_values = attended.astype(float) @ np.isnan(values).astype(float) > 0
    certain = np.broadcast_to(nan_rows | nan_values, output_values.shape)
    output_values = np.where(certain, np.nan, output_values)
    error = np.where(certain, 0.0, error)
    if isinstance(finite_output, Choices):
        empty = ~attended.any(-1, keepdims=True)
        error = np.where(empty, np.inf, error)
    return (Rounded(output_values, error, trial.precision),)


def _attended(trial: TrialLike, mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if trial.case.call.arguments.get("is_causal", False):
        return np.tril(np.ones(shape[-2:], bool))
    if mask is None:
        return np.ones((1, 1), bool)
    return mask if mask.dtype == bool else ~np.isneginf(mask)


def _repeat_heads(x: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Repeat keys or values for each head of the query."""
    if query.ndim < 3 or x.shape[-3] == query.shape[-3] or not x.shape[-3]:
        return x
    return np.repeat(x, query.shape[-3] // x.shape[-3], axis=-3)


attention = Propagation(_expected_attention)
"""Propagation through means of values that a softmax of scores weights."""


def _expected_multihead(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs and weights where inputs hold NaN or infinities.

    A NaN in a query, key or value reaches every feature of the rows that attend to it. Undecided
    are infinities in the rows that they may reach, and NaN with any mask.
    """
    finite_outputs = evaluate_oracle_on(trial, trial.precision, _finite_except_masked)
    sequences = [y for y in trial.case.inputs[:3] if y is not None]
    arguments = trial.spec.oracle_arguments(trial.case)
    batch_first = bool(arguments.get("batch_first", False))

    def batch_leads(y: np.ndarray) -> np.ndarray:
        return np.asarray(y[np.newaxis] if y.ndim == 2 else y if batch_first else y.swapaxes(0, 1))

    query, key, value = map(batch_leads, sequences)
    masked = any(y is not None for y in trial.case.inputs[3:])
    rows = ~np.isfinite(query).all(-1)
    nan_rows = np.isnan(query).any(-1)
    expected = []
    for place, finite_output in enumerate(finite_outputs):
        first_choice = (
            finite_output.alternatives[0] if isinstance(finite_output, Choices) else finite_output
        )
        attended = (key, value) if place == 0 else (key,)
        columns = np.any([~np.isfinite(y).all((-1, -2)) for y in attended], 0)
        nan_columns = np.any([np.isnan(y).any((-1, -2)) for y in attended], 0)
        reached, certain = rows | columns[:, np.newaxis], nan_rows | nan_columns[:, np.newaxis]
        if masked:
            certain = np.zeros_like(certain)
        shape = first_choice.shape
        if place == 0:
            spread = [
                np.broadcast_to(_output_order(y, query, sequences[0], batch_first), shape)
                for y in (reached, certain)
            ]
        else:
            spread = [
                np.broadcast_to(_weight_order(y, shape, sequences[0].ndim), shape)
                for y in (reached, certain)
            ]
        empty = isinstance(finite_output, Choices)
        error = np.where(spread[0] | empty, np.inf, first_choice.error)
        value_or_nan = np.where(spread[1], np.nan, first_choice.value)
        expected.append(Rounded(value_or_nan, np.where(spread[1], 0.0, error), trial.precision))
    return tuple(expected)


def _output_order(
    y: np.ndarray, query: np.ndarray, original: np.ndarray, batch_first: bool
) -> np.ndarray:
    """(N, L) → the output's order of axes, with a last axis of size 1."""
    if original.ndim == 2:
        return np.asarray(y[0][:, np.newaxis])
    return np.asarray((y if batch_first else y.swapaxes(0, 1))[..., np.newaxis])


def _weight_order(y: np.ndarray, shape: tuple[int, ...], rank: int) -> np.ndarray:
    """(N, L) → (N, 1, L, 1), which broadcasts to the weights; without heads (N, L, 1)."""
    if rank == 2:
        return np.asarray(y[0][:, np.newaxis])
    axes = (2,) if len(shape) == 3 else (1, 3)
    return np.expand_dims(y, axes)


multihead = Propagation(_expected_multihead, special_parameters=False)
"""Propagation through an attention between projections."""
