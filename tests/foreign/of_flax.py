"""Flax's adapter with bugs."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from conformance.backends import implements
from conformance.backends.adapters.flax import Flax

from . import around
from .bug import plant, plant_around

FAITHFUL = "conformance.backends.adapters.flax:backend"


@plant(FAITHFUL, "LSTM")
class GatesSwapped(Flax):
    """The cell's gate comes before the forget gate."""

    @implements("LSTM", passes=("input_size", "hidden_size", "bias", "batch_first"))
    def lstm_with_swapped_gates(
        self, state: Any, x: Any, *states: Any, call: Any, **arguments: Any
    ) -> Any:
        """Of the weights the second and third quarter change places."""

        def swap_gates(w: Any) -> Any:
            i, f, g, o = jnp.split(w, 4)
            return jnp.concatenate([i, g, f, o])

        swapped_state = {name: swap_gates(w) for name, w in state.items()}
        return self.recurrent(swapped_state, x, *states, call=call, **arguments)


@plant(FAITHFUL, "GroupNorm")
class OwnEpsilon(Flax):
    """An eps that is left out is Flax's own, 1e-6."""

    @implements("GroupNorm", passes=("num_groups", "num_channels", "affine", "bias"))
    def group_norm_with_own_eps(
        self, state: Any, x: Any, *, call: Any, eps: float = 1e-6, **arguments: Any
    ) -> Any:
        """Another default."""
        return self.group_norm(state, x, call=call, eps=eps, **arguments)


@plant(FAITHFUL, "AvgPool1d")
class PaddingNotCounted(Flax):
    """Zeros at the edges do not count, whatever is asked for."""

    @implements("AvgPool1d", passes=("kernel_size", "stride", "padding"))
    def avg_pool_without_padding(
        self, state: Any, x: Any, *, call: Any, count_include_pad: bool = True, **arguments: Any
    ) -> Any:
        """Divided by the elements that are there."""
        y = self.avg_pool(state, x, call=call, count_include_pad=False, **arguments)
        return y.astype(x.dtype)


@plant(FAITHFUL, "functional.scaled_dot_product_attention")
class NumbersHide(Flax):
    """A mask of numbers hides the keys at 0, and is not added to the scores."""

    @implements(
        "functional.scaled_dot_product_attention",
        passes=("dropout_p", "enable_gqa", "scale", "is_causal"),
    )
    def attention_with_hiding_numbers(
        self, state: Any, query: Any, key: Any, value: Any, mask: Any = None, **arguments: Any
    ) -> Any:
        """A mask of booleans."""
        mask = mask if mask is None else mask != 0
        return self.scaled_dot_product_attention(state, query, key, value, mask, **arguments)


plant_around(
    __name__, Flax, FAITHFUL,
    {
        around.LoadForgotten: "Linear",
        around.GradientDoubled: "LayerNorm",
        around.DtypeWidened: "Embedding",
        around.BatchOfOneDropped: "MaxPool1d",
    },
)  # fmt: skip
