"""What the parts of Keras's adapter share: layers that are built once, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it when it is imported

import keras

from conformance.model.case import Unsupported

__all__ = ["State", "called", "each", "keras", "layer_of", "only", "pairs", "ranked"]

State = Mapping[str, Any]


@cache
def layer_of(name: str, dtype: str, shape: tuple[Any, ...], given: tuple[Any, ...]) -> Any:
    """A layer of `keras.layers`, built for a shape.

    Args:
        name: of the class.
        shape: of the input, None where any size is right.
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
        name: of the class.
        weights: in Keras's order; None or empty for initial ones.
        shape: that it is built for; the input's, if left out.
        given: its arguments.
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


def only(**given: tuple[Any, Any]) -> None:
    """Decline arguments that Keras does not have, unless they are what it does anyway.

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


def ranked(layer: str, x: Any, *ranks: int) -> None:
    """Keras has one class for all ranks, or one that takes only a batch; the layer's name decides.

    Raises:
        ValueError: for an input of another rank.
    """
    if x.ndim not in ranks:
        raise ValueError(f"{layer}: an input of {x.ndim} axes")
