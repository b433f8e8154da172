"""Flax's recurrent layers: cells of `flax.nnx`, and `nnx.RNN` around them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.flax.parts import make_layer
from conformance.backends.adapters.jax.parts import JitCall, compiled
from conformance.backends.adapters.shared import SINGLE_LAYER_OPTIONS, State, require_single_layer
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported

_INITIALIZERS = ("kernel_init", "recurrent_kernel_init")


class Recurrent(FunctionBackend):
    """The part of Flax's adapter for recurrent layers."""

    @implements("RNN", "LSTM", "GRU", passes=SINGLE_LAYER_OPTIONS)
    @compiled
    def recurrent(
        self, state: State, x: Any, *states: Any, call: JitCall, input_size: int, hidden_size: int,
        nonlinearity: str = "tanh", bias: bool = True, batch_first: bool = False, **options: Any,
    ) -> Any:  # fmt: skip
        """`nnx.RNN` of `nnx.SimpleCell`, `nnx.OptimizedLSTMCell` or `nnx.GRUCell`."""
        require_single_layer(**options)
        cell = _make_cell(call, state, "_l0", input_size, hidden_size, bias, nonlinearity)
        layer = nnx.RNN(cell, time_major=not batch_first and x.ndim == 3, return_carry=True)
        initial = tuple(s.squeeze(0) for s in states if s is not None)
        carry, y = layer(x, initial_carry=_to_carry(call, initial))
        return (y, *(s[None] for s in _from_carry(call, carry)))

    @implements("RNNCell", "LSTMCell", "GRUCell")
    @compiled
    def cell(
        self, state: State, x: Any, *states: Any, call: JitCall, input_size: int, hidden_size: int,
        bias: bool = True, nonlinearity: str = "tanh",
    ) -> Any:  # fmt: skip
        """`nnx.SimpleCell`, `nnx.LSTMCell`, `nnx.GRUCell`."""
        cell = _make_cell(call, state, "", input_size, hidden_size, bias, nonlinearity)
        initial = _to_carry(call, tuple(s for s in states if s is not None))
        if initial is None:
            initial = cell.initialize_carry(x.shape, nnx.Rngs(0))
        outputs = _from_carry(call, cell(initial, x)[0])
        return outputs if len(outputs) > 1 else outputs[0]


def _make_cell(
    call: JitCall, state: State, suffix: str, inputs: int, units: int, bias: bool, nonlinearity: str
) -> Any:
    sizes: dict[str, Any] = {
        "in_features": inputs,
        "hidden_features": units,
        "dtype": jnp.dtype(call.dtype),
    }
    # Flax's default initialiser, orthogonal, uses LAPACK, which has no half precision.
    sizes["recurrent_kernel_init"] = nnx.initializers.lecun_normal()
    kind = call.layer.removesuffix("Cell")
    w_x: Any
    w_h: Any
    w_x, w_h = (state[name + suffix].T if state else None for name in ("weight_ih", "weight_hh"))
    b = state["bias_ih" + suffix] + state["bias_hh" + suffix] if state and bias else None
    if kind == "GRU":
        if bias:
            raise Unsupported("bias=True")
        parameters = {"dense_i.kernel": w_x, "dense_h.kernel": w_h}
        return make_layer(nnx.GRUCell, call, parameters if state else {}, *_INITIALIZERS, **sizes)
    if kind == "RNN":
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity={nonlinearity!r}")
        parameters = {"dense_i.kernel": w_x, "dense_h.kernel": w_h}
        parameters |= {} if b is None else {"dense_i.bias": b}
        sizes["activation_fn"] = getattr(nnx, nonlinearity)
        return make_layer(
            nnx.SimpleCell, call, parameters if state else {}, *_INITIALIZERS, **sizes
        )
    if call.layer == "LSTM":
        parameters = {"dense_i.kernel": w_x, "dense_h.kernel": w_h}
        parameters |= {} if b is None else {"dense_h.bias": b}
        return make_layer(
            nnx.OptimizedLSTMCell, call, parameters if state else {}, *_INITIALIZERS, **sizes
        )
    parameters = {}
    if state:
        for k, gate in enumerate(("i", "f", "g", "o")):
            part = slice(k * units, (k + 1) * units)
            parameters["if_.kernel" if gate == "f" else f"i{gate}.kernel"] = w_x[:, part]
            parameters[f"h{gate}.kernel"] = w_h[:, part]
            parameters |= {} if b is None else {f"h{gate}.bias": b[part]}
    return make_layer(nnx.LSTMCell, call, parameters, *_INITIALIZERS, **sizes)


def _to_carry(call: JitCall, states: tuple[Any, ...]) -> Any:
    """Flax's carry of the states; for an LSTM the cell's state comes first."""
    if not states:
        return None
    return states[::-1] if call.layer.startswith("LSTM") else states[0]


def _from_carry(call: JitCall, carry: Any) -> tuple[Any, ...]:
    return tuple(carry[::-1]) if call.layer.startswith("LSTM") else (carry,)
