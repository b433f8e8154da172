"""Helpers of MLX's adapter: dtypes, a layer's state, axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from conformance.backends.adapters.shared import State
from conformance.backends.adapters.windows import call_channels_last, call_spatial
from conformance.model.case import Call

_NAMES = ("float32", "float64", "bfloat16", "float16", "complex64", "int64")
DTYPES = {name: getattr(mx, name) for name in _NAMES} | {"bool": mx.bool_}


def load_state(layer: Any, call: Call, state: State) -> Any:
    """Load a state into a layer in the call's dtype; an empty state keeps its initial values."""
    # Without a new seed the lazy generator would keep all unused initial values.
    mx.random.seed(0)
    layer.set_dtype(DTYPES[call.dtype])
    for name, value in state.items():
        setattr(layer, name, value)
    return layer


def call_spatial_last(function: Callable[[Any], Any], layer: str, x: Any) -> Any:
    """Call a function of (N, …, C) on an input (N, C, …) or (C, …)."""
    return call_spatial(lambda x: call_channels_last(function, x, mx.moveaxis), layer, x)
