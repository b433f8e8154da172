"""Keras's normalisations, embedding and dropout.

Layers that take an axis get torch's axis, so no axes move. `BatchNormalization` does not count its
calls, so the adapter counts them.
"""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.keras.parts import argument_pairs, build_layer, call_layer
from conformance.backends.adapters.names import BATCH_NORM_RANKS
from conformance.backends.adapters.shared import State, check_rank, default_epsilon
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
        check_rank(call.layer, x, *BATCH_NORM_RANKS[call.layer])
        arguments = {"axis": 1, "epsilon": eps, "momentum": 1 - momentum, "scale": affine}
        arguments["center"] = affine and bias
        shape = (None, num_features, *(None,) * (x.ndim - 2))
        layer = build_layer("BatchNormalization", call.dtype, shape, argument_pairs(arguments))
        initial_weights = [variable.value for variable in layer.trainable_variables]
        weights = [state[n] for n in ("weight", "bias") if n in state] or initial_weights
        names = ("running_mean", "running_var")
        statistics = [state[n] for n in names if n in state]
        initial_statistics = statistics or [
            variable.value for variable in layer.non_trainable_variables
        ]
        use_batch_statistics = training or not track_running_stats
        y, new_statistics = layer.stateless_call(
            weights, initial_statistics, x, training=use_batch_statistics
        )
        if not (training and statistics):
            return y
        count = {"num_batches_tracked": state["num_batches_tracked"] + 1}
        return Updated(y, dict(zip(names, new_statistics, strict=True)) | count)

    @implements("GroupNorm")
    def group_norm(
        self, state: State, x: Any, *, call: Call, num_groups: int, num_channels: int,
        eps: float = 1e-5, affine: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`GroupNormalization` of the second axis."""
        shape = (None, num_channels, *x.shape[2:])
        return call_layer(
            "GroupNormalization", call.dtype, x, _weights(state), shape=shape, groups=num_groups,
            axis=1, epsilon=eps, scale=affine, center=affine and bias,
        )  # fmt: skip

    @implements("LayerNorm")
    def layer_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any, eps: float = 1e-5,
        elementwise_affine: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`LayerNormalization` of the last axes."""
        axis, shape = _last_axes(normalized_shape, x)
        return call_layer(
            "LayerNormalization", call.dtype, x, _weights(state), shape=shape, axis=axis,
            epsilon=eps, scale=elementwise_affine, center=elementwise_affine and bias,
        )  # fmt: skip

    @implements("RMSNorm")
    def rms_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any, eps: float | None = None
    ) -> Any:
        """`RMSNormalization` of the last axes, which always has a scale."""
        axis, shape = _last_axes(normalized_shape, x)
        epsilon = default_epsilon(call.dtype) if eps is None else eps
        arguments = {"axis": axis, "epsilon": epsilon}
        return call_layer(
            "RMSNormalization", call.dtype, x, _weights(state), shape=shape, **arguments
        )

    @implements("Embedding", ignores=("norm_type",))
    def embedding(
        self, state: State, indices: Any, *, call: Call, num_embeddings: int, embedding_dim: int
    ) -> Any:
        """`Embedding`, built for any shape of indices; without a state it keeps its own weight."""
        sizes = {"input_dim": num_embeddings, "output_dim": embedding_dim}
        weights = [state["weight"]] if state else []
        return call_layer("Embedding", call.dtype, indices, weights, shape=(None,), **sizes)

    @implements("Dropout")
    def dropout(self, state: State, x: Any, *, call: Call, training: bool, p: float = 0.5) -> Any:
        """`Dropout`, whose random generator continues from call to call."""
        return build_layer("Dropout", call.dtype, (None,), (("rate", p),))(x, training=training)


def _weights(state: State) -> list[Any]:
    return [state[name] for name in ("weight", "bias") if name in state]


def _last_axes(sizes: Any, x: Any) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    """The last axes, and the shape for `build`: None for all other axes of the input."""
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    leading = (None,) * max(x.ndim - len(sizes), 0)
    return tuple(range(-len(sizes), 0)), (*leading, *sizes)
