"""MLX's activations, softmax and GLU: the modules and the functions of `mlx.nn`.

MLX compiles its functions for each dtype, layout and scalar argument, on Linux by g++. Its arrays
are immutable, so nothing runs in place.
"""

from __future__ import annotations

from typing import Any

import mlx.nn as nn

from conformance.backends.adapters.activations import LIBRARY_NAMES
from conformance.backends.adapters.mlx.parts import load_state
from conformance.backends.adapters.names import function_name, with_functions
from conformance.backends.adapters.shared import State
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_MODULES = {"Hardshrink": "HardShrink", "Hardtanh": "HardTanh"}
_FUNCTIONS = {name: LIBRARY_NAMES[name] for name in ("hardshrink", "hardtanh", "logsigmoid")}
_ACTIVATIONS = (
    "ReLU", "ReLU6", "LeakyReLU", "Hardtanh", "Hardshrink", "Softshrink", "Hardswish", "ELU",
    "SELU", "CELU", "SiLU", "Mish", "Sigmoid", "Tanh", "LogSigmoid", "Softsign",
)  # fmt: skip
_GELUS = {"none": nn.gelu, "tanh": nn.gelu_approx}


class Activations(FunctionBackend):
    """The part of MLX's adapter for activations, softmax and GLU."""

    @implements(*_ACTIVATIONS, passes=("negative_slope", "alpha", "lambd"))
    def activation(self, state: State, x: Any, *, call: Call, **arguments: Any) -> Any:
        """`nn.ReLU` and so on, whose HardTanh ends at −1 and 1."""
        return getattr(nn, _MODULES.get(call.layer, call.layer))(**arguments)(x)

    @implements("GELU")
    def gelu(self, state: State, x: Any, *, approximate: str = "none") -> Any:
        """`nn.GELU`."""
        return nn.GELU(approximate)(x)

    @implements("Softplus")
    def softplus(self, state: State, x: Any) -> Any:
        """`nn.Softplus`, which has no arguments and no threshold."""
        return nn.Softplus()(x)

    @implements("PReLU", passes=("num_parameters", "init"))
    def prelu(self, state: State, x: Any, *, call: Call, **arguments: Any) -> Any:
        """`nn.PReLU` with a slope for each channel; channels are the last axis in MLX."""
        layer = load_state(nn.PReLU(**arguments), call, state)
        return _call_by_channel(layer, x, len(layer.weight))

    @implements(
        *(f"functional.{function_name(module)}" for module in _ACTIVATIONS),
        passes=("negative_slope", "alpha", "lambd", "min_val", "max_val"),
    )
    def functional_activation(
        self, state: State, input: Any, *, call: Call, **arguments: Any
    ) -> Any:
        """`nn.relu` and so on."""
        name = function_name(call.layer)
        return getattr(nn, _FUNCTIONS.get(name, name))(input, **arguments)

    @implements("functional.gelu")
    def functional_gelu(self, state: State, input: Any, *, approximate: str = "none") -> Any:
        """`nn.gelu` and `nn.gelu_approx`."""
        if approximate not in _GELUS:
            raise Unsupported(f"approximate={approximate!r}")
        return _GELUS[approximate](input)

    @implements("functional.softplus")
    def functional_softplus(self, state: State, input: Any) -> Any:
        """`nn.softplus`, which has no arguments and no threshold."""
        return nn.softplus(input)

    @implements("functional.prelu")
    def functional_prelu(self, state: State, input: Any, weight: Any) -> Any:
        """`nn.prelu` with a slope for each channel; channels are the last axis in MLX."""
        return _call_by_channel(lambda x: nn.prelu(x, weight), input, weight.size)

    @implements(*with_functions("Softmax", "LogSoftmax", "Softmin"))
    def softmax(self, state: State, x: Any, *, call: Call, dim: int | None = None) -> Any:
        """`nn.softmax`, `nn.log_softmax` and `nn.softmin` along an explicit axis."""
        if dim is None:
            raise Unsupported("dim=None")
        return getattr(nn, function_name(call.layer))(x, axis=dim)

    @implements("GLU", "functional.glu")
    def glu(self, state: State, x: Any, *, dim: int = -1) -> Any:
        """`nn.glu`."""
        return nn.glu(x, axis=dim)


def _call_by_channel(function: Any, x: Any, slopes: int) -> Any:
    """Call a function with the channels, torch's second axis, last, if there are several slopes."""
    if slopes == 1 or x.ndim < 2:
        return function(x)
    return function(x.swapaxes(1, -1)).swapaxes(1, -1)
