"""How NaN and infinities propagate through attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.spec.propagation import Propagation, finite, oracle

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike


def _floats(x: np.ndarray) -> np.ndarray:
    return x if x.dtype == bool else np.where(np.isneginf(x), x, finite(x))


def _of_attention(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs where inputs hold NaN or infinities.

    Outputs that no special number reaches keep their value. A NaN in a query makes its row NaN, one
    in a key all rows that attend to it, one in a value its column in these rows. Undecided are
    masked entries, which forms skip or multiply by 0, and rows with infinite scores.
    """
    query, key, value, *rest = trial.case.inputs
    assert query is not None
    assert key is not None
    assert value is not None
    mask = rest[0] if rest else None
    (whole,) = oracle(trial, trial.precision, _floats)
    plain = whole.alternatives[0] if isinstance(whole, Choices) else whole
    answer, error = plain.value.copy(), plain.error.copy()
    shape = (*query.shape[:-1], key.shape[-2])
    open_ = np.broadcast_to(_allowed(trial, mask, shape), shape)
    keys, values = (_spread(x, query) for x in (key, value))
    # Undecided: every output that a special number may reach.
    reached = ~np.isfinite(query).all(-1, keepdims=True)
    reached |= (~np.isfinite(keys)).any((-1, -2))[..., np.newaxis, np.newaxis]
    reached &= bool(key.shape[-2])  # without keys the sums are empty
    touched = reached | (~np.isfinite(values)).any(-2)[..., np.newaxis, :]
    error = np.where(touched, np.inf, error)
    # Certain: NaN at a position that is not masked.
    lost = np.isnan(query).any(-1, keepdims=True) & open_.any(-1, keepdims=True)
    lost |= (open_ & np.isnan(keys).any(-1)[..., np.newaxis, :]).any(-1, keepdims=True)
    gone = open_.astype(float) @ np.isnan(values).astype(float) > 0
    certain = np.broadcast_to(lost | gone, answer.shape)
    answer = np.where(certain, np.nan, answer)
    error = np.where(certain, 0.0, error)
    if isinstance(whole, Choices):
        empty = ~open_.any(-1, keepdims=True)
        error = np.where(empty, np.inf, error)
    return (Rounded(answer, error, trial.precision),)


def _allowed(trial: TrialLike, mask: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if trial.case.call.arguments.get("is_causal", False):
        return np.tril(np.ones(shape[-2:], bool))
    if mask is None:
        return np.ones((1, 1), bool)
    return mask if mask.dtype == bool else ~np.isneginf(mask)


def _spread(x: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Repeat keys or values for each head of the query."""
    if query.ndim < 3 or x.shape[-3] == query.shape[-3] or not x.shape[-3]:
        return x
    return np.repeat(x, query.shape[-3] // x.shape[-3], axis=-3)


attention = Propagation(_of_attention)
"""Propagation through means of values that a softmax of scores weights."""


def _of_multihead(trial: TrialLike) -> tuple[Rounded, ...]:
    """Expected outputs and weights where inputs hold NaN or infinities.

    A NaN in a query, key or value reaches every feature of the rows that attend to it. Undecided
    are infinities in the rows that they may reach, and NaN with any mask.
    """
    found = oracle(trial, trial.precision, _floats)
    x = [y for y in trial.case.inputs[:3] if y is not None]
    arguments = trial.row.written(trial.case)
    first = bool(arguments.get("batch_first", False))

    def batch_leads(y: np.ndarray) -> np.ndarray:
        return np.asarray(y[np.newaxis] if y.ndim == 2 else y if first else y.swapaxes(0, 1))

    query, key, value = map(batch_leads, x)
    masked = any(y is not None for y in trial.case.inputs[3:])
    rows = ~np.isfinite(query).all(-1)
    lost = np.isnan(query).any(-1)
    answers = []
    for place, whole in enumerate(found):
        plain = whole.alternatives[0] if isinstance(whole, Choices) else whole
        others = (key, value) if place == 0 else (key,)
        columns = np.any([~np.isfinite(y).all((-1, -2)) for y in others], 0)
        gone = np.any([np.isnan(y).any((-1, -2)) for y in others], 0)
        reached, certain = rows | columns[:, np.newaxis], lost | gone[:, np.newaxis]
        if masked:
            certain = np.zeros_like(certain)
        shape = plain.shape
        if place == 0:
            spread = [
                np.broadcast_to(_back(y, query, x[0], first), shape) for y in (reached, certain)
            ]
        else:
            spread = [
                np.broadcast_to(_weighed(y, shape, x[0].ndim), shape) for y in (reached, certain)
            ]
        empty = isinstance(whole, Choices)
        error = np.where(spread[0] | empty, np.inf, plain.error)
        value_ = np.where(spread[1], np.nan, plain.value)
        answers.append(Rounded(value_, np.where(spread[1], 0.0, error), trial.precision))
    return tuple(answers)


def _back(y: np.ndarray, query: np.ndarray, given: np.ndarray, first: bool) -> np.ndarray:
    """(N, L) → the output's order of axes, with a last axis of size 1."""
    if given.ndim == 2:
        return np.asarray(y[0][:, np.newaxis])
    return np.asarray((y if first else y.swapaxes(0, 1))[..., np.newaxis])


def _weighed(y: np.ndarray, shape: tuple[int, ...], rank: int) -> np.ndarray:
    """(N, L) → (N, 1, L, 1), which broadcasts to the weights; without heads (N, L, 1)."""
    if rank == 2:
        return np.asarray(y[0][:, np.newaxis])
    axes = (2,) if len(shape) == 3 else (1, 3)
    return np.expand_dims(y, axes)


multihead = Propagation(_of_multihead, parameters=False)
"""Propagation through an attention between projections."""
