"""Helpers of Flax's adapter: make a layer with given parameters, and move axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.jax.parts import JitCall

_ZEROS = nnx.initializers.zeros_init()


def make_layer(
    cls: Any, call: JitCall, parameters: Mapping[str, Any], *initializers: str, **arguments: Any
) -> Any:
    """Make a layer with the given parameters, or with its own initial ones.

    Args:
        parameters: parameters by name, such as `dense_i.kernel` for an inner layer; empty for
            initial ones.
        initializers: arguments for initialisers, which become zeros if parameters are given.
            Drawing unused random numbers would take time.
    """
    if parameters:
        arguments |= dict.fromkeys(initializers, _ZEROS)
    layer = cls(param_dtype=jnp.dtype(call.dtype), rngs=nnx.Rngs(0), **arguments)
    for name, value in parameters.items():
        *path, last = name.split(".")
        owner = layer
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, last, type(getattr(owner, last))(value))
    return layer


def call_channels_last(function: Callable[[Any], Any], x: Any, dims: int) -> Any:
    """Call a function of (N, …, C) or (…, C) on an input (N, C, …) or (C, …).

    Raises:
        ValueError: for an input of another rank, because Flax has one class for all ranks.
    """
    if x.ndim not in (dims + 1, dims + 2):
        raise ValueError(f"an input of {x.ndim} axes: expected {dims + 1} or {dims + 2}")
    axis = x.ndim - dims - 1
    return jnp.moveaxis(function(jnp.moveaxis(x, axis, -1)), -1, axis)


def renamed(state: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Rename the tensors of a state; `names` maps torch's names to Flax's."""
    return {
        flax_name: state[torch_name]
        for torch_name, flax_name in names.items()
        if torch_name in state
    }
