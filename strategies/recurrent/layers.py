"""Cases of RNN, LSTM and GRU and of their cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.recurrent.exact import FILLERS, exact_regimes
from conformance.strategies.recurrent.weights import OrdinaryFiller, Structure
from conformance.strategies.values import SATURATING_REGIMES, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

profiles = st.sampled_from(("plain", "full", "full", "full", "wide"))
# A long sequence takes as much time as seven others: two cases in thirty-one.
layer_profiles = st.sampled_from(("plain",) * 6 + ("full",) * 17 + ("wide",) * 6 + ("long",) * 2)
widths = st.integers(1, 4)
wide_widths = st.sampled_from((8, 16, 17))
wide_cell_widths = st.sampled_from((8, 16, 17, 33))
long_widths = st.sampled_from((16, 17, 32))
full_batches = st.sampled_from((None, 1, 2, 3))
# 17 is one more than kernels take at a time.
batches = st.sampled_from((None, 1, 2, 3, 0) * 3 + (17,))
times = st.integers(1, 4)
# More than 16 steps, where kernels work in blocks; `laws` has longer ones.
long_times = st.integers(18, 28)
layer_counts = st.integers(1, 3)
dropouts = st.sampled_from((0.0, 0.0, 0.25, 0.5, 1.0))
nonlinearities = st.sampled_from(("tanh", "relu"))
yes_no = st.booleans()
# Long sequences are mostly unidirectional and not packed: there kernels work in blocks first.
rarely = st.sampled_from((False, False, False, True))
# The default comes first: shrinking prefers it.
biases = st.sampled_from((True, False))


def _regimes(kind: str, nonlinearity: str, profile: str) -> st.SearchStrategy[str]:
    """Strategy of the value regimes of a layer, the simplest first."""
    exact, ordinary = exact_regimes(kind, nonlinearity), SATURATING_REGIMES
    if profile == "long":
        return st.sampled_from((*exact, *("gentle",) * 4))
    return st.sampled_from((*ordinary[:3], *exact, *ordinary[3:]))


@composite
def recurrents(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a recurrent layer, in eval mode.

    Args:
        layer: `"RNN"`, `"LSTM"` or `"GRU"`.
    """
    profile = draw(layer_profiles)
    width = {"wide": wide_widths, "long": long_widths}.get(profile, widths)
    is_plain = profile == "plain"
    input_size, hidden_size = draw(widths), draw(width)
    # One layer if long: of several only the last one's states are outputs, which check each step.
    layers = 1 if is_plain or profile == "long" else draw(layer_counts)
    direction_choices = rarely if profile == "long" else yes_no
    bidirectional = False if is_plain else draw(direction_choices)
    batch_first = False if is_plain else draw(yes_no)
    bias = True if is_plain else draw(biases)
    # With a single layer torch warns that dropout has no effect.
    dropout = draw(dropouts) if layers > 1 else 0.0
    nonlinearity = draw(nonlinearities) if layer == "RNN" and not is_plain else "tanh"
    proj_size = 0
    if layer == "LSTM" and not is_plain and hidden_size > 1:
        proj_size = draw(st.integers(0, min(hidden_size - 1, 3)))
    long = profile == "long"
    batch, length = draw(full_batches if long else batches), draw(long_times if long else times)
    has_state = draw(yes_no)
    lengths: list[int] | None = None
    if batch and not is_plain and draw(direction_choices):
        lengths = [draw(st.integers(1, length)) for _ in range(batch)]
        lengths[draw(st.integers(0, batch - 1))] = length
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(_regimes(layer, nonlinearity, profile)), draw(seeds)
    has_state = has_state or regime == "hold"

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
    arguments |= writer.explicit_arguments(values, defaults)

    directions = 2 if bidirectional else 1
    structure = Structure(layer, input_size, hidden_size, bias, proj_size, directions)
    output = structure.output_size
    filler = FILLERS.get(regime, OrdinaryFiller)(structure, regime, dtype, seed)
    state: dict[str, np.ndarray] = {}
    for index in range(layers):
        inputs = input_size if index == 0 else output * directions
        for suffix in ("", "_reverse")[:directions]:
            state |= filler.cell(inputs, f"_l{index}{suffix}")
    if batch is None:
        shape: tuple[int, ...] = (length, input_size)
    else:
        shape = (batch, length, input_size) if batch_first else (length, batch, input_size)
    state_axes = (layers * directions,) if batch is None else (layers * directions, batch)
    h_0 = filler.h(*state_axes, output) if has_state else None
    hidden = (
        [h_0]
        if layer != "LSTM"
        else [h_0, filler.c(*state_axes, hidden_size) if has_state else None]
    )
    return Case(
        Call(layer, arguments, state, dtype, "cpu"),
        (filler.x(*shape), *hidden),
        {} if lengths is None else {"lengths": lengths},
        labels={"profile": profile, "regime": regime},
        seed=seed,
    )


@composite
def cells(draw: Draw, layer: str, dtype: str) -> Case:
    """Cases of a recurrent cell.

    Args:
        layer: `"RNNCell"`, `"LSTMCell"` or `"GRUCell"`.
    """
    profile = draw(profiles)
    width = wide_cell_widths if profile == "wide" else widths
    is_plain = profile == "plain"
    input_size, hidden_size = draw(widths), draw(width)
    bias = True if is_plain else draw(biases)
    nonlinearity = draw(nonlinearities) if layer == "RNNCell" and not is_plain else "tanh"
    batch = draw(batches)
    has_state = draw(yes_no)
    writer = ArgumentWriter(draw(masks))
    kind = layer.removesuffix("Cell")
    regime, seed = draw(_regimes(kind, nonlinearity, profile)), draw(seeds)
    has_state = has_state or regime == "hold"

    values: dict[str, Any] = {"bias": bias}
    defaults: dict[str, Any] = {"bias": True}
    if layer == "RNNCell":
        values["nonlinearity"], defaults["nonlinearity"] = nonlinearity, "tanh"
    arguments: dict[str, Any] = {"input_size": input_size, "hidden_size": hidden_size}
    arguments |= writer.explicit_arguments(values, defaults)
    structure = Structure(kind, input_size, hidden_size, bias)
    filler = FILLERS.get(regime, OrdinaryFiller)(structure, regime, dtype, seed)
    state = filler.cell(input_size)
    leading = () if batch is None else (batch,)
    h = filler.h(*leading, hidden_size) if has_state else None
    hidden = [h] if kind != "LSTM" else [h, filler.c(*leading, hidden_size) if has_state else None]
    return Case(
        Call(layer, arguments, state, dtype, "cpu"),
        (filler.x(*leading, input_size), *hidden),
        labels={"profile": profile, "regime": regime},
        seed=seed,
    )
