"""tinygrad on the CPU: the layers of `tinygrad.nn` and methods of `tinygrad.Tensor`.

tinygrad has torch's names and axes. It needs a batch, which the adapter adds. Its methods are lazy:
reading a call's outputs creates the kernels, and clang compiles them. An argument that a method
does not have is Unsupported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

os.environ.setdefault("PARALLEL", "0")  # no pool of compilers in each process of the suite

from tinygrad import Device, Tensor, nn

from conformance.backends.adapters.names import names_for_dims
from conformance.backends.adapters.shared import State
from conformance.backends.adapters.tinygrad.activations import Activations
from conformance.backends.adapters.tinygrad.losses import Losses
from conformance.backends.adapters.tinygrad.networks import OPERATORS
from conformance.backends.adapters.tinygrad.normalization import Normalization
from conformance.backends.adapters.tinygrad.parts import (
    NAMES,
    has_compiler_support,
    make_layer,
    make_tensor,
)
from conformance.backends.adapters.tinygrad.windows import Windows
from conformance.backends.adapters.windows import call_spatial
from conformance.backends.function import implements
from conformance.backends.function_network import NetworkFunctions
from conformance.model.case import Call, Numerics, Unsupported
from conformance.model.formats import format_of


class Tinygrad(Activations, Losses, Normalization, Windows, NetworkFunctions):
    """tinygrad on the CPU."""

    name = "tinygrad"
    script_printer = "conformance.diagnosis.script_tinygrad:TinygradPrinter"
    operators = OPERATORS
    # Measured: a convolution's kernel 0.15 s, its gradients 1.7 s; an activation's 0.1 s.
    compile_seconds, budget = 0.3, "900"
    # tinygrad checks arguments by `assert`, and raises IndexError for shapes that do not match.
    # It documents promoted dtypes, negative padding that crops, and padding for either side.
    refusals = (AssertionError, IndexError)
    accepts = ("*of another dtype", "negative padding", "padding of too many numbers")

    def info(self) -> Mapping[str, str]:
        """The version of tinygrad, and the renderer of its kernels."""
        renderer = type(Device["CPU"].renderer).__name__
        return {"tinygrad": version("tinygrad"), "tinygrad renderer": renderer}

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Offer the functions below in the real dtypes that the compiler supports."""
        return super().offers(layer, dtype, device) and has_compiler_support(dtype)

    def numerics(self, dtype: str) -> Numerics:
        """Declare stored steps in half precision, and functions computed from 2ˣ and log₂.

        The errors are derived, with the unit roundoff u, and measured on 10⁶ points of each range:

        - eˣ is 2 to the power of x·log₂e, and both factor and product are rounded. That is 2·|x|·u
          for |x| < 88 (709 in float64), or 88 (709) ULP, and the power adds one. Measured: 63.6 and
          437. The logistic function 1/(1 + e⁻ˣ) inherits this error: 63.3 and 433.
        - ln x is log₂x·ln 2. A ULP of log₂ is up to two ULP of ln; factor and product add half a
          ULP each. Measured: 2.8 and 3.1.
        - tanh x is 2·σ(2x) − 1, with twice the error of σ above ½, 2.5·u. Measured: 3·u.
        - erf is Abramowitz and Stegun 7.1.26, with an error of 1.5·10⁻⁷. Its sum of five terms adds
          at most 6·u, measured.
        - log1p adds 1 to x, and expm1 subtracts 1 from eˣ: an error of 2·u for results of any size.
        """
        u = format_of(dtype).unit
        power = 711.0 if dtype == "float64" else 90.0
        half = dtype in ("bfloat16", "float16")
        return Numerics(
            accumulation=dtype if half else None, stepwise=half,
            ulp={} if half else {"exp": power, "sigmoid": power, "log": 4.0, "expm1": power},
            absolute={"tanh": 5 * u, "erf": 1.5e-7 + 6 * u, "log1p": 2 * u, "expm1": 2 * u},
        )  # fmt: skip

    def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
        """Convert a host array to a tensor."""
        if not has_compiler_support(dtype):
            raise Unsupported(f"dtype={dtype!r}")
        return make_tensor(array, layout, dtype)

    def get(self, native: Any) -> np.ndarray:
        """Convert a tensor to a host array; bfloat16 goes through float32."""
        return super().get(native.numpy())

    def dtype(self, native: Any) -> str:
        """torch's name of the tensor's dtype."""
        return NAMES.get(native.dtype, str(native.dtype).removeprefix("dtypes."))

    def wait(self, outputs: Any) -> None:
        """Realize the tensors, because tinygrad is lazy."""
        tensors = outputs if isinstance(outputs, (list, tuple)) else (outputs,)
        if lazy := [x for x in tensors if x is not None]:
            Tensor.realize(*lazy)

    def vjp(
        self, fn: Callable[..., Any], primals: Sequence[Any], cotangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Gradients by `Tensor.gradient`, added up over the outputs.

        A tensor that is both an input and a weight is copied: tinygrad adds up all its uses.
        """
        leaves: list[Any] = []
        for x in primals:
            is_used = any(x.uop is leaf.uop for leaf in leaves)
            leaves.append(x.clone().realize() if is_used else x)
        gradients: list[Any] = []
        for output, cotangent in zip(fn(*leaves), cotangents, strict=True):
            parts = output.gradient(*leaves, gradient=cotangent)
            gradients = (
                [a + b for a, b in zip(gradients, parts, strict=True)] if gradients else parts
            )
        return gradients

    @implements("Linear", passes=("in_features", "out_features", "bias"))
    def linear(self, state: State, x: Any, **arguments: Any) -> Any:
        """`nn.Linear`."""
        return make_layer(lambda: nn.Linear(**arguments), state)(x)

    @implements("functional.linear")
    def functional_linear(self, state: State, input: Any, weight: Any, bias: Any = None) -> Any:
        """`Tensor.linear`, whose weight is transposed; it multiplies by a weight of one axis."""
        if weight.ndim == 1:
            raise Unsupported("a weight of one axis")
        return input.linear(weight.transpose(), bias)

    @implements("LSTMCell", passes=("input_size", "hidden_size", "bias"))
    def lstm_cell(self, state: State, x: Any, *states: Any, **arguments: Any) -> Any:
        """`nn.LSTMCell`."""
        layer = make_layer(lambda: nn.LSTMCell(**arguments), state)
        initial = tuple(s for s in states if s is not None)
        if x.ndim != 1:
            return layer(x, initial or None)
        h, c = layer(x.unsqueeze(0), tuple(s.unsqueeze(0) for s in initial) or None)
        return h.squeeze(0), c.squeeze(0)

    @implements("Embedding", ignores=("norm_type",))
    def embedding(
        self, state: State, indices: Any, *, num_embeddings: int, embedding_dim: int
    ) -> Any:
        """`nn.Embedding`."""
        return make_layer(lambda: nn.Embedding(num_embeddings, embedding_dim), state)(indices)

    @implements("Flatten")
    def flatten(self, state: State, x: Any, *, start_dim: int = 1, end_dim: int = -1) -> Any:
        """`Tensor.flatten`."""
        return x.flatten(start_dim, end_dim)

    @implements("Unflatten")
    def unflatten(self, state: State, x: Any, *, dim: int, unflattened_size: Any) -> Any:
        """`Tensor.unflatten`."""
        return x.unflatten(dim, tuple(unflattened_size))

    @implements(
        "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d",
        passes=(
            "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
            "bias", "output_padding",
        ),
    )  # fmt: skip
    def conv(self, state: State, x: Any, *, call: Call, **arguments: Any) -> Any:
        """`nn.Conv1d` and so on, which have no padding 'valid'."""
        if arguments.get("padding") == "valid":
            raise Unsupported("padding='valid'")
        if call.layer.endswith("1d") and isinstance(arguments["kernel_size"], tuple):
            arguments["kernel_size"] = arguments["kernel_size"][0]
        layer = make_layer(lambda: getattr(nn, call.layer)(**arguments), state)
        return call_spatial(layer, call.layer, x)

    @implements(*names_for_dims("functional.conv{}d"), passes=("stride", "dilation", "groups"))
    def functional_conv(
        self, state: State, input: Any, weight: Any, bias: Any = None, *, call: Call,
        padding: Any = 0, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`Tensor.conv2d`, which takes any number of axes, and pads by numbers."""
        if isinstance(padding, str):
            raise Unsupported(f"padding={padding!r}")
        arguments["padding"] = padding
        return call_spatial(lambda x: x.conv2d(weight, bias, **arguments), call.layer, input)

    @implements(
        *names_for_dims("functional.conv_transpose{}d"),
        passes=("stride", "padding", "dilation", "groups", "output_padding"),
    )
    def functional_conv_transpose(
        self,
        state: State,
        input: Any,
        weight: Any,
        bias: Any = None,
        *,
        call: Call,
        **arguments: Any,
    ) -> Any:
        """`Tensor.conv_transpose2d`, which takes any number of axes."""
        return call_spatial(
            lambda x: x.conv_transpose2d(weight, bias, **arguments), call.layer, input
        )


backend = Tinygrad()
