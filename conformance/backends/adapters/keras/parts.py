"""Helpers of Keras's adapter: build a layer once, and call it with given weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it at import

import keras

from conformance.model.case import Unsupported

__all__ = ["argument_pairs", "build_layer", "call_layer", "keras"]


@cache
def build_layer(name: str, dtype: str, shape: tuple[Any, ...], arguments: tuple[Any, ...]) -> Any:
    """Build a layer of `keras.layers` for a shape, which has None where any size is valid.

    Args:
        arguments: the layer's arguments as sorted pairs, see `argument_pairs`.
    """
    layer = getattr(keras.layers, name)(dtype=dtype, **dict(arguments))
    layer.build(shape)
    return layer


def call_layer(
    name: str, dtype: str, x: Any, weights: Sequence[Any] | None = None, *,
    shape: tuple[Any, ...] | None = None, **arguments: Any,
) -> Any:  # fmt: skip
    """Call a layer with the given trainable weights, or with its own initial ones.

    Args:
        weights: in Keras's order; None or empty for initial ones.
        shape: the shape for which the layer is built; None for the input's shape.
    """
    layer = build_layer(
        name, dtype, tuple(x.shape) if shape is None else shape, argument_pairs(arguments)
    )
    try:
        if not weights:
            return layer(x)
        return layer.stateless_call(list(weights), layer.non_trainable_variables, x)[0]
    except NotImplementedError:  # torch lacks a kernel: "… not implemented for 'BFloat16'"
        raise Unsupported(f"{name} of {keras.backend.standardize_dtype(x.dtype)}") from None


def argument_pairs(arguments: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Arguments as sorted pairs, which are hashable."""
    return tuple(sorted(arguments.items()))
