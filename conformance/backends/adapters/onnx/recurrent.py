"""Recurrent layers in ONNX: RNN, LSTM and GRU.

One operator runs one layer with all its directions. Other operators compose batch_first
(Transpose), states of stacked layers (Split, Concat), dropout between layers in training (Dropout),
unbatched input (Unsqueeze, Squeeze) and cells (one step of the layer). Gates are reordered to
ONNX's iofc and zrh, and both biases become one vector. Packed sequences use sequence_lens. ONNX has
no proj_size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import Graph, Value
from conformance.model.case import Unsupported

State = Mapping[str, np.ndarray]
# Positions of ONNX's gates among torch's: iofc in ifgo, zrh in rzn.
GATES = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
STATES = {"RNN": 1, "LSTM": 2, "GRU": 1}
ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu"}


def recurrent(
    graph: Graph, input: Value, h_0: Value | None = None, c_0: Value | None = None, *, kind: str,
    state: State, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
    batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
    nonlinearity: str = "tanh", proj_size: int | None = None,
    lengths: Sequence[int] | None = None,
) -> list[str]:  # fmt: skip
    """RNN, LSTM or GRU; returns output, h_n and, for an LSTM, c_n."""
    if proj_size or (proj_size is not None and kind != "LSTM"):
        raise Unsupported(f"proj_size={proj_size}")
    if num_layers < 1:
        raise Unsupported(f"num_layers={num_layers}")
    # ONNX's Dropout needs a ratio below 1.
    if not 0 <= dropout <= 1 or (graph.training and dropout == 1 and num_layers > 1):
        raise Unsupported(f"dropout={dropout}")
    if 0 in input.shape[int(batch_first and input.rank == 3) :][:1]:
        raise Unsupported("sequence of no steps, of which ONNX says nothing")
    unbatched, suffixes = input.rank == 2, ("", "_reverse") if bidirectional else ("",)
    x = input.name
    if unbatched:
        x = graph.add("Unsqueeze", x, graph.integers(1))
    elif batch_first and input.rank == 3:
        x = graph.add("Transpose", x, perm=[1, 0, 2])
    initial = [
        _split_layers(graph, state_value, num_layers, unbatched)
        for state_value in _initial_states(kind, h_0, c_0)
    ]
    steps = None if lengths is None else graph.constant(np.array(lengths, dtype=np.int32))
    final_states: list[list[str]] = []
    for layer in range(num_layers):
        if layer and graph.training and dropout:
            ratio, active = graph.constant(np.array(dropout, np.float32)), np.array(True)
            x = graph.add("Dropout", x, ratio, graph.constant(active))
        weights = _weights(graph, kind, state, [f"_l{layer}{end}" for end in suffixes])
        attributes = _operator_attributes(kind, nonlinearity, len(suffixes))
        y, *final = graph.add_several(
            kind, 1 + STATES[kind], x, *weights, steps,
            *(state_value[layer] for state_value in initial),
            hidden_size=hidden_size, **attributes,
        )  # fmt: skip
        y = graph.add("Transpose", y, perm=[0, 2, 1, 3])
        x = graph.add("Reshape", y, graph.integers(0, 0, len(suffixes) * hidden_size))
        final_states.append(final)
    if batch_first and not unbatched:
        x = graph.add("Transpose", x, perm=[1, 0, 2])
    outputs = [
        x,
        *(graph.add("Concat", *states, axis=0) for states in zip(*final_states, strict=True)),
    ]
    if unbatched:
        outputs = [graph.add("Squeeze", y, graph.integers(1)) for y in outputs]
    return outputs


def cell(
    graph: Graph, input: Value, hx: Value | None = None, cx: Value | None = None, *, kind: str,
    state: State, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
) -> list[str]:  # fmt: skip
    """RNNCell, LSTMCell or GRUCell, as a sequence of one step."""
    axes = (0, 1) if input.rank == 1 else (0,)
    x, *initial = (
        None
        if tensor_value is None
        else graph.add("Unsqueeze", tensor_value.name, graph.integers(*axes))
        for tensor_value in (input, *_initial_states(kind, hx, cx))
    )
    weights = _weights(graph, kind, state, [""])
    attributes = _operator_attributes(kind, nonlinearity, 1)
    _, *final = graph.add_several(
        kind, 1 + STATES[kind], x, *weights, None, *initial, hidden_size=hidden_size, **attributes
    )
    return [graph.add("Squeeze", tensor_value, graph.integers(*axes)) for tensor_value in final]


def _initial_states(kind: str, h: Value | None, c: Value | None) -> list[Value | None]:
    """The initial states that this kind of layer has."""
    if kind == "LSTM" and (h is None) != (c is None):
        raise Unsupported("one initial state of two, which ONNX does not refuse")
    return [h, c][: STATES[kind]]


def _split_layers(
    graph: Graph, initial: Value | None, layers: int, unbatched: bool
) -> Sequence[str | None]:
    """Split an initial state (layers·directions, batch, size) into one for each layer."""
    if initial is None:
        return [None] * layers
    name = graph.add("Unsqueeze", initial.name, graph.integers(1)) if unbatched else initial.name
    if layers == 1:
        return [name]
    return graph.add_several("Split", layers, name, axis=0, num_outputs=layers)


def _operator_attributes(kind: str, nonlinearity: str, directions: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {"direction": "bidirectional" if directions == 2 else "forward"}
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if kind == "RNN":
        if nonlinearity not in ACTIVATIONS:
            raise Unsupported(f"nonlinearity={nonlinearity!r}")
        attributes["activations"] = [ACTIVATIONS[nonlinearity]] * directions
    return attributes


def _weights(graph: Graph, kind: str, state: State, suffixes: Sequence[str]) -> list[str | None]:
    """ONNX's inputs W, R and B; B is None without a bias."""

    def gates(name: str) -> np.ndarray:
        parts = np.split(state[name], len(GATES[kind]))
        return np.concatenate([parts[place] for place in GATES[kind]])

    w, r = (
        graph.weight(np.stack([gates(f"{name}{end}") for end in suffixes])).name
        for name in ("weight_ih", "weight_hh")
    )
    if f"bias_ih{suffixes[0]}" not in state:
        return [w, r, None]
    biases = [np.concatenate([gates(f"bias_ih{end}"), gates(f"bias_hh{end}")]) for end in suffixes]
    return [w, r, graph.weight(np.stack(biases)).name]
