"""Keras 3 on its torch backend: the layers of `keras.layers`, called with an explicit state.

Keras expects channels last and a batch, so the adapter moves axes and adds a batch. Convolutions
pad only 'valid' or 'same', and recurrent layers have one layer and one direction here; all else is
Unsupported. Keras infers the input's size if `build` does not get it; that serves the lazy layers.
SimpleRNN and LSTM have one bias where torch has two, so it gets their sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from conformance.backends.adapters.keras.activations import Activations
from conformance.backends.adapters.keras.attention import Attention
from conformance.backends.adapters.keras.losses import Losses
from conformance.backends.adapters.keras.normalization import Normalization
from conformance.backends.adapters.keras.parts import argument_pairs, build_layer, keras
from conformance.backends.adapters.keras.windows import Windows
from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State
from conformance.backends.adapters.windows import call_batched, call_channels_last
from conformance.backends.function import implements
from conformance.backends.module import pin_precision
from conformance.backends.torch_layouts import apply_layout
from conformance.model.case import Call, Numerics, Unsupported

_RECURRENT = {"RNN": "SimpleRNN", "LSTM": "LSTM", "GRU": "GRU"}


class Keras(Activations, Attention, Losses, Normalization, Windows):
    """Keras 3 on torch."""

    name, base = "keras", "torch"
    # keras.layers.Conv1D documents that 'same' keeps the size where strides is 1, that the word is
    # case-insensitive, and that it may be 'causal'. keras.losses.SparseCategoricalCrossentropy
    # documents classes as floating point numbers.
    accepts = ("'same' with a stride", "unknown padding string", "indices of another dtype")

    def __init__(self) -> None:
        super().__init__()
        if keras.backend.backend() != "torch":
            raise RuntimeError(f"KERAS_BACKEND={keras.backend.backend()!r}: expected 'torch'")
        pin_precision()

    def info(self) -> Mapping[str, str]:
        """The versions of Keras and torch."""
        return {"keras": keras.__version__, "keras backend": "torch", "torch": torch.__version__}

    def numerics(self, dtype: str) -> Numerics:
        """Declare that a product is stored before its bias is added, and that bfloat16 flushes."""
        half = dtype in ("bfloat16", "float16")
        return Numerics(
            accumulation=dtype if half else None,
            flush_to_zero=dtype == "bfloat16",
            grade="one rounding",
        )

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Decline complex dtypes, which Keras's layers do not have."""
        return super().offers(layer, dtype, device) and not dtype.startswith("complex")

    def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
        """Convert a host array to a torch tensor."""
        tensor = torch.tensor(array, dtype=getattr(torch, dtype), device=device)
        return tensor if layout == "contiguous" else apply_layout(tensor, array, layout)

    def get(self, native: Any) -> np.ndarray:
        """Convert a torch tensor to a host array."""
        tensor = native.detach()
        return np.array(tensor.to(torch.float64 if tensor.is_floating_point() else torch.int64))

    def dtype(self, native: Any) -> str:
        """torch's name of the tensor's dtype."""
        return str(native.dtype).removeprefix("torch.")

    def vjp(
        self, fn: Callable[..., Any], primals: Sequence[Any], cotangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Gradients by torch's autograd through Keras's layers."""
        leaves = [primal.detach().requires_grad_() for primal in primals]
        pairs = zip(fn(*leaves), cotangents, strict=True)
        # A dropout's constant zeros, for example, require no gradient.
        differentiable = [(y, c) for y, c in pairs if y.requires_grad]
        if not differentiable:
            return [torch.zeros_like(leaf) for leaf in leaves]
        outputs, given_cotangents = zip(*differentiable, strict=True)
        return torch.autograd.grad(
            outputs, leaves, given_cotangents, allow_unused=True, materialize_grads=True
        )

    @implements("Identity", ignores=("everything",))
    def identity(self, state: State, x: Any) -> Any:
        """`Identity`, in the input's dtype."""
        return keras.layers.Identity(dtype=self.dtype(x))(x)

    @implements("Linear", "LazyLinear", passes=("in_features",))
    def linear(
        self, state: State, x: Any, *, call: Call, out_features: int, bias: bool = True, **_: int
    ) -> Any:
        """`Dense`, which needs a batch."""
        weights = [state["weight"].T, *_bias_weights(state)] if state else []
        batch = x[None] if x.ndim == 1 else x
        y = _call_layer("Dense", call, weights, batch, units=out_features, use_bias=bias)
        return y[0] if x.ndim == 1 else y

    @implements(*names_for_dims("Conv{}d", "LazyConv{}d"), passes=("in_channels",))
    def conv(
        self, state: State, x: Any, *, call: Call, out_channels: int, kernel_size: Any,
        stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
        **_: int,
    ) -> Any:  # fmt: skip
        """`Conv1D` and so on, whose kernel is (…, in, out)."""
        window = _window(call, padding, stride, dilation)
        window |= {"filters": out_channels, "kernel_size": kernel_size, "groups": groups}
        weights = (
            [state["weight"].movedim((1, 0), (-2, -1)), *_bias_weights(state)] if state else []
        )
        name = call.layer.removeprefix("Lazy").replace("d", "D")
        return _call_spatial(
            call, x, lambda x: _call_layer(name, call, weights, x, use_bias=bias, **window)
        )

    @implements(
        *names_for_dims("ConvTranspose{}d", "LazyConvTranspose{}d"), passes=("in_channels",)
    )
    def conv_transpose(
        self, state: State, x: Any, *, call: Call, out_channels: int, kernel_size: Any,
        stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
        bias: bool = True, dilation: Any = 1, **_: int,
    ) -> Any:  # fmt: skip
        """`Conv1DTranspose` and so on, whose kernel is (…, out, in)."""
        if groups != 1:
            raise Unsupported("groups>1")
        if isinstance(padding, str):
            raise Unsupported(f"padding={padding!r}")
        window = _window(call, padding, stride, dilation)
        # Without output_padding Keras makes the output `stride` times as long as the input.
        window |= {"filters": out_channels, "kernel_size": kernel_size}
        window["output_padding"] = output_padding
        if np.any(np.asarray(output_padding) >= np.asarray(stride)):
            raise Unsupported("output_padding>=stride")
        weights = (
            [state["weight"].movedim((0, 1), (-1, -2)), *_bias_weights(state)] if state else []
        )
        name = f"Conv{call.layer[-2]}DTranspose"
        return _call_spatial(
            call, x, lambda x: _call_layer(name, call, weights, x, use_bias=bias, **window)
        )

    @implements("RNN", "LSTM", "GRU", passes=("input_size",))
    def recurrent(
        self, state: State, x: Any, *states: Any, call: Call, hidden_size: int, num_layers: int = 1,
        nonlinearity: str = "tanh", bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, **_: int,
    ) -> Any:  # fmt: skip
        """`SimpleRNN`, `LSTM` and `GRU`, batch first, returning the sequence and the states."""
        if num_layers != 1:
            raise Unsupported(f"num_layers={num_layers}")
        if "proj_size" in call.arguments and (proj_size or call.layer != "LSTM"):
            raise Unsupported("proj_size")
        if dropout or bidirectional:
            raise Unsupported("dropout" if dropout else "bidirectional=True")
        if nonlinearity not in ("tanh", "relu"):
            raise Unsupported(f"nonlinearity={nonlinearity!r}")  # Keras accepts more than torch
        arguments: dict[str, Any] = {"units": hidden_size, "use_bias": bias}
        arguments |= {"activation": nonlinearity} if call.layer == "RNN" else {}
        arguments |= {"return_sequences": True, "return_state": True}
        # torch's initialiser. Keras's own, orthogonal, uses LAPACK, which has no half precision.
        arguments["recurrent_initializer"] = "random_uniform"
        is_unbatched, swaps_axes = x.ndim == 2, x.ndim == 3 and not batch_first
        x = x[None] if is_unbatched else x.swapaxes(0, 1) if swaps_axes else x
        initial = [s if is_unbatched else s.squeeze(0) for s in states if s is not None]
        y, *last = _call_layer(
            _RECURRENT[call.layer], call, _gates(call.layer, state), x, initial, **arguments
        )
        y = y[0] if is_unbatched else y.swapaxes(0, 1) if swaps_axes else y
        return (y, *(s if is_unbatched else s[None] for s in last))


backend = Keras()


def _call_layer(
    name: str, call: Call, weights: list[Any], x: Any, states: Sequence[Any] = (), **arguments: Any
) -> Any:
    """Call a layer with the given weights, or with its own initial ones."""
    sizes = [call.arguments.get(n) for n in ("in_features", "in_channels", "input_size")]
    size = next((n for n in sizes if n is not None), None)
    if size is None and not weights:
        return getattr(keras.layers, name)(dtype=call.dtype, **arguments)(
            x
        )  # its first call builds it
    shape = (*(None,) * (x.ndim - 1), x.shape[-1] if size is None else size)
    layer = build_layer(name, call.dtype, shape, argument_pairs(arguments))
    keywords = {"initial_state": list(states)} if states else {}
    if not weights:
        return layer(x, **keywords)
    return layer.stateless_call(weights, layer.non_trainable_variables, x, **keywords)[0]


def _bias_weights(state: State) -> list[Any]:
    return [state["bias"]] if "bias" in state else []


def _gates(layer: str, state: State) -> list[Any]:
    """Keras's kernels, which are transposed, and bias; a GRU's update gate comes first there."""
    if not state:
        return []
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    arrays: list[Any] = [state.get(f"{kind}_l0") for kind in kinds]
    if layer == "GRU":
        for k, array in enumerate(arrays):
            if array is not None:
                r, z, n = array.chunk(3)
                arrays[k] = torch.cat([z, r, n])
    w_ih, w_hh, b_ih, b_hh = arrays
    if b_ih is None:
        return [w_ih.T, w_hh.T]
    return [w_ih.T, w_hh.T, torch.stack([b_ih, b_hh]) if layer == "GRU" else b_ih + b_hh]


def _window(call: Call, padding: Any, stride: Any, dilation: Any) -> dict[str, Any]:
    """Keras's arguments for padding, stride and dilation."""
    is_numeric = not isinstance(padding, str)
    if is_numeric and padding not in (0, (0,) * spatial_dims(call.layer)):
        raise Unsupported("padding by numbers")
    if np.max(stride) > 1 and np.max(dilation) > 1:
        raise Unsupported("stride>1 with dilation>1")
    mode = {"padding": "valid" if is_numeric else padding}
    return {"strides": stride, "dilation_rate": dilation, **mode}


def _call_spatial(call: Call, x: Any, function: Callable[[Any], Any]) -> Any:
    """Call a function of (N, …, C) on (N, C, …) or (C, …); Keras itself refuses other ranks."""
    dims = spatial_dims(call.layer)
    if x.ndim not in (dims + 1, dims + 2):
        return function(x)
    return call_batched(lambda x: call_channels_last(function, x, torch.movedim), x, dims)
