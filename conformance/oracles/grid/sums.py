"""Sums over the taps of arbitrary positions, and their transposes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from conformance.arithmetic.rounded import Rounded, multilinear
from conformance.oracles.grid.places import Taps

Shape = tuple[int, ...]


def sample(x: Rounded, taps: Sequence[Taps], multiplier: Rounded | None = None) -> Rounded:
    """Σ x·w₁·…·w_d at each position, (N, C, P); with `multiplier`, Σ over C of the product, (N, P).

    Args:
        x: (N, C, *), wide.
        taps: one for each axis.
        multiplier: (N, C, P), multiplied with the sums; None = the sums alone.
    """
    index, inside = _flat_index(taps, x.shape[2:])
    batch = np.arange(x.shape[0])[:, np.newaxis, np.newaxis]

    def gather(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(*array.shape[:2], math.prod(array.shape[2:]))
        taken = np.moveaxis(flat[batch, :, index], -1, 1)
        return np.where(inside[:, np.newaxis], taken, 0.0)

    elements = Rounded(gather(x.value), gather(x.error), x.precision)
    sum_quanta = x.common_quantum * _weight_quanta(taps)
    count = math.prod(t.tap_count for t in taps) + len(taps) - 1

    def sums(x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        return np.asarray((x * _product(weights)[:, np.newaxis]).sum(-1))

    def products(c: np.ndarray, x: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        return np.asarray((c * sums(x, *weights)).sum(1))

    weights = [t.weights for t in taps]
    if multiplier is not None:
        grain = np.asarray(multiplier.common_quantum * sum_quanta)
        return multilinear(
            products,
            multiplier,
            elements,
            *weights,
            terms=count + x.shape[1],
            wide=not x.precision.is_half,
            grain=lambda *operands: np.where(np.isnan(grain), 0.0, grain),
        )
    known_quanta = np.where(np.isnan(sum_quanta), 0.0, sum_quanta)[:, np.newaxis]
    result = multilinear(
        sums,
        elements,
        *weights,
        terms=count,
        wide=not x.precision.is_half,
        grain=lambda *operands: np.broadcast_to(
            known_quanta, (len(known_quanta), x.shape[1], known_quanta.shape[-1])
        ),
    )
    copies = _is_copy(taps)[:, np.newaxis]
    flushed_elements = elements.flushed if x.precision.flushes else elements
    inherited = sums(flushed_elements.error, *(w.value for w in weights))
    return result.with_error(np.where(copies, inherited, result.error))


def scatter(c: Rounded, taps: Sequence[Taps], shape: Shape) -> Rounded:
    """The cotangent of the input: each position's cotangent, distributed to its taps.

    Args:
        c: (N, C, P), wide.
        taps: one for each axis.
        shape: the input's.
    """
    index, inside = _flat_index(taps, shape[2:])
    size = math.prod(shape[2:])
    targets = np.where(inside, index, size)
    targets = targets.reshape(len(targets), math.prod(targets.shape[1:]))

    def scatter_add(array: np.ndarray) -> np.ndarray:
        sums = np.zeros((*array.shape[:2], size + 1))
        for n in range(len(sums)):
            # The last axis comes first, so that one index selects along it.
            np.add.at(sums[n].T, targets[n], array[n].reshape(array.shape[1], -1).T)
        return np.asarray(sums[..., :size].reshape(shape))

    def function(c: np.ndarray, *weights: np.ndarray) -> np.ndarray:
        return scatter_add(c[..., np.newaxis] * _product(weights)[:, np.newaxis])

    used = _product([t.touched | (t.weights.value != 0) for t in taps]) & inside
    counts, finest = np.zeros((len(index), size + 1)), np.full((len(index), size + 1), np.inf)
    tap_quanta = _product([t.weights.quanta for t in taps])
    tap_quanta = np.where(used, np.where(np.isnan(tap_quanta), 0.0, tap_quanta), np.inf)
    for n in range(len(index)):
        np.add.at(counts[n], targets[n], used[n].reshape(-1).astype(float))
        np.minimum.at(finest[n], targets[n], tap_quanta[n].reshape(-1))
    undecided = np.any([t.undecided for t in taps], axis=0).any(-1)
    known_quanta = finest[:, :size].reshape(len(index), 1, *shape[2:])
    result = multilinear(
        function, c, *(t.weights for t in taps),
        terms=int(counts[:, :size].max(initial=1)) + len(taps) - 1,
        wide=not c.precision.is_half,
        grain=lambda *operands: np.broadcast_to(c.common_quantum * known_quanta, shape),
    )  # fmt: skip
    single = counts[:, :size].reshape(known_quanta.shape) == 1
    weight_sums = np.zeros((len(index), size + 1))
    tap_weights = _product([t.weights.value for t in taps])
    for n in range(len(index)):
        np.add.at(weight_sums[n], targets[n], np.where(used[n], tap_weights[n], 0.0).reshape(-1))
    exact_weights = _product([t.weights.error == 0 for t in taps]).all()
    copies = single & (weight_sums[:, :size].reshape(known_quanta.shape) == 1) & exact_weights
    flushed_cotangent = c.flushed if c.precision.flushes else c
    inherited = function(flushed_cotangent.error, *(t.weights.value for t in taps))
    error = np.where(copies, inherited, result.error)
    error = np.where(undecided.reshape(-1, *(1,) * (len(shape) - 1)), np.inf, error)
    return result.with_error(error)


def read_elements(
    taps: Sequence[Taps], lengths: Shape
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elements of the flat input that taps read, the weights' signs, and which may be read.

    A sign is 0 where a weight may be 0. Each array has the shape (N, P, taps).

    Args:
        taps: one for each axis.
        lengths: the input's spatial sizes.
    """
    index, inside = _flat_index(taps, lengths)
    signs = _product(
        [np.where(np.abs(t.weights.value) > t.weights.error, np.sign(t.weights.value), 0.0)
         for t in taps]
    )  # fmt: skip
    touched = _product([t.touched.astype(float) for t in taps]) > 0
    return index, np.where(inside, signs, 0.0), touched & inside


