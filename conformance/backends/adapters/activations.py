"""Activations of libraries that have them as functions of one namespace: `jax.nn`, `keras.ops`.

Each function returns a new array, so nothing runs in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from conformance.backends.adapters.names import function_name, with_functions
from conformance.backends.adapters.shared import State
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported

LIBRARY_NAMES = {
    "hardsigmoid": "hard_sigmoid", "hardswish": "hard_silu", "logsigmoid": "log_sigmoid",
    "tanhshrink": "tanh_shrink", "hardshrink": "hard_shrink", "softshrink": "soft_shrink",
    "hardtanh": "hard_tanh",
}  # fmt: skip
"""torch's name of a function → its name in most libraries."""


class NamedActivations(FunctionBackend):
    """The part of an adapter for elementwise functions and functions along an axis."""

    namespace: Any
    library_names: Mapping[str, str] = LIBRARY_NAMES

    def call_library(self, function: Callable[..., Any], x: Any, **arguments: Any) -> Any:
        """Call a function of the namespace; a subclass may compile it."""
        return function(x, **arguments)

    @implements(
        *with_functions(
            "ReLU", "ReLU6", "LeakyReLU", "Hardsigmoid", "Hardswish", "ELU", "SELU", "CELU",
            "SiLU", "Sigmoid", "Tanh", "LogSigmoid", "Softsign",
        ),
        passes=("negative_slope", "alpha"),
    )  # fmt: skip
    def activation(self, state: State, x: Any, *, call: Any, **arguments: Any) -> Any:
        """`relu` and so on."""
        name = function_name(call.layer)
        return self.call_library(
            getattr(self.namespace, self.library_names.get(name, name)), x, **arguments
        )

    @implements("Hardtanh", "functional.hardtanh")
    def hardtanh(self, state: State, x: Any) -> Any:
        """`hard_tanh`, which ends at −1 and 1."""
        return self.call_library(self.namespace.hard_tanh, x)

    @implements("GELU", "functional.gelu")
    def gelu(self, state: State, x: Any, *, approximate: str = "none") -> Any:
        """`gelu`, where `approximate` is a boolean: True is torch's "tanh"."""
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate={approximate!r}")
        return self.call_library(self.namespace.gelu, x, approximate=approximate == "tanh")

    @implements("Softplus", "functional.softplus")
    def softplus(self, state: State, x: Any) -> Any:
        """`softplus`, which has no arguments and no threshold."""
        return self.call_library(self.namespace.softplus, x)

    @implements("Softmax", "LogSoftmax", "functional.softmax", "functional.log_softmax")
    def softmax(self, state: State, x: Any, *, call: Any, dim: int | None = None) -> Any:
        """`softmax` and `log_softmax` along one axis."""
        if dim is None:
            raise Unsupported("dim=None")
        return self.call_library(getattr(self.namespace, function_name(call.layer)), x, axis=dim)

    @implements("GLU", "functional.glu")
    def glu(self, state: State, x: Any, *, dim: int = -1) -> Any:
        """`glu`, which halves an axis; torch's `dim` is its `axis`."""
        return self.call_library(self.namespace.glu, x, axis=dim)

    @implements("functional.one_hot")
    def one_hot(self, state: State, tensor: Any, *, num_classes: int = -1) -> Any:
        """`one_hot` of integers, with an explicit number of classes."""
        if num_classes == -1:
            raise Unsupported("num_classes=-1")
        return self.namespace.one_hot(tensor, num_classes, dtype="int64")
