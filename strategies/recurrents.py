"""Cases of RNN, LSTM and GRU and of their cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.case import Call, Case

from .arguments import Written, masks
from .values import Filler, saturating_regimes, seeds
from .windows import Draw

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
profiles = st.sampled_from(("plain", "full", "full", "full", "wide"))
widths = st.integers(1, 4)
wide_widths = st.sampled_from((8, 16, 17))
batches = st.sampled_from((None, 1, 2, 3))
cell_batches = st.sampled_from((None, 1, 2, 3, 0))
times = st.integers(1, 4)
layer_counts = st.integers(1, 3)
dropouts = st.sampled_from((0.0, 0.0, 0.25, 0.5, 1.0))
nonlinearities = st.sampled_from(("tanh", "relu"))
yes_no = st.booleans()
# The default first: left out is plainest.
biases = st.sampled_from((True, False))


def _cell_state(
    filler: Filler, gates: int, inputs: int, hidden: int, recurrent: int, *, bias: bool, suffix: str
) -> dict[str, np.ndarray]:
    """The weights of one cell under their state_dict names, in torch's order."""
    state = {
        f"weight_ih{suffix}": filler.operand(gates * hidden, inputs),
        f"weight_hh{suffix}": filler.operand(gates * hidden, recurrent),
    }
    if bias:
        state[f"bias_ih{suffix}"] = filler.operand(gates * hidden)
        state[f"bias_hh{suffix}"] = filler.operand(gates * hidden)
    if recurrent != hidden:
        state[f"weight_hr{suffix}"] = filler.operand(recurrent, hidden)
    return state


@st.composite
def recurrents(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a recurrent layer, in eval mode.

    Args:
        layer: `"RNN"`, `"LSTM"` or `"GRU"`.
        dtype: torch's name of the dtype.
    """
    profile = draw(profiles)
    width = wide_widths if profile == "wide" else widths
    plain = profile == "plain"
    input_size, hidden_size = draw(widths), draw(width)
    layers = 1 if plain else draw(layer_counts)
    bidirectional = False if plain else draw(yes_no)
    batch_first = False if plain else draw(yes_no)
    bias = True if plain else draw(biases)
    # torch warns that dropout does nothing on a single layer, as it should.
    dropout = draw(dropouts) if layers > 1 else 0.0
    nonlinearity = draw(nonlinearities) if layer == "RNN" and not plain else "tanh"
    proj_size = 0
    if layer == "LSTM" and not plain and hidden_size > 1:
        proj_size = draw(st.integers(0, min(hidden_size - 1, 3)))
    batch, length = draw(batches), draw(times)
    given = draw(yes_no)
    lengths: list[int] | None = None
    if batch is not None and not plain and draw(yes_no):
        lengths = [draw(st.integers(1, length)) for _ in range(batch)]
        lengths[draw(st.integers(0, batch - 1))] = length
    written = Written(draw(masks))
    regime, seed = draw(saturating_regimes), draw(seeds)

    values: dict[str, Any] = {
        "num_layers": layers,
        "bias": bias,
        "batch_first": batch_first,
        "dropout": dropout,
        "bidirectional": bidirectional,
    }
    defaults: dict[str, Any] = {
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
    }
    if layer == "RNN":
        values["nonlinearity"], defaults["nonlinearity"] = nonlinearity, "tanh"
    if layer == "LSTM":
        values["proj_size"], defaults["proj_size"] = proj_size, 0
    arguments: dict[str, Any] = {"input_size": input_size, "hidden_size": hidden_size}
    arguments |= written.optional(values, defaults)

    directions = 2 if bidirectional else 1
    output = proj_size or hidden_size
    filler = Filler(regime, dtype, seed, input_size + hidden_size * directions + 2)
    state: dict[str, np.ndarray] = {}
    for index in range(layers):
        inputs = input_size if index == 0 else output * directions
        for suffix in ("", "_reverse")[:directions]:
            state |= _cell_state(
                filler, GATES[layer], inputs, hidden_size, output,
                bias=bias, suffix=f"_l{index}{suffix}",
            )  # fmt: skip
    if batch is None:
        shape: tuple[int, ...] = (length, input_size)
    else:
        shape = (batch, length, input_size) if batch_first else (length, batch, input_size)
    sizes = (output, hidden_size) if layer == "LSTM" else (output,)
    middle = () if batch is None else (batch,)
    hidden = [
        filler.operand(layers * directions, *middle, size) if given else None for size in sizes
    ]
    return Case(
        Call(layer, arguments, state, dtype, "cpu"),
        (filler.operand(*shape), *hidden),
        {} if lengths is None else {"lengths": lengths},
        labels={"profile": profile, "regime": regime},
        seed=seed,
    )


@st.composite
def cells(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a recurrent cell.

    Args:
        layer: `"RNNCell"`, `"LSTMCell"` or `"GRUCell"`.
        dtype: torch's name of the dtype.
    """
    profile = draw(profiles)
    width = wide_widths if profile == "wide" else widths
    plain = profile == "plain"
    input_size, hidden_size = draw(widths), draw(width)
    bias = True if plain else draw(biases)
    nonlinearity = draw(nonlinearities) if layer == "RNNCell" and not plain else "tanh"
    batch = draw(cell_batches)
    given = draw(yes_no)
    written = Written(draw(masks))
    regime, seed = draw(saturating_regimes), draw(seeds)

    values: dict[str, Any] = {"bias": bias}
    defaults: dict[str, Any] = {"bias": True}
    if layer == "RNNCell":
        values["nonlinearity"], defaults["nonlinearity"] = nonlinearity, "tanh"
    arguments: dict[str, Any] = {"input_size": input_size, "hidden_size": hidden_size}
    arguments |= written.optional(values, defaults)
    gates = GATES[layer.removesuffix("Cell")]
    filler = Filler(regime, dtype, seed, input_size + hidden_size + 2)
    state = _cell_state(filler, gates, input_size, hidden_size, hidden_size, bias=bias, suffix="")
    leading = () if batch is None else (batch,)
    hidden = [
        filler.operand(*leading, hidden_size) if given else None
        for _ in range(2 if layer == "LSTMCell" else 1)
    ]
    return Case(
        Call(layer, arguments, state, dtype, "cpu"),
        (filler.operand(*leading, input_size), *hidden),
        labels={"profile": profile, "regime": regime},
        seed=seed,
    )