def _product(factors: Sequence[np.ndarray]) -> np.ndarray:
    """The product of one factor of each axis, for every combination of taps: (N, P, taps)."""
    products = factors[0]
    with np.errstate(invalid="ignore"):
        for factor in factors[1:]:
            products = products[..., np.newaxis] * factor[..., np.newaxis, :]
            products = _flat(products)
    return products


def _flat(array: np.ndarray) -> np.ndarray:
    """(N, P, K, L) → (N, P, K·L)."""
    return array.reshape(*array.shape[:2], array.shape[2] * array.shape[3])


def _flat_index(taps: Sequence[Taps], lengths: Shape) -> tuple[np.ndarray, np.ndarray]:
    """The flat index that each combination of taps reads, and whether it is inside."""
    index, inside = taps[0].index, taps[0].inside
    for length, tap in zip(lengths[1:], taps[1:], strict=True):
        index = index[..., np.newaxis] * length + tap.index[..., np.newaxis, :]
        inside = inside[..., np.newaxis] & tap.inside[..., np.newaxis, :]
        index, inside = _flat(index), _flat(inside)
    return index, inside


def _weight_quanta(taps: Sequence[Taps]) -> np.ndarray:
    """A power of two that divides all products of weights at a position; 0 if any is inexact."""
    products = np.ones(taps[0].weights.shape[:2])
    for tap in taps:
        products = products * tap.weights.quanta.min(-1)
    return np.where(np.isnan(products), 0.0, products)


def _is_copy(taps: Sequence[Taps]) -> np.ndarray:
    """Positions whose value is certainly a copy of one element."""
    copies = np.ones(taps[0].weights.shape[:2], bool)
    for tap in taps:
        value, error = tap.weights.value, tap.weights.error
        copies &= ((value != 0).sum(-1) == 1) & (value.sum(-1) == 1) & ~(error != 0).any(-1)
    return copies
