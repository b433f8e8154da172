"""Flax's pooling, embedding and dropout."""

from __future__ import annotations

from itertools import count
from typing import Any

import jax
from flax import nnx

from conformance.backends.adapters.flax.parts import call_channels_last, make_layer, renamed
from conformance.backends.adapters.jax.parts import JitCall, compiled
from conformance.backends.adapters.jax.windows import decline_aborting_window
from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State, require_supported
from conformance.backends.adapters.windows import per_dimension, pooling_window
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported


class Windows(FunctionBackend):
    """The part of Flax's adapter for pooling, embedding and dropout."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._call_count = count()

    @implements(*names_for_dims("MaxPool{}d", "functional.max_pool{}d"))
    @compiled
    def max_pool(
        self, state: State, x: Any, *, call: JitCall, kernel_size: Any, stride: Any = None,
        padding: Any = 0, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        """`nnx.max_pool`."""
        dims = spatial_dims(call.layer)
        require_supported(dilation=(per_dimension(dilation, dims), (1,) * dims))
        window = _flax_window(dims, kernel_size, stride, padding)
        return call_channels_last(lambda x: nnx.max_pool(x, **window), x, dims)

    @implements(*names_for_dims("AvgPool{}d", "functional.avg_pool{}d"))
    @compiled
    def avg_pool(
        self, state: State, x: Any, *, call: JitCall, kernel_size: Any, stride: Any = None,
        padding: Any = 0, count_include_pad: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.avg_pool`."""
        dims = spatial_dims(call.layer)
        window = _flax_window(dims, kernel_size, stride, padding)
        window["count_include_pad"] = count_include_pad
        return call_channels_last(lambda x: nnx.avg_pool(x, **window), x, dims)

    @implements("Embedding", ignores=("norm_type",))
    @compiled
    def embedding(
        self, state: State, indices: Any, *, call: JitCall, num_embeddings: int, embedding_dim: int
    ) -> Any:
        """`nnx.Embed`."""
        sizes = {"num_embeddings": num_embeddings, "features": embedding_dim}
        parameters = renamed(state, weight="embedding")
        return make_layer(nnx.Embed, call, parameters, "embedding_init", **sizes)(indices)

    @implements("Dropout", *names_for_dims("Dropout{}d"))
    def dropout(self, state: State, x: Any, *, call: Call, training: bool, p: float = 0.5) -> Any:
        """`nnx.Dropout`; for whole channels the spatial axes share a mask."""
        mask_axes: tuple[int, ...] = ()
        if call.layer != "Dropout":
            dims = spatial_dims(call.layer)
            if x.ndim not in (dims + 1, dims + 2):
                raise Unsupported(f"an input of {x.ndim} axes")
            # Dropout2d takes three axes as (N, C, L), Dropout1d and Dropout3d leave out the batch.
            shared = x.ndim - 2 if call.layer == "Dropout2d" else dims
            mask_axes = tuple(range(-shared, 0))
        layer = nnx.Dropout(p, broadcast_dims=mask_axes, deterministic=not training)
        return layer(x, rngs=jax.random.fold_in(jax.random.key(0), next(self._call_count)))


def _flax_window(dims: int, size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    sizes, strides = pooling_window(dims, size, stride)
    decline_aborting_window(sizes, per_dimension(padding, dims))
    pads = [(p, p) for p in per_dimension(padding, dims)]
    return {"window_shape": sizes, "strides": strides, "padding": pads}
