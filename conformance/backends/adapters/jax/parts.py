"""What the adapters on JAX share: arrays, gradients, compiled code, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from conformance.backends.function import FunctionBackend
from conformance.model.case import Unsupported

jax.config.update("jax_enable_x64", True)  # else float64 is taken for float32

State = Mapping[str, Any]


class OnJax(FunctionBackend):
    """A framework whose arrays are JAX's, on the CPU."""

    compile_seconds, budget = 0.2, "700"

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


@dataclass(frozen=True)
class Asked:
    """What of a call its compiled code depends on beside the arguments.

    Args:
        layer, dtype: the call's.
    """

    layer: str
    dtype: str


class _Given:
    """Arguments that are equal where they are written alike: -0.0 is not 0.0.

    Args:
        arguments: by name.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = arguments
        self._text = repr(sorted(arguments.items()))

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given) and self._text == other._text


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


def only(**given: tuple[Any, Any]) -> None:
    """Decline arguments that JAX does not have, unless they are what it does anyway.

    Args:
        given: argument → its value, and the one that changes nothing.

    Raises:
        Unsupported: for the first that is another.
    """
    for name, (value, plain) in given.items():
        if value != plain:
            raise Unsupported(f"{name}={value!r}")


def each(value: Any, dims: int) -> tuple[int, ...]:
    """A number for each dimension, given as one or as so many.

    Raises:
        ValueError: if there are more or fewer.
    """
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if len(numbers) not in (1, dims):
        raise ValueError(f"{value!r}: expected one number, or {dims}")
    return numbers * dims if len(numbers) == 1 else numbers


def batched(function: Callable[[Any], Any], x: Any, dims: int) -> Any:
    """Call a function that wants a batch; one that is added is taken away again.

    Args:
        function: of (N, C, …).
        x: that, or (C, …).
        dims: of the space.
    """
    return function(x[None])[0] if x.ndim == dims + 1 else function(x)


def same_pads(reaches: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each dimension that keep its size: the larger part comes after."""
    return [(reach // 2, reach - reach // 2) for reach in reaches]
