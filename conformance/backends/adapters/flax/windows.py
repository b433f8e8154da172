"""Flax's pooling, embedding and dropout."""

from __future__ import annotations

from itertools import count
from typing import Any

import jax
from flax import nnx

from conformance.backends.adapters.flax.parts import channels_last, made, named
from conformance.backends.adapters.jax.parts import Asked, State, compiled, each, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported


class Windows(FunctionBackend):
    """The part of Flax's adapter for pooling, embedding and dropout."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._calls = count()

    @implements(
        "MaxPool1d", "MaxPool2d", "MaxPool3d", "functional.max_pool1d", "functional.max_pool2d",
        "functional.max_pool3d",
    )  # fmt: skip
    @compiled
    def max_pool(
        self, state: State, x: Any, *, call: Asked, kernel_size: Any, stride: Any = None,
        padding: Any = 0, dilation: Any = 1, return_indices: bool = False, ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        """`nnx.max_pool`."""
        only(return_indices=(return_indices, False), ceil_mode=(ceil_mode, False))
        dims = int(call.layer[-2])
        only(dilation=(each(dilation, dims), (1,) * dims))
        given = _window(dims, kernel_size, stride, padding)
        return channels_last(lambda x: nnx.max_pool(x, **given), x, dims)

    @implements(
        "AvgPool1d", "AvgPool2d", "AvgPool3d", "functional.avg_pool1d", "functional.avg_pool2d",
        "functional.avg_pool3d",
    )  # fmt: skip
    @compiled
    def avg_pool(
        self, state: State, x: Any, *, call: Asked, kernel_size: Any, stride: Any = None,
        padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:  # fmt: skip
        """`nnx.avg_pool`."""
        only(ceil_mode=(ceil_mode, False), divisor_override=(divisor_override, None))
        dims = int(call.layer[-2])
        given = _window(dims, kernel_size, stride, padding)
        given["count_include_pad"] = count_include_pad
        return channels_last(lambda x: nnx.avg_pool(x, **given), x, dims)

    @implements("Embedding", ignores=("norm_type",))
    @compiled
    def embedding(
        self, state: State, indices: Any, *, call: Asked, num_embeddings: int, embedding_dim: int,
        padding_idx: int | None = None, max_norm: float | None = None,
        scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Any:  # fmt: skip
        """`nnx.Embed`."""
        only(padding_idx=(padding_idx, None), max_norm=(max_norm, None))
        only(scale_grad_by_freq=(scale_grad_by_freq, False), sparse=(sparse, False))
        sizes = {"num_embeddings": num_embeddings, "features": embedding_dim}
        given = named(state, weight="embedding")
        return made(nnx.Embed, call, given, "embedding_init", **sizes)(indices)

    @implements("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")
    def dropout(
        self, state: State, x: Any, *, call: Call, training: bool, p: float = 0.5,
        inplace: bool = False,
    ) -> Any:  # fmt: skip
        """`nnx.Dropout`, of whole channels where the axes behind them share a mask."""
        only(inplace=(inplace, False))
        shared: tuple[int, ...] = ()
        if call.layer != "Dropout":
            dims = int(call.layer[-2])
            if x.ndim not in (dims + 1, dims + 2):
                raise Unsupported(f"an input of {x.ndim} axes")
            shared = tuple(range(-dims, 0))
        layer = nnx.Dropout(p, broadcast_dims=shared, deterministic=not training)
        return layer(x, rngs=jax.random.fold_in(jax.random.key(0), next(self._calls)))


def _window(dims: int, size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    sizes = each(size, dims)
    strides = sizes if stride is None else each(stride, dims)
    pads = [(p, p) for p in each(padding, dims)]
    return {"window_shape": sizes, "strides": strides, "padding": pads}
