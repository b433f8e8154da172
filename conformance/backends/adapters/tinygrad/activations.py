"""tinygrad's activations and softmax: methods of `Tensor`."""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.names import function_name, with_functions
from conformance.backends.adapters.shared import State
from conformance.backends.adapters.tinygrad.parts import DTYPES, has_compiler_support
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported


class Activations(FunctionBackend):
    """The part of tinygrad's adapter for activations and softmax."""

    @implements(
        *with_functions(
            "ReLU", "ReLU6", "Hardsigmoid", "Hardswish", "SELU", "SiLU", "Mish", "Sigmoid", "Tanh",
            "LogSigmoid", "Softsign", "ELU", "CELU", "Hardtanh",
        ),
        passes=("alpha", "min_val", "max_val"),
    )  # fmt: skip
    def activation(self, state: State, x: Any, *, call: Call, **arguments: Any) -> Any:
        """`Tensor.relu` and so on."""
        return getattr(x, function_name(call.layer))(**arguments)

    @implements("LeakyReLU", "functional.leaky_relu")
    def leaky_relu(self, state: State, x: Any, *, negative_slope: float = 0.01) -> Any:
        """`Tensor.leaky_relu`."""
        return x.leaky_relu(negative_slope)

    @implements("GELU", "functional.gelu")
    def gelu(self, state: State, x: Any, *, approximate: str = "none") -> Any:
        """`Tensor.gelu`, which approximates by default."""
        return x.gelu(approximate)

    @implements("Softplus", "functional.softplus")
    def softplus(self, state: State, x: Any, *, beta: float = 1.0) -> Any:
        """`Tensor.softplus`, which has no threshold."""
        return x.softplus(beta)

    @implements(*with_functions("Softmax", "LogSoftmax", "Softmin"))
    def softmax(
        self, state: State, x: Any, *, call: Call, dim: int | None = None, dtype: str | None = None
    ) -> Any:
        """`Tensor.softmax` and so on along an explicit axis; functions may convert the dtype."""
        if dim is None:
            raise Unsupported("dim=None")
        if dtype is not None and not has_compiler_support(dtype):
            raise Unsupported(f"dtype={dtype!r}")
        keywords = {} if dtype is None else {"dtype": DTYPES[dtype]}
        return getattr(x, function_name(call.layer))(dim, **keywords)
