"""Fill the arrays of a recurrent layer: weights, inputs and states for a given structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from conformance.strategies.values import Filler

from conformance.model.formats import round_to


@dataclass(frozen=True)
class Structure:
    """A recurrent layer or cell without its numbers.

    Args:
        kind: `"RNN"`, `"LSTM"` or `"GRU"`.
        proj_size: width of h if it is not hidden_size; otherwise 0.
        directions: 2 if bidirectional, else 1.
    """

    kind: str
    input_size: int
    hidden_size: int
    bias: bool
    proj_size: int = 0
    directions: int = 1

    @property
    def output_size(self) -> int:
        """Width of h."""
        return self.proj_size or self.hidden_size


class OrdinaryFiller:
    """Fills every array by one `Filler`, in the regimes that all layers have.

    Subclasses fill them with numbers that make outputs or gradients exact.
    """

    def __init__(self, structure: Structure, regime: str, dtype: str, seed: int) -> None:
        self.kind, self.dtype, self.bias = structure.kind, dtype, structure.bias
        self.input_size, self.hidden_size = structure.input_size, structure.hidden_size
        self.output_size = structure.output_size
        self.gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[self.kind]
        self.gate_rows = self.gates * self.hidden_size
        # The longest sum has the input, the states of each direction, and two biases.
        terms = self.input_size + self.hidden_size * structure.directions + 2
        self.filler = Filler(regime, dtype, seed, terms)
        self.generator = np.random.default_rng((seed, 0x73686172))

    def cell(self, inputs: int, suffix: str = "") -> dict[str, np.ndarray]:
        """Fill the weights of one cell, with their state_dict names, in torch's order.

        Args:
            inputs: width of its input.
            suffix: end of the names, such as `_l0_reverse`.
        """
        first = suffix in ("", "_l0", "_l0_reverse")
        state = {"weight_ih": self.weight_ih(inputs, first=first), "weight_hh": self.weight_hh()}
        if self.bias:
            state["bias_ih"], state["bias_hh"] = self.biases(state["weight_ih"], first=first)
        if self.output_size != self.hidden_size:
            state["weight_hr"] = self.weight_hr()
        return {name + suffix: round_to(array, self.dtype) for name, array in state.items()}

    def weight_ih(self, inputs: int, *, first: bool) -> np.ndarray:
        """W_ih."""
        return self.filler.operand(self.gate_rows, inputs)

    def weight_hh(self) -> np.ndarray:
        """W_hh."""
        return self.filler.operand(self.gate_rows, self.output_size)

    def weight_hr(self) -> np.ndarray:
        """The projection W_hr."""
        return self.filler.operand(self.output_size, self.hidden_size)

    def biases(self, weight_ih: np.ndarray, *, first: bool) -> tuple[np.ndarray, np.ndarray]:
        """b_ih and b_hh."""
        return self.filler.operand(self.gate_rows), self.filler.operand(self.gate_rows)

    def x(self, *shape: int) -> np.ndarray:
        """The input."""
        return self.filler.operand(*shape)

    def h(self, *shape: int) -> np.ndarray:
        """An initial hidden state."""
        return self.filler.operand(*shape)

    def c(self, *shape: int) -> np.ndarray:
        """An initial cell state."""
        return self.filler.operand(*shape)

    def integers(self, limit: int, *shape: int) -> np.ndarray:
        """Draw integers from -most to most."""
        return self.generator.integers(-limit, limit, shape, endpoint=True).astype(np.float64)

    def odd_integers(self, limit: int, *shape: int) -> np.ndarray:
        """Draw odd numbers from -most to most."""
        return 2 * self.generator.integers(-(limit + 1) // 2, (limit + 1) // 2, shape) + 1.0

    def one_per_row(self, rows: int, columns: int) -> np.ndarray:
        """One ±1 in each row, spread evenly over the columns, so that gradients stay small."""
        chosen_columns = np.resize(self.generator.permutation(columns), rows)
        weight = np.zeros((rows, columns))
        weight[np.arange(rows), self.generator.permutation(chosen_columns)] = self.odd_integers(
            1, rows
        )
        return weight


class GentleFiller(OrdinaryFiller):
    """Normal values, with weights divided by the square root of the width, as torch's are.

    Gates stay in the middle of their range and long sequences do not become chaotic, so that every
    bit of a state affects the next state.
    """

    def weight_ih(self, inputs: int, *, first: bool) -> np.ndarray:
        """W_ih / √width."""
        return np.asarray(super().weight_ih(inputs, first=first) / np.sqrt(inputs))

    def weight_hh(self) -> np.ndarray:
        """W_hh / √width."""
        return np.asarray(super().weight_hh() / np.sqrt(self.output_size))

    def weight_hr(self) -> np.ndarray:
        """W_hr / √width."""
        return np.asarray(super().weight_hr() / np.sqrt(self.hidden_size))
