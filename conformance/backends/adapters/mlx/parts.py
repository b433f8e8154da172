"""What the parts of MLX's adapter share: dtypes, a layer's state, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mlx.core as mx

from conformance.model.case import Call, Unsupported

_NAMES = ("float32", "float64", "bfloat16", "float16", "complex64", "int64")
DTYPES = {name: getattr(mx, name) for name in _NAMES}
State = Mapping[str, Any]


def loaded(layer: Any, call: Call, state: State) -> Any:
    """The layer with a state, or with its own in the call's dtype."""
    mx.random.seed(0)  # else the generator remembers all initial values, which are never used
    layer.set_dtype(DTYPES[call.dtype])
    for name, value in state.items():
        setattr(layer, name, value)
    return layer


def only(**given: tuple[Any, Any]) -> None:
    """Decline arguments that MLX does not have, unless they are what it does anyway.

    Args:
        given: argument → its value, and the one that changes nothing.

    Raises:
        Unsupported: for the first that is another.
    """
    for name, (value, plain) in given.items():
        if value != plain:
            raise Unsupported(f"{name}={value!r}")


def channels_last(function: Callable[[Any], Any], x: Any, *, batched: bool = True) -> Any:
    """(N, C, …), or (C, …) without a batch, to (N, …, C), and back.

    Args:
        function: of an array with a batch.
        batched: its first axis is the batch.
    """
    y = mx.moveaxis(function(mx.moveaxis(x if batched else x[None], 1, -1)), -1, 1)
    return y if batched else y[0]
