"""Flax's recurrent layers: cells of `flax.nnx`, and `nnx.RNN` around them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.flax.parts import made
from conformance.backends.adapters.jax.parts import Asked, compiled
from conformance.backends.adapters.shared import ONE_LAYER, State, one_layer
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported

_STARTS = ("kernel_init", "recurrent_kernel_init")


class Recurrent(FunctionBackend):
    """The part of Flax's adapter for recurrent layers."""

    @implements("RNN", "LSTM", "GRU", passes=ONE_LAYER)
    @compiled
    def recurrent(
        self, state: State, x: Any, *states: Any, call: Asked, input_size: int, hidden_size: int,
        nonlinearity: str = "tanh", bias: bool = True, batch_first: bool = False, **beyond: Any,
    ) -> Any:  # fmt: skip
        """`nnx.RNN` of `nnx.SimpleCell`, `nnx.OptimizedLSTMCell` or `nnx.GRUCell`."""
        one_layer(**beyond)
        cell = _cell(call, state, "_l0", input_size, hidden_size, bias, nonlinearity)
        layer = nnx.RNN(cell, time_major=not batch_first and x.ndim == 3, return_carry=True)
        first = tuple(s.squeeze(0) for s in states if s is not None)
        carry, y = layer(x, initial_carry=_carry(call, first))
        return (y, *(s[None] for s in _states(call, carry)))

    @implements("RNNCell", "LSTMCell", "GRUCell")
    @compiled
    def cell(
        self, state: State, x: Any, *states: Any, call: Asked, input_size: int, hidden_size: int,
        bias: bool = True, nonlinearity: str = "tanh",
    ) -> Any:  # fmt: skip
        """`nnx.SimpleCell`, `nnx.LSTMCell`, `nnx.GRUCell`."""
        cell = _cell(call, state, "", input_size, hidden_size, bias, nonlinearity)
        first = _carry(call, tuple(s for s in states if s is not None))
        if first is None:
            first = cell.initialize_carry(x.shape, nnx.Rngs(0))
        found = _states(call, cell(first, x)[0])
        return found if len(found) > 1 else found[0]


def _cell(
    call: Asked, state: State, end: str, inputs: int, units: int, bias: bool, nonlinearity: str
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
    w_x, w_h = (state[name + end].T if state else None for name in ("weight_ih", "weight_hh"))
    b = state["bias_ih" + end] + state["bias_hh" + end] if state and bias else None
    if kind == "GRU":
        if bias:
            raise Unsupported("bias=True")
        given = {"dense_i.kernel": w_x, "dense_h.kernel": w_h}
        return made(nnx.GRUCell, call, given if state else {}, *_STARTS, **sizes)
    if kind == "RNN":
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity={nonlinearity!r}")
        given = {"dense_i.kernel": w_x, "dense_h.kernel": w_h}
        given |= {} if b is None else {"dense_i.bias": b}
        sizes["activation_fn"] = getattr(nnx, nonlinearity)
        return made(nnx.SimpleCell, call, given if state else {}, *_STARTS, **sizes)
    if call.layer == "LSTM":
        given = {"dense_i.kernel": w_x, "dense_h.kernel": w_h}
        given |= {} if b is None else {"dense_h.bias": b}
        return made(nnx.OptimizedLSTMCell, call, given if state else {}, *_STARTS, **sizes)
    given = {}
    if state:
        for k, gate in enumerate(("i", "f", "g", "o")):
            part = slice(k * units, (k + 1) * units)
            given["if_.kernel" if gate == "f" else f"i{gate}.kernel"] = w_x[:, part]
            given[f"h{gate}.kernel"] = w_h[:, part]
            given |= {} if b is None else {f"h{gate}.bias": b[part]}
    return made(nnx.LSTMCell, call, given, *_STARTS, **sizes)


def _carry(call: Asked, states: tuple[Any, ...]) -> Any:
    """Flax's carry of the states; for an LSTM the cell's state comes first."""
    if not states:
        return None
    return states[::-1] if call.layer.startswith("LSTM") else states[0]


def _states(call: Asked, carry: Any) -> tuple[Any, ...]:
    return tuple(carry[::-1]) if call.layer.startswith("LSTM") else (carry,)
