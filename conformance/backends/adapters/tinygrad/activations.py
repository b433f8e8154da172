"""tinygrad's activations and softmax: methods of `Tensor`."""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.tinygrad.parts import DTYPES, State, compiled, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported, bare_name

_PLAIN = {
    name.lower(): name
    for name in (
        "ReLU", "ReLU6", "Hardsigmoid", "Hardswish", "SELU", "SiLU", "Mish", "Sigmoid", "Tanh",
        "LogSigmoid", "Softsign",
    )
}  # fmt: skip


class Activations(FunctionBackend):
    """The part of tinygrad's adapter for functions of single numbers, and softmax."""

    @implements(
        *_PLAIN.values(), "ELU", "CELU", "Hardtanh", *(f"functional.{name}" for name in _PLAIN),
        "functional.elu", "functional.celu", "functional.hardtanh",
        passes=("alpha", "min_val", "max_val"),
    )  # fmt: skip
    def activation(
        self, state: State, x: Any, *, call: Call, inplace: bool = False, **given: Any
    ) -> Any:
        """`Tensor.relu` and so on."""
        only(inplace=(inplace, False))
        return getattr(x, bare_name(call.layer).lower())(**given)

    @implements("LeakyReLU", "functional.leaky_relu")
    def leaky_relu(
        self, state: State, x: Any, *, negative_slope: float = 0.01, inplace: bool = False
    ) -> Any:
        """`Tensor.leaky_relu`."""
        only(inplace=(inplace, False))
        return x.leaky_relu(negative_slope)

    @implements("GELU", "functional.gelu")
    def gelu(self, state: State, x: Any, *, approximate: str = "none") -> Any:
        """`Tensor.gelu`, which approximates where nothing is said."""
        return x.gelu(approximate)

    @implements("Softplus", "functional.softplus")
    def softplus(self, state: State, x: Any, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
        """`Tensor.softplus`, which has no threshold."""
        only(threshold=(threshold, 20.0))
        return x.softplus(beta)

    @implements("Softmax", "LogSoftmax", "Softmin")
    def softmax(self, state: State, x: Any, *, call: Call, dim: int | None = None) -> Any:
        """`Tensor.softmax` and so on, along an axis that is named."""
        if dim is None:
            raise Unsupported("dim=None")
        names = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Softmin": "softmin"}
        return getattr(x, names[call.layer])(dim)

    @implements("functional.softmax", "functional.log_softmax", "functional.softmin")
    def functional_softmax(
        self, state: State, input: Any, *, call: Call, dim: int | None = None,
        dtype: str | None = None,
    ) -> Any:  # fmt: skip
        """`Tensor.softmax` and so on, in a dtype."""
        if dim is None:
            raise Unsupported("dim=None")
        if dtype is not None and not compiled(dtype):
            raise Unsupported(f"dtype={dtype!r}")
        given = {} if dtype is None else {"dtype": DTYPES[dtype]}
        return getattr(input, bare_name(call.layer))(dim, **given)
