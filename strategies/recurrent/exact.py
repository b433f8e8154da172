"""Weights, inputs and states of recurrent layers whose outputs are exact, also in half precision.

The error bound of a chain of steps is so wide that it hides a wrong gate or a lost bit. With these
values nothing rounds; the oracle finds that out by itself, and then demands equality. Every array
is filled for a given structure, so that every draw is a valid case.
"""

from __future__ import annotations

import numpy as np
from conformance.strategies.recurrent.weights import GentleFiller, OrdinaryFiller
from conformance.strategies.recurrent.zeros import BitsFiller, ZeroFiller

from conformance.model.formats import round_to


class ReluFiller(OrdinaryFiller):
    """relu RNN: one ±1 in each row of a weight, small integers elsewhere.

    The state grows by addition only, so that it is a small integer after several steps and layers.
    With so few entries in each column the gradients are small integers, too.
    """

    def weight_ih(self, inputs: int, *, first: bool) -> np.ndarray:
        """One ±1 in each row."""
        return self.one_per_row(self.gate_rows, inputs)

    def weight_hh(self) -> np.ndarray:
        """One ±1 in each row."""
        return self.one_per_row(self.gate_rows, self.output_size)

    def biases(self, weight_ih: np.ndarray, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
        """-1, 0 or 1."""
        return self.integers(1, self.gate_rows), self.integers(1, self.gate_rows)

    def x(self, *shape: int) -> np.ndarray:
        """Integers up to 2."""
        return self.integers(2, *shape)

    h = x


class SaturatedFiller(OrdinaryFiller):
    """Pre-activations U·(odd + even + …), far from 0: gates are 0 or 1, tanh is ±1.

    The odd number is the bias or, without one, comes from the input through one odd weight in each
    row. All other weights are even, and hidden states are integers. So no pre-activation of a tanh
    RNN or a GRU is closer to 0 than U = 2048; closer than 746 it would not be saturated in float64
    (`arithmetic.saturation`). The largest sum is 29·U, which float16 holds.

    An LSTM's cell state is an integer, too, but its |h| = |o·tanh(c)| is 0 or in [0.76, 1]. So a
    row has one ±2 for h. If the input is the h of a layer below, the row has another ±2 for that
    and an odd bias of ±1. Without a bias the row has ±1 for that h. Both odd ± 2h and ±1 ± 2h ± 2h′
    are at least 0.52 away from 0. Half precision rounds h and the sums by up to 0.17·U together. U
    is 4096, and the largest sum is 11·U.
    """

    @property
    def unit(self) -> float:
        """The factor U."""
        return 4096.0 if self.kind == "LSTM" else 2048.0

    def _even_weights(self, columns: int, max_per_row: int) -> np.ndarray:
        """±2 in up to `max_per_row` places of each row."""
        parts = [self.one_per_row(self.gate_rows, columns) for _ in range(max_per_row)]
        is_used = [self.generator.integers(0, 2, (self.gate_rows, 1)) for _ in parts[1:]]
        weight = parts[0] + sum((p * k for p, k in zip(parts[1:], is_used, strict=True)), 0.0)
        return np.asarray(2 * np.sign(weight)) if max_per_row > 1 else 2 * weight

    def weight_ih(self, inputs: int, *, first: bool) -> np.ndarray:
        """Even, but with one odd weight in each row if the odd number comes from the input."""
        lstm = self.kind == "LSTM"
        if self.bias:
            max_per_row = 3 if not lstm else 2 if first else 1
            return self.unit * self._even_weights(inputs, max_per_row)
        odd = self.one_per_row(self.gate_rows, inputs)
        if lstm and not first:
            return self.unit * odd
        return self.unit * np.where(odd != 0, odd, self._even_weights(inputs, 1))

    def weight_hh(self) -> np.ndarray:
        """Even."""
        return self.unit * self._even_weights(self.output_size, 1 if self.kind == "LSTM" else 3)

    def weight_hr(self) -> np.ndarray:
        """One ±1 in each row: a projected h is an element of h, up to its sign."""
        return self.one_per_row(self.output_size, self.hidden_size)

    def biases(self, weight_ih: np.ndarray, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
        """Odd for the input, so that a GRU's n stays odd with r = 0; even for the state."""
        even = 2 * self.integers(1, self.gate_rows)
        odd = self.odd_integers(3, self.gate_rows)
        if self.kind == "LSTM" and not first:
            odd = self.odd_integers(1, self.gate_rows) - even
        return self.unit * odd, self.unit * even

    def x(self, *shape: int) -> np.ndarray:
        """-1, 0, 1; without a bias ±1 or ±3."""
        return self.integers(1, *shape) if self.bias else self.odd_integers(3, *shape)

    def h(self, *shape: int) -> np.ndarray:
        """Integers: as large as the sums allow, odd where an upper layer has no bias."""
        return (
            self.integers(1 if self.kind == "LSTM" else 2, *shape)
            if self.bias
            else self.odd_integers(1, *shape)
        )

    def c(self, *shape: int) -> np.ndarray:
        """Integers up to 3."""
        return self.integers(3, *shape)


class HoldFiller(OrdinaryFiller):
    """Gates that hold a state of all significant bits: LSTM i = 0, f = 1, o = 1; GRU z = 1.

    ±2048 on those gates comes from the bias or, without one, from the first column. There the first
    element of the input is 1, that of the state in [1, 2), and an LSTM's h = tanh(c) above 0.76.
    All else adds up to at most 816. A GRU's n is 0, because n + z·(h − n) would round h − n; so its
    rows are 0, for any r.
    """

    strength = 2048.0

    def _gate_offsets(self) -> np.ndarray:
        """The number to add to each row's pre-activation."""
        signs = {"LSTM": (-1.0, 1.0, 0.0, 1.0), "GRU": (0.0, 1.0, 0.0)}[self.kind]
        return np.repeat(signs, self.hidden_size) * self.strength

    def _small_values(self, *shape: int) -> np.ndarray:
        values = np.clip(self.generator.standard_normal(shape), -2, 2)
        if self.kind == "GRU" and shape[0] == self.gate_rows:
            values[2 * self.hidden_size :] = 0.0
        return round_to(values, self.dtype)

    def weight_ih(self, inputs: int, *, first: bool) -> np.ndarray:
        """Small numbers; without a bias the first column holds the gates' offsets."""
        weight = self._small_values(self.gate_rows, inputs)
        if not self.bias:
            offsets = self._gate_offsets()
            weight[:, 0] = np.where(offsets != 0, offsets, weight[:, 0])
        return weight

    def weight_hh(self) -> np.ndarray:
        """Small numbers."""
        return self._small_values(self.gate_rows, self.output_size)

    def weight_hr(self) -> np.ndarray:
        """One ±1 in each row; the first element of h stays the first."""
        weight = self.one_per_row(self.output_size, self.hidden_size)
        weight[0] = np.eye(1, self.hidden_size)
        return weight

    def biases(self, weight_ih: np.ndarray, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
        """The gates' offsets plus small numbers, and small numbers."""
        return self._small_values(self.gate_rows) + self._gate_offsets(), self._small_values(
            self.gate_rows
        )

    def x(self, *shape: int) -> np.ndarray:
        """A 1, then small numbers."""
        values = np.clip(self.generator.standard_normal(shape), -2, 2)
        values[..., 0] = 1.0
        return round_to(values, self.dtype)

    def h(self, *shape: int) -> np.ndarray:
        """Every significant bit, several exponents, up to 4."""
        values = np.clip(self.generator.standard_normal(shape), -4, 4)
        values = np.ldexp(values, -self.generator.integers(0, 6, shape))
        values[..., 0] = 1 + self.generator.random(shape[:-1]) * 0.99
        return round_to(values, self.dtype)

    c = h


FILLERS: dict[str, type[OrdinaryFiller]] = {
    "gentle": GentleFiller,
    "zero": ZeroFiller,
    "bits": BitsFiller,
    "rectified": ReluFiller,
    "saturated": SaturatedFiller,
    "hold": HoldFiller,
}


def exact_regimes(kind: str, nonlinearity: str) -> tuple[str, ...]:
    """The exact regimes of a recurrent layer, the simplest first.

    Args:
        kind: `"RNN"`, `"LSTM"` or `"GRU"`.
        nonlinearity: an RNN's; `"tanh"` for the others.
    """
    if nonlinearity == "relu":
        return ("rectified", "rectified")  # the slope at 0 is 0: zeros would have no gradient
    return ("zero", "bits", "saturated", *(() if kind == "RNN" else ("hold",)))
