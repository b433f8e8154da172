"""JAX on the CPU: `jax.lax`, `jax.nn`, `jax.numpy`, gradients of `jax.vjp`.

JAX has operators and no layers. The adapter composes operators as their documentation says, and
compiles them by `jax.jit`. A bias is a sum; a padding mode is `jnp.pad` before a convolution. RNN,
LSTM and GRU, with one layer and one direction, are torch's formulas in `lax.scan`. This file has
the formulas; JAX has the loop, its gradient and the activations. There are no initial values, so a
layer without a state is Unsupported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from conformance.backends.adapters.jax.attention import Attention
from conformance.backends.adapters.jax.parts import JaxBackend, compiled
from conformance.backends.adapters.jax.windows import Windows
from conformance.backends.adapters.names import names_for_dims
from conformance.backends.adapters.shared import SINGLE_LAYER_OPTIONS, State, require_single_layer
from conformance.backends.adapters.windows import (
    PADDING_MODES,
    call_batched,
    kernel_reaches,
    per_dimension,
    same_pads,
)
from conformance.backends.function import implements
from conformance.backends.function_network import NetworkFunctions
from conformance.model.case import Unsupported


class Jax(JaxBackend, Attention, Windows):
    """JAX on the CPU."""

    name = "jax"
    less_optimized: tuple[str, ...] = (f"{__name__}:uncompiled",)
    # lax refers to the operation semantics of XLA, in which negative padding removes elements.
    # jnp.take returns NaN for an index that is too large, and counts a negative one from the end.
    # jax.nn.one_hot returns zeros for a class out of range. Whole numbers of a bias are promoted.
    accepts = (
        "negative padding", "input not below num_embeddings", "input below 0", "negative class",
        "class beyond num_classes", "mask of whole numbers",
    )  # fmt: skip

    def info(self) -> Mapping[str, str]:
        """The version of JAX."""
        return {"jax": jax.__version__}

    @implements("Linear", "functional.linear", ignores=("in_features", "out_features", "bias"))
    @compiled
    def linear(self, state: State, x: Any, *weights: Any) -> Any:
        """`jnp.matmul`, and a sum."""
        weight, bias = _weight_and_bias(state, weights)
        y = jnp.matmul(x, weight.T)
        return y if bias is None else y + bias

    @implements(
        "Bilinear", "functional.bilinear",
        ignores=("in1_features", "in2_features", "out_features", "bias"),
    )  # fmt: skip
    @compiled
    def bilinear(self, state: State, x1: Any, x2: Any, *weights: Any) -> Any:
        """`jnp.einsum`, and a sum."""
        weight, bias = _weight_and_bias(state, weights)
        y = jnp.einsum("...i,oij,...j->...o", x1, weight, x2)
        return y if bias is None else y + bias

    @implements(
        *names_for_dims("Conv{}d", "functional.conv{}d"),
        ignores=("in_channels", "out_channels", "kernel_size", "bias"),
    )  # fmt: skip
    @compiled
    def conv(
        self, state: State, x: Any, *weights: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, padding_mode: str = "zeros",
    ) -> Any:  # fmt: skip
        """`lax.conv_general_dilated` and a sum; padding other than zeros is a `jnp.pad` before."""
        weight, bias = _weight_and_bias(state, weights)
        dims = weight.ndim - 2
        strides, dilations = per_dimension(stride, dims), per_dimension(dilation, dims)
        pads = [(0, 0)] * dims
        if padding == "same":
            if set(strides) != {1}:
                raise Unsupported("padding='same' with a stride")
            pads = same_pads(kernel_reaches(dilations, weight.shape[2:]))
        elif padding != "valid":
            pads = [(p, p) for p in per_dimension(padding, dims)]

        def function(x: Any) -> Any:
            if padded := padding_mode != "zeros":
                x = jnp.pad(x, [(0, 0), (0, 0), *pads], mode=PADDING_MODES[padding_mode])
            return lax.conv_general_dilated(
                x, weight, strides, [(0, 0)] * dims if padded else pads, rhs_dilation=dilations,
                feature_group_count=groups, dimension_numbers=_dimension_numbers(dims),
            )  # fmt: skip

        return _call_with_bias(function, x, dims, bias)

    @implements(
        *names_for_dims("ConvTranspose{}d", "functional.conv_transpose{}d"),
        ignores=("in_channels", "out_channels", "kernel_size", "bias", "padding_mode"),
    )  # fmt: skip
    @compiled
    def conv_transpose(
        self, state: State, x: Any, *weights: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        """`lax.conv_transpose`, or, with groups, which it lacks, the equivalent convolution."""
        weight, bias = _weight_and_bias(state, weights)
        dims = weight.ndim - 2
        if groups < 1:
            raise Unsupported(f"groups={groups}")
        options = (stride, padding, output_padding, dilation)
        strides, paddings, extras, dilations = (per_dimension(value, dims) for value in options)

        def function(x: Any) -> Any:
            if groups == 1:
                pads = [(p, p - extra) for p, extra in zip(paddings, extras, strict=True)]
                return lax.conv_transpose(
                    x, weight, strides, pads, rhs_dilation=dilations, transpose_kernel=True,
                    dimension_numbers=_dimension_numbers(dims), use_consistent_padding=True,
                )  # fmt: skip
            pads_by_axis = zip(
                kernel_reaches(dilations, weight.shape[2:]), paddings, extras, strict=True
            )
            pads = [(reach - p, reach - p + extra) for reach, p, extra in pads_by_axis]
            inputs, outputs, *kernel = weight.shape
            by_group = weight.reshape(groups, inputs // groups, outputs, *kernel)
            swapped = by_group.swapaxes(1, 2).reshape(groups * outputs, inputs // groups, *kernel)
            return lax.conv_general_dilated(
                x, jnp.flip(swapped, range(2, dims + 2)), (1,) * dims, pads, lhs_dilation=strides,
                rhs_dilation=dilations, feature_group_count=groups,
                dimension_numbers=_dimension_numbers(dims),
            )  # fmt: skip

        return _call_with_bias(function, x, dims, bias)

    @implements("Mish", "functional.mish")
    @compiled
    def mish(self, state: State, x: Any) -> Any:
        """`jax.nn.mish`."""
        return jax.nn.mish(x)

    @implements(
        "RNN",
        "LSTM",
        "GRU",
        ignores=("input_size", "hidden_size", "bias"),
        passes=SINGLE_LAYER_OPTIONS,
    )
    @compiled
    def recurrent(
        self, state: State, x: Any, *states: Any, nonlinearity: str = "tanh",
        batch_first: bool = False, **options: Any,
    ) -> Any:  # fmt: skip
        """A cell in `lax.scan`."""
        require_single_layer(**options)
        names = [f"{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        w_x, w_h, b_x, b_h = (
            _require_state(state, n) if "w" in n else state.get(n, 0) for n in names
        )
        width, gates = w_h.shape[1], len(w_h) // w_h.shape[1]
        swaps_axes = batch_first and x.ndim == 3
        x = x.swapaxes(0, 1) if swaps_axes else x
        start = jnp.zeros((*x.shape[1:-1], width), x.dtype)
        initial = tuple(s[0] for s in states if s is not None) or (start,) * (1 + (gates == 4))
        activation = {"tanh": jnp.tanh, "relu": jax.nn.relu}[nonlinearity]

        def step(carried: Any, x: Any) -> Any:
            from_x, from_h = jnp.matmul(x, w_x.T) + b_x, jnp.matmul(carried[0], w_h.T) + b_h
            new = _CELLS[gates](from_x, from_h, carried, activation)
            return new, new[0]

        last, output = lax.scan(step, initial, x)
        return (output.swapaxes(0, 1) if swaps_axes else output, *(s[None] for s in last))


class UncompiledJax(Jax):
    """JAX, with the nodes of a network called one after another, each compiled alone."""

    name, less_optimized = "jax-uncompiled", ()
    network = NetworkFunctions.network


backend, uncompiled = Jax(), UncompiledJax()


def _rnn(x: Any, h: Any, carried: Any, activation: Callable[[Any], Any]) -> tuple[Any, ...]:
    return (activation(x + h),)


def _gru(x: Any, h: Any, carried: Any, _: Any) -> tuple[Any, ...]:
    (r_x, z_x, n_x), (r_h, z_h, n_h) = jnp.split(x, 3, -1), jnp.split(h, 3, -1)
    r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
    return ((1 - z) * jnp.tanh(n_x + r * n_h) + z * carried[0],)


def _lstm(x: Any, h: Any, carried: Any, _: Any) -> tuple[Any, ...]:
    i, f, g, o = jnp.split(x + h, 4, -1)
    c = jax.nn.sigmoid(f) * carried[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


_CELLS = {1: _rnn, 3: _gru, 4: _lstm}


def _require_state(state: State, name: str) -> Any:
    if name not in state:
        raise Unsupported("initial values")
    return state[name]


def _weight_and_bias(state: State, inputs: Sequence[Any]) -> Sequence[Any]:
    """Weight and bias, from a function's inputs or from a layer's state."""
    return (*inputs, None)[:2] if inputs else (_require_state(state, "weight"), state.get("bias"))


def _dimension_numbers(dims: int) -> Any:
    return tuple(prefix + "HWD"[:dims] for prefix in ("NC", "OI", "NC"))


def _add_bias(y: Any, bias: Any) -> Any:
    """Add a bias of shape (out_channels,); refuse other shapes, which would be broadcast."""
    if bias.shape != y.shape[1:2]:
        raise ValueError(f"bias of shape {bias.shape}: expected {y.shape[1:2]}")
    return y + bias.reshape(-1, *(1,) * (y.ndim - 2))


def _call_with_bias(function: Callable[[Any], Any], x: Any, dims: int, bias: Any) -> Any:
    """Call a function that needs a batch, and add a bias to its result."""

    def call_and_add(x: Any) -> Any:
        y = function(x)
        return y if bias is None else _add_bias(y, bias)

    return call_batched(call_and_add, x, dims)
