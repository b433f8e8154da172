"""The common base of the adapters on JAX: arrays, gradients, compiled code, activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conformance.backends.adapters.activations import LIBRARY_NAMES, NamedActivations
from conformance.backends.adapters.shared import State
from conformance.backends.function import implements
from conformance.backends.function_network import NetworkFunctions, array_operators
from conformance.model.case import NotOffered, Numerics, Unsupported

jax.config.update("jax_enable_x64", True)  # otherwise JAX converts float64 to float32


@dataclass(frozen=True)
class JitCall:
    """The parts of a call, besides its arguments, on which compiled code depends."""

    layer: str
    dtype: str
    device: str


class _HashableArguments:
    """Hashable arguments by name, compared by their repr, so that -0.0 differs from 0.0."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = arguments
        self._text = repr(sorted(arguments.items()))

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _HashableArguments) and self._text == other._text


@lru_cache(maxsize=256)
def _compile_function(function: Callable[..., Any], arguments: _HashableArguments) -> Any:
    return jax.jit(lambda x: function(x, **arguments.arguments))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a method once for equal arguments and shapes, for all cases together.

    A parameter `call` receives its `JitCall` in place of the `Call`.
    """

    @lru_cache(maxsize=256)  # without a limit, compiled code takes 4 GB after half a run
    def jitted(backend: Any, arguments: _HashableArguments) -> Any:
        return jax.jit(lambda state, *x: function(backend, state, *x, **arguments.arguments))

    @wraps(function)
    def call(self: Any, state: State, *inputs: Any, **arguments: Any) -> Any:
        if "call" in arguments:
            call_argument = arguments["call"]
            arguments["call"] = JitCall(
                call_argument.layer, call_argument.dtype, call_argument.device
            )
        return jitted(self, _HashableArguments(arguments))(state, *inputs)

    return call


class JaxBackend(NamedActivations, NetworkFunctions):
    """A backend on the CPU with the arrays and activations of JAX."""

    operators = array_operators(
        jnp, erf=jax.scipy.special.erf, sigmoid=jax.nn.sigmoid, rsqrt=jax.lax.rsqrt
    )
    compile_seconds, budget = 0.2, "900"
    script_printer = "conformance.diagnosis.script_jax:JaxPrinter"
    namespace, library_names = jax.nn, {**LIBRARY_NAMES, "softsign": "soft_sign"}

    def numerics(self, dtype: str) -> Numerics:
        """Declare that XLA flushes subnormal numbers, and stores a sum before adding a bias.

        Measured: products, sums and convolutions read and write subnormal numbers as zero in every
        dtype but float16. XLA computes float16 in float32, where its subnormal numbers are normal.
        tanh of float64 is off by up to 6.93 units in the last place on 8 million points. In half
        precision sigmoid is 1 / (1 + e⁻ˣ) with each step stored, for all numbers of float16 and all
        but four of bfloat16. For one number in six (float16) that is not the rounded true value.
        """
        half_dtype = dtype if dtype in ("bfloat16", "float16") else None
        ulp = {"tanh": 7.0} if dtype == "float64" else {}
        return Numerics(
            flush_to_zero=dtype != "float16",
            accumulation=half_dtype,
            ulp=ulp,
            stepwise=half_dtype is not None,
        )

    def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
        """Convert a host array to a JAX array, which has no strides."""
        if layout != "contiguous":
            raise NotOffered(f"layout={layout!r}")
        return jax.device_put(array.astype(jnp.dtype(dtype)), jax.devices(device)[0])

    def get(self, native: Any) -> np.ndarray:
        """Convert a JAX array to a host array; bfloat16 goes through float32."""
        return super().get(native.astype(jnp.float32) if native.dtype == jnp.bfloat16 else native)

    def wait(self, outputs: Any) -> None:
        """Block until the arrays are computed, because JAX runs calls asynchronously."""
        jax.block_until_ready(outputs)

    def vjp(
        self, fn: Callable[..., Any], primals: Sequence[Any], cotangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Gradients by `jax.vjp`."""
        return tuple(jax.vjp(fn, *primals)[1](tuple(cotangents)))

    def jvp(
        self, fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Tangents by `jax.jvp`."""
        with _decline_host_values():
            return tuple(jax.jvp(fn, tuple(primals), tuple(tangents))[1])

    def vmap(
        self, fn: Callable[..., Any], in_dims: tuple[int, ...], out_dim: int
    ) -> Callable[..., Any]:
        """The function over a batch, by `jax.vmap`."""

        def batched(*operands: Any) -> Any:
            with _decline_host_values():
                return jax.vmap(fn, in_dims, out_dim)(*operands)

        return batched

    def call_library(self, function: Callable[..., Any], x: Any, **arguments: Any) -> Any:
        """Call a function of `jax.nn`, compiled."""
        return _compile_function(function, _HashableArguments(arguments))(x)

    def softmax(self, state: State, x: Any, *, call: Any, dim: int | None = None) -> Any:
        """`jax.nn.softmax` and `jax.nn.log_softmax` along one axis."""
        if x.ndim == 0:
            raise Unsupported("dim of an input of no axes")
        return super().softmax(state, x, call=call, dim=dim)

    @implements("Network", "Sequential")
    @compiled
    def network(self, state: State, *inputs: Any, nodes: Sequence[Any], call: JitCall) -> Any:
        """The nodes in one `jax.jit`."""
        return super().network(state, *inputs, nodes=nodes, call=call)


@contextmanager
def _decline_host_values() -> Iterator[None]:
    """Decline what an adapter computes on the host: JAX has no values while it transforms."""
    try:
        yield
    except jax.errors.JAXTypeError as error:
        raise Unsupported("numbers on the host within a transform") from error
