"""Values of a network: integers and powers of two that stay small, or normal numbers."""

from __future__ import annotations

import math

import numpy as np
from conformance.strategies.network.builder import Shape

from conformance.model.formats import round_to


class NetworkFiller:
    """Fills the inputs and the state of one network.

    In an exact network each output of a layer is a sum of at most two inputs with the signs ±1. So
    numbers stay small at any depth, and nothing rounds in any dtype.
    """

    def __init__(self, dtype: str, seed: int, *, exact: bool) -> None:
        self._dtype, self._exact = dtype, exact
        self._generator = np.random.default_rng(seed)

    def data(self, shape: Shape) -> np.ndarray:
        """Fill an input."""
        if self._exact:
            return self._integers(3, shape)
        return round_to(self._generator.standard_normal(shape), self._dtype)

    def tensor(self, name: str, shape: Shape) -> np.ndarray:
        """Fill a tensor of a layer's state."""
        if name == "num_batches_tracked":
            return np.zeros(shape, np.int64)
        if name == "running_var":
            if self._exact:
                return np.full(shape, 0.75)
            return round_to(self._generator.uniform(0.5, 2.0, shape), self._dtype)
        if len(shape) >= 2 and name == "weight":
            return self._matrix(shape)
        if self._exact:
            return self._signs(shape) if name == "weight" else self._integers(2, shape)
        return round_to(self._generator.standard_normal(shape), self._dtype)

    def _matrix(self, shape: Shape) -> np.ndarray:
        terms = math.prod(shape[1:])
        if not self._exact:
            values = self._generator.standard_normal(shape) / math.sqrt(max(terms, 1))
            return round_to(values, self._dtype)
        rows = np.zeros((shape[0], terms))
        for row in rows:
            places = self._generator.permutation(terms)[:2]
            row[places] = self._signs((len(places),))
        return rows.reshape(shape)

    def _signs(self, shape: Shape) -> np.ndarray:
        return self._generator.choice([-1.0, 1.0], shape)

    def _integers(self, most: int, shape: Shape) -> np.ndarray:
        return self._generator.integers(-most, most, shape, endpoint=True).astype(np.float64)
