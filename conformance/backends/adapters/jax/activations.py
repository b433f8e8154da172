"""Functions of single numbers: those of `jax.nn`, which `flax.nnx` has by the same names.

An array does not change: nothing is done in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from conformance.backends.adapters.jax.parts import Asked, State, compiled, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported, bare_name

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": jax.nn.relu, "relu6": jax.nn.relu6, "leakyrelu": jax.nn.leaky_relu,
    "hardsigmoid": jax.nn.hard_sigmoid, "hardswish": jax.nn.hard_silu, "elu": jax.nn.elu,
    "selu": jax.nn.selu, "celu": jax.nn.celu, "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "logsigmoid": jax.nn.log_sigmoid,
    "softsign": jax.nn.soft_sign,
}  # fmt: skip


class Activations(FunctionBackend):
    """The part of an adapter on JAX for functions of single numbers."""

    @implements(
        "ReLU", "ReLU6", "LeakyReLU", "Hardsigmoid", "Hardswish", "ELU", "SELU", "CELU", "SiLU",
        "Sigmoid", "Tanh", "LogSigmoid", "Softsign",
        "functional.relu", "functional.relu6", "functional.leaky_relu", "functional.hardsigmoid",
        "functional.hardswish", "functional.elu", "functional.selu", "functional.celu",
        "functional.silu", "functional.sigmoid", "functional.tanh",
        "functional.logsigmoid", "functional.softsign",
        passes=("negative_slope", "alpha"),
    )  # fmt: skip
    @compiled
    def activation(
        self, state: State, x: Any, *, call: Asked, inplace: bool = False, **given: Any
    ) -> Any:
        """`jax.nn.relu` and so on, `jnp.tanh`."""
        only(inplace=(inplace, False))
        return _FUNCTIONS[bare_name(call.layer).lower().replace("_", "")](x, **given)

    @implements("Hardtanh", "functional.hardtanh")
    @compiled
    def hardtanh(
        self, state: State, x: Any, *, min_val: float = -1.0, max_val: float = 1.0,
        inplace: bool = False,
    ) -> Any:  # fmt: skip
        """`jax.nn.hard_tanh`, which ends at −1 and 1."""
        only(min_val=(min_val, -1), max_val=(max_val, 1), inplace=(inplace, False))
        return jax.nn.hard_tanh(x)

    @implements("GELU", "functional.gelu")
    @compiled
    def gelu(self, state: State, x: Any, *, approximate: str = "none") -> Any:
        """`jax.nn.gelu`."""
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate={approximate!r}")
        return jax.nn.gelu(x, approximate=approximate == "tanh")

    @implements("Softplus", "functional.softplus")
    @compiled
    def softplus(self, state: State, x: Any, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
        """`jax.nn.softplus`, which has no arguments and no threshold."""
        only(beta=(beta, 1), threshold=(threshold, 20))
        return jax.nn.softplus(x)

    @implements("Softmax", "LogSoftmax", "functional.softmax", "functional.log_softmax")
    @compiled
    def softmax(
        self, state: State, x: Any, *, call: Asked, dim: int | None = None, dtype: Any = None
    ) -> Any:
        """`jax.nn.softmax` and `jax.nn.log_softmax` along one axis."""
        only(dtype=(dtype, None))
        if dim is None or x.ndim == 0:
            raise Unsupported("dim=None" if x.ndim else "dim of an input of no axes")
        logarithm = "log" in call.layer.lower()
        return (jax.nn.log_softmax if logarithm else jax.nn.softmax)(x, axis=dim)

    @implements("GLU", "functional.glu")
    @compiled
    def glu(self, state: State, x: Any, *, dim: int = -1) -> Any:
        """`jax.nn.glu`."""
        return jax.nn.glu(x, axis=dim)

    @implements("functional.one_hot")
    def one_hot(self, state: State, tensor: Any, *, num_classes: int = -1) -> Any:
        """`jax.nn.one_hot` of as many classes as are said, of integers."""
        if num_classes == -1:
            raise Unsupported("num_classes=-1")
        return jax.nn.one_hot(tensor, num_classes, dtype=jnp.int64)
