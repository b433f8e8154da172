"""Recurrent layers whose pre-activations are all 0, so that gradients are exact."""

from __future__ import annotations

import numpy as np
from conformance.strategies.recurrent.weights import OrdinaryFiller


class ZeroFiller(OrdinaryFiller):
    """Every pre-activation is 0, so σ = ½ with slope ¼ and tanh = 0 with slope 1.

    Gradients are then dyadic. Inputs and hidden states are multiples of two vectors v and u with
    W_ih v = 0 and W_hh u = 0, and the biases cancel. A single input feature is 1 and cancelled by
    the bias or, without a bias, 0. An LSTM stays at c = 0; a GRU halves its state, which remains a
    multiple of u.
    """

    def _null_vector(self, size: int) -> np.ndarray:
        """The vector of a given width that the weights map to 0; its last element is 1."""
        return np.resize((1.0, -1.0), size)[::-1] if size > 1 else np.zeros(1)

    def _annihilating_weight(self, columns: int) -> np.ndarray:
        weight = self.integers(2, self.gate_rows, columns)
        if columns > 1:
            weight[:, -1] = -weight[:, :-1] @ self._null_vector(columns)[:-1]
        return weight

    def weight_ih(self, inputs: int, *, first: bool) -> np.ndarray:
        """Integers; an upper layer gets a multiple of u from each direction of the layer below."""
        width = inputs if first else self.output_size
        blocks = [self._annihilating_weight(width) for _ in range(inputs // width)]
        return np.concatenate(blocks, axis=1)

    def weight_hh(self) -> np.ndarray:
        """Integers."""
        return self._annihilating_weight(self.output_size)

    def weight_hr(self) -> np.ndarray:
        """Integers."""
        return self.integers(2, self.output_size, self.hidden_size)

    def biases(self, weight_ih: np.ndarray, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
        """Biases that cancel; b_hn is doubled, because a GRU multiplies it by r = ½."""
        input_offsets = self.integers(2, self.gate_rows)
        state_bias = input_offsets.copy()
        if self.kind == "GRU":
            state_bias[2 * self.hidden_size :] *= 2
        if first and self.input_size == 1:
            input_offsets += weight_ih[:, 0]
        return -input_offsets, state_bias

    def x(self, *shape: int) -> np.ndarray:
        """Multiples of v."""
        if shape[-1] == 1:
            return np.full(shape, 1.0 if self.bias else 0.0)
        return np.asarray(self.integers(2, *shape[:-1], 1) * self._null_vector(shape[-1]))

    def h(self, *shape: int) -> np.ndarray:
        """Multiples of u."""
        return np.asarray(self.integers(2, *shape[:-1], 1) * self._null_vector(shape[-1]))

    def c(self, *shape: int) -> np.ndarray:
        """Zeros."""
        return np.zeros(shape)


class BitsFiller(OrdinaryFiller):
    """Pre-activations of 0, with weights that use every bit: the input's gradient shows them all.

    Input and states are 0, and the biases cancel; a GRU's biases of n are 0. So only one
    pre-activation has a gradient (an RNN's only one, an LSTM's g, a GRU's n), a power of two or 0.
    A column has one weight for each gate, in ±[1, 2). The weight of that gate times the power of
    two is an element of the last step's gradient, without rounding.
    """

    def _sparse_columns(self, columns: int) -> np.ndarray:
        weight = np.zeros((self.gates, self.hidden_size, columns))
        values = (1 + self.generator.random((self.gates, columns)) * 0.99) * self.odd_integers(
            1, columns
        )
        gate, column = np.indices(values.shape)
        weight[gate, self.generator.integers(0, self.hidden_size, values.shape), column] = values
        return weight.reshape(self.gate_rows, columns)

    def weight_ih(self, inputs: int, *, first: bool) -> np.ndarray:
        """One weight in each column and gate."""
        return self._sparse_columns(inputs)

    def weight_hh(self) -> np.ndarray:
        """One weight in each column and gate."""
        return self._sparse_columns(self.output_size)

    def weight_hr(self) -> np.ndarray:
        """One ±1 in each row."""
        return self.one_per_row(self.output_size, self.hidden_size)

    def biases(self, weight_ih: np.ndarray, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
        """Biases that cancel."""
        hidden = self.integers(2, self.gate_rows)
        if self.kind == "GRU":
            hidden[2 * self.hidden_size :] = 0.0
        return -hidden, hidden

    def x(self, *shape: int) -> np.ndarray:
        """Zeros."""
        return np.zeros(shape)

    h = c = x
