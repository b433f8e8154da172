"""Keras's normalisations, embedding and dropout.

Layers that take an axis get torch's axis, so no axes move. `BatchNormalization` does not count its
calls, so the adapter counts them.
"""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.keras.parts import called, layer_of, pairs
from conformance.backends.adapters.names import BATCH_NORM_RANKS
from conformance.backends.adapters.shared import State, own_epsilon, ranked
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported, Updated


class Normalization(FunctionBackend):
    """The part of Keras's adapter for norms, embedding and dropout."""

    @implements(*BATCH_NORM_RANKS)
    def batch_norm(
        self, state: State, x: Any, *, call: Call, training: bool, num_features: int,
        eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`BatchNormalization` of the second axis."""
        if momentum is None:
            raise Unsupported("momentum=None")
        ranked(call.layer, x, *BATCH_NORM_RANKS[call.layer])
        given = {"axis": 1, "epsilon": eps, "momentum": 1 - momentum, "scale": affine}
        given["center"] = affine and bias
        shape = (None, num_features, *(None,) * (x.ndim - 2))
        layer = layer_of("BatchNormalization", call.dtype, shape, pairs(given))
        own = [variable.value for variable in layer.trainable_variables]
        weights = [state[n] for n in ("weight", "bias") if n in state] or own
        names = ("running_mean", "running_var")
        kept = [state[n] for n in names if n in state]
        start = kept or [variable.value for variable in layer.non_trainable_variables]
        fresh = training or not track_running_stats
        y, after = layer.stateless_call(weights, start, x, training=fresh)
        if not (training and kept):
            return y
        count = {"num_batches_tracked": state["num_batches_tracked"] + 1}
        return Updated(y, dict(zip(names, after, strict=True)) | count)

    @implements("GroupNorm")
    def group_norm(
        self, state: State, x: Any, *, call: Call, num_groups: int, num_channels: int,
        eps: float = 1e-5, affine: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`GroupNormalization` of the second axis."""
        shape = (None, num_channels, *x.shape[2:])
        return called(
            "GroupNormalization", call.dtype, x, _affine(state), shape=shape, groups=num_groups,
            axis=1, epsilon=eps, scale=affine, center=affine and bias,
        )  # fmt: skip

    @implements("LayerNorm")
    def layer_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any, eps: float = 1e-5,
        elementwise_affine: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`LayerNormalization` of the last axes."""
        axis, shape = _last(normalized_shape, x)
        return called(
            "LayerNormalization", call.dtype, x, _affine(state), shape=shape, axis=axis,
            epsilon=eps, scale=elementwise_affine, center=elementwise_affine and bias,
        )  # fmt: skip

    @implements("RMSNorm")
    def rms_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any, eps: float | None = None
    ) -> Any:
        """`RMSNormalization` of the last axes, which always has a scale."""
        axis, shape = _last(normalized_shape, x)
        epsilon = own_epsilon(call.dtype) if eps is None else eps
        given = {"axis": axis, "epsilon": epsilon}
        return called("RMSNormalization", call.dtype, x, _affine(state), shape=shape, **given)

    @implements("Embedding", ignores=("norm_type",))
    def embedding(
        self, state: State, indices: Any, *, call: Call, num_embeddings: int, embedding_dim: int
    ) -> Any:
        """`Embedding`."""
        sizes = {"input_dim": num_embeddings, "output_dim": embedding_dim}
        weights = [state["weight"]] if state else []
        return called("Embedding", call.dtype, indices, weights, shape=(None,), **sizes)

    @implements("Dropout")
    def dropout(self, state: State, x: Any, *, call: Call, training: bool, p: float = 0.5) -> Any:
        """`Dropout`, whose random generator continues from call to call."""
        return layer_of("Dropout", call.dtype, (None,), (("rate", p),))(x, training=training)


def _affine(state: State) -> list[Any]:
    return [state[name] for name in ("weight", "bias") if name in state]


def _last(sizes: Any, x: Any) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """The last axes, and the shape for `build`: None for all other axes of the input."""
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    leading = (None,) * max(x.ndim - len(sizes), 0)
    return tuple(range(-len(sizes), 0)), (*leading, *sizes)
