"""What the parts of Keras's adapter share: layers that are built once, and called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it when it is imported

import keras

from conformance.model.case import Unsupported

__all__ = ["called", "keras", "layer_of", "pairs"]


@cache
def layer_of(name: str, dtype: str, shape: tuple[Any, ...], given: tuple[Any, ...]) -> Any:
    """A layer of `keras.layers`, built for a shape, which is None where any size is right.

    Args:
        given: its arguments, sorted pairs.
    """
    layer = getattr(keras.layers, name)(dtype=dtype, **dict(given))
    layer.build(shape)
    return layer


def called(
    name: str, dtype: str, x: Any, weights: Sequence[Any] | None = None, *,
    shape: tuple[Any, ...] | None = None, **given: Any,
) -> Any:  # fmt: skip
    """A layer called with trainable weights that are given, or with its own initial ones.

    Args:
        weights: in Keras's order; None or empty for initial ones.
        shape: that it is built for; the input's, if left out.
    """
    layer = layer_of(name, dtype, tuple(x.shape) if shape is None else shape, pairs(given))
    try:
        if not weights:
            return layer(x)
        return layer.stateless_call(list(weights), layer.non_trainable_variables, x)[0]
    except NotImplementedError:  # torch has no such kernel: "… not implemented for 'BFloat16'"
        raise Unsupported(f"{name} of {keras.backend.standardize_dtype(x.dtype)}") from None


def pairs(given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Arguments as `layer_of` takes them."""
    return tuple(sorted(given.items()))
