"""What the parts of MLX's adapter share: dtypes, a layer's state, axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from conformance.backends.adapters.shared import State
from conformance.backends.adapters.windows import channels_last, spatial
from conformance.model.case import Call

_NAMES = ("float32", "float64", "bfloat16", "float16", "complex64", "int64")
DTYPES = {name: getattr(mx, name) for name in _NAMES}


def loaded(layer: Any, call: Call, state: State) -> Any:
    """The layer with a state, or with its own in the call's dtype."""
    mx.random.seed(0)  # else the generator remembers all initial values, which are never used
    layer.set_dtype(DTYPES[call.dtype])
    for name, value in state.items():
        setattr(layer, name, value)
    return layer


def spatial_last(function: Callable[[Any], Any], layer: str, x: Any) -> Any:
    """`spatial`, of a function of (N, …, C)."""
    return spatial(lambda x: channels_last(function, x, mx.moveaxis), layer, x)
