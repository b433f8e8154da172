"""Flax's pooling, embedding and dropout."""

from __future__ import annotations

from itertools import count
from typing import Any

import jax
from flax import nnx

from conformance.backends.adapters.flax.parts import channels_last, made, named
from conformance.backends.adapters.jax.parts import Asked, compiled
from conformance.backends.adapters.names import dims_of, of_ranks
from conformance.backends.adapters.shared import State, only
from conformance.backends.adapters.windows import each, windows
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported


class Windows(FunctionBackend):
    """The part of Flax's adapter for pooling, embedding and dropout."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._calls = count()

    @implements(*of_ranks("MaxPool{}d", "functional.max_pool{}d"))
    @compiled
    def max_pool(
        self, state: State, x: Any, *, call: Asked, kernel_size: Any, stride: Any = None,
        padding: Any = 0, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        """`nnx.max_pool`."""
        dims = dims_of(call.layer)
        only(dilation=(each(dilation, dims), (1,) * dims))
        given = _window(dims, kernel_size, stride, padding)
        return channels_last(lambda x: nnx.max_pool(x, **given), x, dims)

    @implements(*of_ranks("AvgPool{}d", "functional.avg_pool{}d"))
    @compiled
    def avg_pool(
        self, state: State, x: Any, *, call: Asked, kernel_size: Any, stride: Any = None,
        padding: Any = 0, count_include_pad: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.avg_pool`."""
        dims = dims_of(call.layer)
        given = _window(dims, kernel_size, stride, padding)
        given["count_include_pad"] = count_include_pad
        return channels_last(lambda x: nnx.avg_pool(x, **given), x, dims)

    @implements("Embedding", ignores=("norm_type",))
    @compiled
    def embedding(
        self, state: State, indices: Any, *, call: Asked, num_embeddings: int, embedding_dim: int
    ) -> Any:
        """`nnx.Embed`."""
        sizes = {"num_embeddings": num_embeddings, "features": embedding_dim}
        given = named(state, weight="embedding")
        return made(nnx.Embed, call, given, "embedding_init", **sizes)(indices)

    @implements("Dropout", *of_ranks("Dropout{}d"))
    def dropout(self, state: State, x: Any, *, call: Call, training: bool, p: float = 0.5) -> Any:
        """`nnx.Dropout`; for whole channels the spatial axes share a mask."""
        shared: tuple[int, ...] = ()
        if call.layer != "Dropout":
            dims = dims_of(call.layer)
            if x.ndim not in (dims + 1, dims + 2):
                raise Unsupported(f"an input of {x.ndim} axes")
            shared = tuple(range(-dims, 0))
        layer = nnx.Dropout(p, broadcast_dims=shared, deterministic=not training)
        return layer(x, rngs=jax.random.fold_in(jax.random.key(0), next(self._calls)))


def _window(dims: int, size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    sizes, strides = windows(dims, size, stride)
    pads = [(p, p) for p in each(padding, dims)]
    return {"window_shape": sizes, "strides": strides, "padding": pads}
