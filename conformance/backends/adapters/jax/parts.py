"""What the adapters on JAX share: arrays, gradients, compiled code, activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conformance.backends.adapters.activations import SPELLED, NamedActivations
from conformance.backends.adapters.shared import State
from conformance.model.case import Numerics, Unsupported

jax.config.update("jax_enable_x64", True)  # else float64 is taken for float32


class OnJax(NamedActivations):
    """A framework whose arrays and activations are JAX's, on the CPU."""

    compile_seconds, budget = 0.2, "700"
    namespace, spelled = jax.nn, {**SPELLED, "softsign": "soft_sign"}

    def numerics(self, dtype: str) -> Numerics:
        """XLA's threads flush subnormal numbers; a sum is stored before a bias is added.

        Measured: products, sums and convolutions read and write subnormal numbers as zero in every
        dtype but float16, which is computed in float32, where its own are normal numbers; tanh of
        float64 is off by up to 6.93 units in the last place on 8 million points. In half precision
        sigmoid is, of all numbers of float16 and all but four of bfloat16, 1 / (1 + e⁻ˣ) with each
        step stored, and of one of six (float16) not the true value stored once.
        """
        own = dtype if dtype in ("bfloat16", "float16") else None
        ulp = {"tanh": 7.0} if dtype == "float64" else {}
        return Numerics(
            flush_to_zero=dtype != "float16", accumulation=own, ulp=ulp, stepwise=own is not None
        )

    def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
        """Host to array; JAX has no strides."""
        if layout != "contiguous":
            raise Unsupported(f"layout={layout!r}")
        return jax.device_put(array.astype(jnp.dtype(dtype)), jax.devices(device)[0])

    def get(self, native: Any) -> np.ndarray:
        """Array to host; NumPy has no bfloat16 of its own."""
        return super().get(native.astype(jnp.float32) if native.dtype == jnp.bfloat16 else native)

    def wait(self, outputs: Any) -> None:
        """Calls return before they are done."""
        jax.block_until_ready(outputs)

    def vjp(
        self, fn: Callable[..., Any], primals: Sequence[Any], cotangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Gradients by `jax.vjp`."""
        return tuple(jax.vjp(fn, *primals)[1](tuple(cotangents)))

    def applied(self, function: Callable[..., Any], x: Any, **given: Any) -> Any:
        """Call a function of `jax.nn`, compiled."""
        return _applied(function, _Given(given))(x)

    def softmax(self, state: State, x: Any, *, call: Any, dim: int | None = None) -> Any:
        """`jax.nn.softmax` and `jax.nn.log_softmax` along one axis."""
        if x.ndim == 0:
            raise Unsupported("dim of an input of no axes")
        return super().softmax(state, x, call=call, dim=dim)


@dataclass(frozen=True)
class Asked:
    """What of a call its compiled code depends on beside the arguments."""

    layer: str
    dtype: str


class _Given:
    """Arguments by name that are equal where they are written alike: -0.0 is not 0.0."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = arguments
        self._text = repr(sorted(arguments.items()))

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given) and self._text == other._text


@lru_cache(maxsize=256)
def _applied(function: Callable[..., Any], given: _Given) -> Any:
    return jax.jit(lambda x: function(x, **given.arguments))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled once for equal arguments and shapes, whichever cases they come from.

    A parameter `call` is given what is `Asked`.
    """

    @lru_cache(maxsize=256)  # compiled code takes memory: 4 GB after half a run without a limit
    def jitted(backend: Any, given: _Given) -> Any:
        return jax.jit(lambda state, *x: function(backend, state, *x, **given.arguments))

    @wraps(function)
    def call(self: Any, state: State, *inputs: Any, **arguments: Any) -> Any:
        if "call" in arguments:
            arguments["call"] = Asked(arguments["call"].layer, arguments["call"].dtype)
        return jitted(self, _Given(arguments))(state, *inputs)

    return call
