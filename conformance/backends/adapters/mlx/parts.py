"""What the parts of MLX's adapter share: dtypes, a layer's state, axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from conformance.backends.adapters.names import dims_of
from conformance.backends.adapters.shared import State, ranked
from conformance.backends.adapters.windows import batched, channels_last
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


def spatial(function: Callable[[Any], Any], call: Call, x: Any) -> Any:
    """Call a function of (N, …, C) for (N, C, …) or (C, …).

    Raises:
        ValueError: for another rank than the layer's name says, which would lose an axis here.
    """
    dims = dims_of(call.layer)
    ranked(call.layer, x, dims + 1, dims + 2)
    return batched(lambda x: channels_last(function, x, mx.moveaxis), x, dims)
