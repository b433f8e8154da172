"""What the parts of Flax's adapter share: a layer made with parameters that are given, axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.jax.parts import Asked

_ZEROS = nnx.initializers.zeros_init()


def made(cls: Any, call: Asked, given: Mapping[str, Any], *starts: str, **arguments: Any) -> Any:
    """A layer with the parameters that are given, or with its own initial ones.

    Args:
        given: parameters by name, as `dense_i.kernel` where they are of a layer within; empty for
            initial ones.
        starts: arguments for initialisers: random numbers that nobody reads take time.
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
    """(N, C, …) or (C, …) to (N, …, C) or (…, C), and back.

    Raises:
        ValueError: for an input of another rank: Flax has one class for all.
    """
    if x.ndim not in (dims + 1, dims + 2):
        raise ValueError(f"an input of {x.ndim} axes: expected {dims + 1} or {dims + 2}")
    axis = x.ndim - dims - 1
    return jnp.moveaxis(function(jnp.moveaxis(x, axis, -1)), -1, axis)


def named(state: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """The tensors of a state by Flax's names, given by torch's."""
    return {theirs: state[own] for own, theirs in names.items() if own in state}
