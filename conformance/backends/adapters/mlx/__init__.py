"""MLX: the layers of `mlx.nn` and the convolutions of `mlx.core`, on the CPU.

MLX expects channels last and a batch, so the adapter moves axes and adds a batch. Its recurrent
layers have one layer and one direction; all else is Unsupported. Where torch adds two biases, MLX
has one, which gets their sum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from conformance.backends.adapters.mlx.activations import Activations
from conformance.backends.adapters.mlx.attention import Attention
from conformance.backends.adapters.mlx.layouts import apply_layout
from conformance.backends.adapters.mlx.losses import Losses
from conformance.backends.adapters.mlx.normalization import Normalization
from conformance.backends.adapters.mlx.parts import DTYPES, load_state
from conformance.backends.adapters.mlx.transformer import Transformers
from conformance.backends.adapters.mlx.windows import Windows
from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State
from conformance.backends.adapters.windows import (
    call_batched,
    call_channels_last,
    kernel_reaches,
    same_pads,
)
from conformance.backends.function import implements
from conformance.backends.function_network import NetworkFunctions, array_operators
from conformance.model.case import Call, Numerics, Unsupported

_MISSING = re.compile(r"[Nn]ot (yet )?implemented|during function transformations")
"""What MLX says of operators that it cannot transform, and of numbers that a transform lacks."""
_SIZES = ("kernel_size", "stride", "padding", "dilation", "output_padding")


class Mlx(
    Activations, Attention, Losses, Normalization, Transformers, Windows, NetworkFunctions
):  # fmt: skip
    """MLX on the CPU."""

    name = "mlx"
    less_optimized: tuple[str, ...] = (f"{__name__}:uncompiled",)
    script_printer = "conformance.diagnosis.script_mlx:MlxPrinter"
    operators = array_operators(mx, erf=mx.erf, sigmoid=mx.sigmoid, rsqrt=mx.rsqrt)
    # MLX compiles its activations, and each case of a known crash runs in a fork of the process.
    budget = "1800"

    def __init__(self) -> None:
        super().__init__()
        mx.set_default_device(mx.cpu)

    def info(self) -> Mapping[str, str]:
        """The version of MLX, and its default device."""
        return {"mlx": version("mlx"), "mlx device": str(mx.default_device())}

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Offer the functions below, in the dtypes that MLX has."""
        return super().offers(layer, dtype, device) and dtype in DTYPES

    def numerics(self, dtype: str) -> Numerics:
        """Declare that half precision stores every step, and that the error of eˣ grows with |x|.

        MLX computes eˣ as 2 to the power of x·log₂e, and rounds both the factor and the product.
        That is an error of |x|·2⁻²³ for |x| < 88, or 88 ULP. The power itself adds one ULP; the sum
        and quotient of the logistic function add ½ each. Measured: eˣ within 60.5 ULP, the logistic
        function within 63.4, both at most 2 for |x| < 1.
        """
        if dtype in ("bfloat16", "float16"):
            return Numerics(accumulation=dtype, stepwise=True)
        return Numerics(ulp={"exp": 90.0, "sigmoid": 90.0}) if dtype == "float32" else Numerics()

    def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
        """Convert a host array to an MLX array; layouts other than contiguous are views."""
        if dtype not in DTYPES:
            raise Unsupported(f"dtype={dtype!r}")
        native = mx.array(array, dtype=DTYPES[dtype])
        if layout != "contiguous":
            native = apply_layout(native, array, layout)
        mx.eval(native)
        return native

    def get(self, native: Any) -> np.ndarray:
        """Convert an MLX array to a host array; bfloat16 goes through float32."""
        return super().get(native.astype(mx.float32) if native.dtype == mx.bfloat16 else native)

    def dtype(self, native: Any) -> str:
        """torch's name of the array's dtype."""
        return str(native.dtype).removeprefix("mlx.core.")

    def wait(self, outputs: Any) -> None:
        """Evaluate the arrays, because MLX is lazy."""
        try:
            mx.eval(outputs)
        except ValueError as error:
            raise (Unsupported(str(error)) if "data type" in str(error) else error) from None

    def vjp(
        self, fn: Callable[..., Any], primals: Sequence[Any], cotangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Gradients by `mx.vjp`."""
        gradients: Sequence[Any] = mx.vjp(lambda *x: list(fn(*x)), list(primals), list(cotangents))[
            1
        ]
        return gradients

    def jvp(
        self, fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Tangents by `mx.jvp`."""
        with _decline_missing_transforms():
            results = mx.jvp(lambda *x: list(fn(*x)), list(primals), list(tangents))[1]
            mx.eval(results)
        return tuple(results)

    def vmap(
        self, fn: Callable[..., Any], in_dims: tuple[int, ...], out_dim: int
    ) -> Callable[..., Any]:
        """The function over a batch, by `mx.vmap`."""

        def batched(*operands: Any) -> Any:
            with _decline_missing_transforms():
                results = mx.vmap(lambda *x: list(fn(*x)), in_dims, out_dim)(*operands)
                mx.eval(results)
            return tuple(results)

        return batched

    @implements("Network", "Sequential")
    def network(self, state: State, *inputs: Any, nodes: Sequence[Any], call: Call) -> Any:
        """The nodes in one `mx.compile`."""
        function = partial(super().network, nodes=nodes, call=call)
        return mx.compile(function)(dict(state), *inputs)

    @implements("Identity", ignores=("everything",))
    def identity(self, state: State, input: Any) -> Any:
        """`nn.Identity`."""
        return nn.Identity()(input)

    @implements("Linear", passes=("bias",))
    def linear(
        self,
        state: State,
        x: Any,
        *,
        call: Call,
        in_features: int,
        out_features: int,
        **arguments: Any,
    ) -> Any:
        """`nn.Linear`."""
        return load_state(nn.Linear(in_features, out_features, **arguments), call, state)(x)

    @implements("functional.linear")
    def functional_linear(self, state: State, input: Any, weight: Any, bias: Any = None) -> Any:
        """`mx.addmm`, which `nn.Linear` uses as well."""
        return input @ weight.T if bias is None else mx.addmm(bias, input, weight.T)

    @implements("Bilinear", passes=("bias",))
    def bilinear(
        self, state: State, input1: Any, input2: Any, *, call: Call, in1_features: int,
        in2_features: int, out_features: int, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.Bilinear`, whose weight is (out, in2, in1)."""
        layer = nn.Bilinear(in1_features, in2_features, out_features, **arguments)
        mlx_state = _convert_state(state, weight=lambda w: w.swapaxes(1, 2))
        return load_state(layer, call, mlx_state)(input1, input2)

    @implements(
        *names_for_dims("Conv{}d", "ConvTranspose{}d"),
        passes=("in_channels", "out_channels", "bias", *_SIZES),
    )
    def conv(self, state: State, x: Any, *, call: Call, groups: int = 1, **arguments: Any) -> Any:
        """`nn.Conv1d` and so on: padding is a number of zeros; 3d and transposed have no groups."""
        if call.layer in ("Conv1d", "Conv2d"):
            arguments["groups"] = groups
        elif groups != 1:
            raise Unsupported("groups>1")
        layer = getattr(nn, call.layer)(**_mlx_arguments(call, arguments))
        axis = 0 if "Transpose" in call.layer else 1
        mlx_state = _convert_state(state, weight=lambda w: mx.moveaxis(w, axis, -1))
        return _call_spatial(call, load_state(layer, call, mlx_state), x)

    @implements(*names_for_dims("functional.conv{}d"), passes=("stride",))
    def functional_conv(
        self, state: State, input: Any, weight: Any, bias: Any = None, *, call: Call,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`mx.conv_general`, which can pad unequal sides, as 'same' needs; the bias is a sum."""
        if groups != 1 and call.layer == "functional.conv3d":
            raise Unsupported("groups>1")
        weight = mx.moveaxis(weight, 1, -1)
        if padding == "same":
            if arguments.get("stride", 1) not in (1, (1,), (1, 1), (1, 1, 1)):
                raise Unsupported("padding='same' with a stride")
            dims = weight.ndim - 2
            dilations = (dilation,) * dims if isinstance(dilation, int) else dilation
            pads = same_pads(kernel_reaches(dilations, weight.shape[1:-1]))
            padding = [list(side) for side in zip(*pads, strict=True)]
        arguments |= {"padding": 0 if padding == "valid" else padding, "kernel_dilation": dilation}
        arguments |= {"groups": groups}
        return _call_spatial(call, lambda x: mx.conv_general(x, weight, **arguments), input, bias)

    @implements(*names_for_dims("functional.conv_transpose{}d"), passes=_SIZES[1:])
    def functional_conv_transpose(
        self, state: State, input: Any, weight: Any, bias: Any = None, *, call: Call,
        groups: int = 1, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`mx.conv_transpose1d` and so on, documented for one group only; the bias is a sum."""
        if groups != 1:
            raise Unsupported("groups>1")
        operation = getattr(mx, call.layer.removeprefix("functional."))
        weight, arguments = mx.moveaxis(weight, 0, -1), _mlx_arguments(call, arguments)
        return _call_spatial(call, lambda x: operation(x, weight, **arguments), input, bias)

    @implements("RNN", "LSTM", "GRU", passes=("input_size", "hidden_size", "bias"))
    def recurrent(
        self, state: State, x: Any, *states: Any, call: Call, num_layers: int = 1,
        nonlinearity: str = "tanh", batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, proj_size: int = 0, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.RNN`, `nn.LSTM`, `nn.GRU`, which return all states; the last one is final."""
        unsupported = {"dropout": dropout, "bidirectional": bidirectional, "proj_size": proj_size}
        unsupported |= {"num_layers": num_layers - 1}
        for name, value in unsupported.items():
            if value or (name == "proj_size" in call.arguments and call.layer != "LSTM"):
                raise Unsupported(name)
        if call.layer == "RNN":
            if nonlinearity not in ("tanh", "relu"):
                raise Unsupported(f"nonlinearity={nonlinearity!r}")
            arguments["nonlinearity"] = getattr(nn, nonlinearity)
        layer = load_state(
            getattr(nn, call.layer)(**arguments), call, _mlx_weights(call.layer, state)
        )
        swaps_axes = x.ndim == 3 and not batch_first
        initial = (None if s is None else s.squeeze(0) for s in states)
        outputs = layer(x.swapaxes(0, 1) if swaps_axes else x, *initial)
        sequences = outputs if isinstance(outputs, tuple) else (outputs,)
        output = sequences[0].swapaxes(0, 1) if swaps_axes else sequences[0]
        return (output, *(s[..., -1, :][None] for s in sequences))


@contextmanager
def _decline_missing_transforms() -> Iterator[None]:
    """Decline a transform of an operator for which MLX has none."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if not _MISSING.search(str(error)):
            raise
        raise Unsupported(str(error).splitlines()[0]) from error


class UncompiledMlx(Mlx):
    """MLX, with the nodes of a network called one after another."""

    name, less_optimized = "mlx-uncompiled", ()
    network = NetworkFunctions.network


backend, uncompiled = Mlx(), UncompiledMlx()


def _convert_state(state: State, **converters: Callable[[Any], Any]) -> State:
    return {name: converters[name](x) if name in converters else x for name, x in state.items()}


def _mlx_weights(layer: str, state: State) -> dict[str, Any]:
    """Rename torch's weights; a GRU has a separate hidden bias of its new gate in MLX."""
    if not state:
        return {}
    names = ("Wxh", "Whh") if layer == "RNN" else ("Wx", "Wh")
    weights = dict(zip(names, (state["weight_ih_l0"], state["weight_hh_l0"]), strict=True))
    if "bias_ih_l0" not in state:
        return weights
    b_x, b_h = state["bias_ih_l0"], state["bias_hh_l0"]
    if layer != "GRU":
        return {**weights, "bias": b_x + b_h}
    shared, new = mx.split(b_h, [2 * len(b_h) // 3])
    return {**weights, "b": b_x + mx.concatenate([shared, mx.zeros_like(new)]), "bhn": new}


def _mlx_arguments(call: Call, arguments: dict[str, Any]) -> dict[str, Any]:
    """Translate arguments to MLX's: 'valid' becomes 0, a tuple of one number becomes the number."""
    words = {"same", "valid"} & {arguments.get("padding")} if "ranspose" not in call.layer else ()
    if "same" in words:
        raise Unsupported("padding='same'")
    arguments = {**arguments, "padding": 0} if words else arguments
    is_one_dimensional = call.layer.endswith("1d")
    return {
        k: v[0]
        if is_one_dimensional and k in _SIZES and isinstance(v, tuple) and len(v) == 1
        else v
        for k, v in arguments.items()
    }


def _add_bias(y: Any, bias: Any) -> Any:
    """Add a bias of shape (out_channels,); refuse other shapes, which would be broadcast."""
    if tuple(bias.shape) != y.shape[-1:]:
        raise ValueError(f"bias of shape {tuple(bias.shape)}: expected {tuple(y.shape[-1:])}")
    return y + bias


def _call_spatial(call: Call, function: Callable[[Any], Any], x: Any, bias: Any = None) -> Any:
    """Call a function of (N, …, C) on (N, C, …) or (C, …); MLX itself refuses other ranks."""
    dims = spatial_dims(call.layer)
    if x.ndim not in (dims + 1, dims + 2):
        return function(x)

    def call_and_add(x: Any) -> Any:
        y = function(x)
        return y if bias is None else _add_bias(y, bias)

    return call_batched(lambda x: call_channels_last(call_and_add, x, mx.moveaxis), x, dims)
