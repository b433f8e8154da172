"""Names and shapes of the parameters of recurrent layers and cells.

Sources: the sections *Attributes* of the pages torch.nn.RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell
of the PyTorch documentation.
"""

from __future__ import annotations

from typing import Any

from conformance.oracles.recurrent.cells import Shape

Shapes = dict[str, Shape]

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
"""Rows of weights and biases for each hidden unit."""


def layer_shapes(
    gates: int,
    *,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bias: bool = True,
    bidirectional: bool = False,
    proj_size: int = 0,
    **others: Any,
) -> Shapes:
    """A cell's parameters for each layer and direction, and weight_hr if proj_size is not 0."""
    directions = ("", "_reverse") if bidirectional else ("",)
    output = proj_size or hidden_size
    shapes: Shapes = {}
    for index in range(num_layers):
        inputs = input_size if index == 0 else output * len(directions)
        for direction in directions:
            suffix = f"_l{index}{direction}"
            shapes |= _gate_shapes(gates * hidden_size, inputs, output, bias, suffix)
            if proj_size:
                shapes[f"weight_hr{suffix}"] = (proj_size, hidden_size)
    return shapes


def _gate_shapes(rows: int, inputs: int, hidden: int, bias: bool, suffix: str) -> Shapes:
    shapes: Shapes = {f"weight_ih{suffix}": (rows, inputs), f"weight_hh{suffix}": (rows, hidden)}
    if bias:
        shapes |= {f"bias_ih{suffix}": (rows,), f"bias_hh{suffix}": (rows,)}
    return shapes
