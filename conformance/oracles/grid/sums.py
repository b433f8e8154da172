"""Sums over the taps of arbitrary positions, and their transposes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from conformance.arithmetic.rounded import Rounded, multilinear
from conformance.oracles.grid.places import Taps

Shape = tuple[int, ...]


def sampled(x: Rounded, taps: Sequence[Taps], times: Rounded | None = None) -> Rounded:
    """Σ x·w₁·…·w_d at each position, (N, C, P); with `times`, Σ over C of the product, (N, P).

    Args:
        x: (N, C, *), wide.
        taps: one for each axis.
        times: (N, C, P), multiplied with the sums; None = the sums alone.
    """
    index, inside = _joint(taps, x.shape[2:])
    batch = np.arange(x.shape[0])[:, np.newaxis, np.newaxis]

    def gathered(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(*array.shape[:2], math.prod(array.shape[2:]))
        found = np.moveaxis(flat[batch, :, index], -1, 1)
        return np.where(inside[:, np.newaxis], found, 0.0)

    seen = Rounded(gathered(x.value), gathered(x.error), x.precision)
    finest = x.least * _finest(taps)
    count = math.prod(t.usual for t in taps) + len(taps) - 1

    def sums(x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        return np.asarray((x * _product(weights)[:, np.newaxis]).sum(-1))

    def products(c: np.ndarray, x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        return np.asarray((c * sums(x, *weights)).sum(1))

    weights = [t.weights for t in taps]
    if times is not None:
        grain = np.asarray(times.least * finest)
        return multilinear(
            products,
            times,
            seen,
            *weights,
            terms=count + x.shape[1],
            wide=not x.precision.half,
            grain=lambda *operands: np.where(np.isnan(grain), 0.0, grain),
        )
    fine = np.where(np.isnan(finest), 0.0, finest)[:, np.newaxis]
    result = multilinear(
        sums,
        seen,
        *weights,
        terms=count,
        wide=not x.precision.half,
        grain=lambda *operands: np.broadcast_to(fine, (len(fine), x.shape[1], fine.shape[-1])),
    )
    copies = _copies(taps)[:, np.newaxis]
    read = seen.flushed if x.precision.flushes else seen
    inherited = sums(read.error, *(w.value for w in weights))
    return result.with_error(np.where(copies, inherited, result.error))


def scattered(c: Rounded, taps: Sequence[Taps], shape: Shape) -> Rounded:
    """The cotangent of the input: each position's cotangent, distributed to its taps.

    Args:
        c: (N, C, P), wide.
        taps: one for each axis.
        shape: the input's.
    """
    index, inside = _joint(taps, shape[2:])
    size = math.prod(shape[2:])
    where = np.where(inside, index, size)
    where = where.reshape(len(where), math.prod(where.shape[1:]))

    def added(array: np.ndarray) -> np.ndarray:
        found = np.zeros((*array.shape[:2], size + 1))
        for n in range(len(found)):
            # The last axis comes first, so that one index selects along it.
            np.add.at(found[n].T, where[n], array[n].reshape(array.shape[1], -1).T)
        return np.asarray(found[..., :size].reshape(shape))

    def function(c: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        return added(c[..., np.newaxis] * _product(weights)[:, np.newaxis])

    used = _product([t.touched | (t.weights.value != 0) for t in taps]) & inside
    counts, finest = np.zeros((len(index), size + 1)), np.full((len(index), size + 1), np.inf)
    each = _product([t.weights.quanta for t in taps])
    each = np.where(used, np.where(np.isnan(each), 0.0, each), np.inf)
    for n in range(len(index)):
        np.add.at(counts[n], where[n], used[n].reshape(-1).astype(float))
        np.minimum.at(finest[n], where[n], each[n].reshape(-1))
    lost = np.any([t.vague for t in taps], axis=0).any(-1)
    fine = finest[:, :size].reshape(len(index), 1, *shape[2:])
    result = multilinear(
        function, c, *(t.weights for t in taps),
        terms=int(counts[:, :size].max(initial=1)) + len(taps) - 1,
        wide=not c.precision.half,
        grain=lambda *operands: np.broadcast_to(c.least * fine, shape),
    )  # fmt: skip
    single = counts[:, :size].reshape(fine.shape) == 1
    one = np.zeros((len(index), size + 1))
    ones = _product([t.weights.value for t in taps])
    for n in range(len(index)):
        np.add.at(one[n], where[n], np.where(used[n], ones[n], 0.0).reshape(-1))
    sure = _product([t.weights.error == 0 for t in taps]).all()
    copies = single & (one[:, :size].reshape(fine.shape) == 1) & sure
    read = c.flushed if c.precision.flushes else c
    inherited = function(read.error, *(t.weights.value for t in taps))
    error = np.where(copies, inherited, result.error)
    error = np.where(lost.reshape(-1, *(1,) * (len(shape) - 1)), np.inf, error)
    return result.with_error(error)


def jointly(taps: Sequence[Taps], lengths: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elements of the flat input that taps read, the weights' signs, and which may be read.

    A sign is 0 where a weight may be 0. Each array has the shape (N, P, taps).

    Args:
        taps: one for each axis.
        lengths: the input's spatial sizes.
    """
    index, inside = _joint(taps, lengths)
    signs = _product(
        [np.where(np.abs(t.weights.value) > t.weights.error, np.sign(t.weights.value), 0.0)
         for t in taps]
    )  # fmt: skip
    touched = _product([t.touched.astype(float) for t in taps]) > 0
    return index, np.where(inside, signs, 0.0), touched & inside


def _product(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The product of one factor of each axis, for every combination of taps: (N, P, taps)."""
    found = factors[0]
    with np.errstate(invalid="ignore"):
        for factor in factors[1:]:
            found = found[..., np.newaxis] * factor[..., np.newaxis, :]
            found = _flat(found)
    return found


def _flat(array: np.ndarray) -> np.ndarray:
    """(N, P, K, L) → (N, P, K·L)."""
    return array.reshape(*array.shape[:2], array.shape[2] * array.shape[3])


def _joint(taps: Sequence[Taps], lengths: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The flat index that each combination of taps reads, and whether it is inside."""
    index, inside = taps[0].index, taps[0].inside
    for length, tap in zip(lengths[1:], taps[1:], strict=True):
        index = index[..., np.newaxis] * length + tap.index[..., np.newaxis, :]
        inside = inside[..., np.newaxis] & tap.inside[..., np.newaxis, :]
        index, inside = _flat(index), _flat(inside)
    return index, inside


def _finest(taps: Sequence[Taps]) -> np.ndarray:
    """A power of two that divides all products of weights at a position; 0 if any is inexact."""
    found = np.ones(taps[0].weights.shape[:2])
    for tap in taps:
        found = found * tap.weights.quanta.min(-1)
    return np.where(np.isnan(found), 0.0, found)


def _copies(taps: Sequence[Taps]) -> np.ndarray:
    """Positions whose value is certainly a copy of one element."""
    found = np.ones(taps[0].weights.shape[:2], bool)
    for tap in taps:
        value, error = tap.weights.value, tap.weights.error
        found &= ((value != 0).sum(-1) == 1) & (value.sum(-1) == 1) & ~(error != 0).any(-1)
    return found
