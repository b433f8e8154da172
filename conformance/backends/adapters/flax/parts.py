"""Helpers of Flax's adapter: make a layer with given parameters, and move axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.jax.parts import Asked

_ZEROS = nnx.initializers.zeros_init()


def made(cls: Any, call: Asked, given: Mapping[str, Any], *starts: str, **arguments: Any) -> Any:
    """Make a layer with the given parameters, or with its own initial ones.

    Args:
        given: parameters by name, such as `dense_i.kernel` for an inner layer; empty for
            initial ones.
        starts: arguments for initialisers, which become zeros if parameters are given.
            Drawing unused random numbers would take time.
    """
    if given:
        arguments |= dict.fromkeys(starts, _ZEROS)
    layer = cls(param_dtype=jnp.dtype(call.dtype), rngs=nnx.Rngs(0), **arguments)
    for name, value in given.items():
        *within, last = name.split(".")
        owner = layer
        for part in within:
            owner = getattr(owner, part)
        setattr(owner, last, type(getattr(owner, last))(value))
    return layer


def channels_last(function: Callable[[Any], Any], x: Any, dims: int) -> Any:
    """Call a function of (N, …, C) or (…, C) on an input (N, C, …) or (C, …).

    Raises:
        ValueError: for an input of another rank, because Flax has one class for all ranks.
    """
    if x.ndim not in (dims + 1, dims + 2):
        raise ValueError(f"an input of {x.ndim} axes: expected {dims + 1} or {dims + 2}")
    axis = x.ndim - dims - 1
    return jnp.moveaxis(function(jnp.moveaxis(x, axis, -1)), -1, axis)


def named(state: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Rename the tensors of a state; `names` maps torch's names to Flax's."""
    return {theirs: state[own] for own, theirs in names.items() if own in state}
