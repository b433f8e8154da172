"""MLX's normalisations, embedding, dropout and cosine similarity.

`nn.BatchNorm` takes two to four axes, one of them the batch. The adapter reads the running
statistics from the layer after a call in train mode. The layer does not count its calls, so the
adapter counts them.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance.backends.adapters.mlx.parts import call_spatial_last, load_state
from conformance.backends.adapters.names import BATCH_NORM_RANKS, names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State, check_rank
from conformance.backends.adapters.windows import call_channels_last
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported, Updated

_STATISTICS = ("running_mean", "running_var")


class Normalization(FunctionBackend):
    """The part of MLX's adapter for norms, embedding, dropout and cosine similarity."""

    @implements(
        "BatchNorm1d", "BatchNorm2d",
        passes=("num_features", "eps", "momentum", "affine", "track_running_stats"),
    )  # fmt: skip
    def batch_norm(
        self, state: State, x: Any, *, call: Call, training: bool, **arguments: Any
    ) -> Any:
        """`nn.BatchNorm`."""
        if arguments.get("momentum", 0.1) is None:
            raise Unsupported("momentum=None")
        layer = nn.BatchNorm(**_require_positive_eps(arguments)).train(training)
        mlx_state = {name: x for name, x in state.items() if name != "num_batches_tracked"}
        check_rank(call.layer, x, *BATCH_NORM_RANKS[call.layer])
        y = call_channels_last(load_state(layer, call, mlx_state), x, mx.moveaxis)
        if not (training and layer.track_running_stats):
            return y
        updates = {name: getattr(layer, name) for name in _STATISTICS}
        if "num_batches_tracked" in state:
            updates["num_batches_tracked"] = state["num_batches_tracked"] + 1
        return Updated(y, updates)

    @implements(*names_for_dims("InstanceNorm{}d"), passes=("eps", "affine"), ignores=("momentum",))
    def instance_norm(
        self,
        state: State,
        x: Any,
        *,
        call: Call,
        training: bool,
        num_features: int,
        **arguments: Any,
    ) -> Any:
        """`nn.InstanceNorm`, which keeps no statistics."""
        layer = load_state(
            nn.InstanceNorm(num_features, **_require_positive_eps(arguments)), call, state
        )
        return call_spatial_last(layer, call.layer, x)

    @implements("GroupNorm", passes=("num_groups", "eps", "affine"))
    def group_norm(
        self, state: State, x: Any, *, call: Call, num_channels: int, **arguments: Any
    ) -> Any:
        """`nn.GroupNorm` in PyTorch's order."""
        arguments = {
            **_require_positive_eps(arguments),
            "dims": num_channels,
            "pytorch_compatible": True,
        }
        return call_channels_last(
            load_state(nn.GroupNorm(**arguments), call, state), x, mx.moveaxis
        )

    @implements("LayerNorm", passes=("eps", "bias"))
    def layer_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any,
        elementwise_affine: bool = True, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.LayerNorm`, of the last axis only."""
        arguments = {**_require_positive_eps(arguments), "affine": elementwise_affine}
        return load_state(nn.LayerNorm(_single_size(normalized_shape), **arguments), call, state)(x)

    @implements("RMSNorm")
    def rms_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any, eps: float | None = None
    ) -> Any:
        """`nn.RMSNorm` of the last axis only; its default eps is 1e-5, and not the dtype's."""
        return load_state(
            nn.RMSNorm(_single_size(normalized_shape), _require_eps(eps)), call, state
        )(x)

    @implements("functional.layer_norm")
    def functional_layer_norm(
        self, state: State, input: Any, weight: Any = None, bias: Any = None, *,
        normalized_shape: Any, eps: float = 1e-5,
    ) -> Any:  # fmt: skip
        """`mx.fast_gelu.layer_norm`, of the last axis only."""
        _check_shape(normalized_shape, input)
        return mx.fast.layer_norm(input, weight, bias, _require_eps(eps))

    @implements("functional.rms_norm")
    def functional_rms_norm(
        self, state: State, input: Any, weight: Any = None, *, normalized_shape: Any,
        eps: float | None = None,
    ) -> Any:  # fmt: skip
        """`mx.fast_gelu.rms_norm`, of the last axis only."""
        _check_shape(normalized_shape, input)
        return mx.fast.rms_norm(input, weight, _require_eps(eps))

    @implements("Embedding", ignores=("norm_type",))
    def embedding(
        self, state: State, indices: Any, *, call: Call, num_embeddings: int, embedding_dim: int
    ) -> Any:
        """`nn.Embedding`."""
        return load_state(nn.Embedding(num_embeddings, embedding_dim), call, state)(indices)

    @implements("functional.embedding", ignores=("norm_type",))
    def functional_embedding(self, state: State, input: Any, weight: Any) -> Any:
        """`weight[input]`, which `nn.Embedding` computes as well."""
        return weight[input]

    @implements("Dropout", "Dropout2d", "Dropout3d")
    def dropout(self, state: State, x: Any, *, call: Call, training: bool, p: float = 0.5) -> Any:
        """`nn.Dropout` and so on, whose p is below 1."""
        if p == 1:
            raise Unsupported("p=1")
        layer = getattr(nn, call.layer)(p).train(training)
        if call.layer == "Dropout":
            return layer(x)
        if (
            x.ndim not in (spatial_dims(call.layer) + 1, spatial_dims(call.layer) + 2)
            or x.ndim == 3
        ):
            raise Unsupported(f"an input of {x.ndim} axes")  # torch takes three axes as a batch
        return call_spatial_last(layer, call.layer, x)

    @implements("CosineSimilarity", "functional.cosine_similarity")
    def cosine_similarity(
        self, state: State, x1: Any, x2: Any, *, dim: int = 1, eps: float = 1e-8
    ) -> Any:
        """`nn.losses.cosine_similarity_loss`, which is a similarity, of vectors of one shape."""
        x1, x2 = mx.broadcast_arrays(x1, x2)
        return nn.losses.cosine_similarity_loss(x1, x2, axis=dim, eps=eps)


def _require_positive_eps(arguments: dict[str, Any]) -> dict[str, Any]:
    """Decline an eps of 0, which torch accepts and MLX refuses."""
    if arguments.get("eps") == 0:
        raise Unsupported("eps=0")
    return arguments


def _require_eps(eps: float | None) -> float:
    if eps is None or eps == 0:
        raise Unsupported(f"eps={eps!r}")
    return eps


def _single_size(shape: Any) -> int:
    """The size of the last axis; MLX normalises only one axis."""
    if isinstance(shape, int):
        return shape
    if len(shape) != 1:
        raise Unsupported("normalized_shape of several axes")
    return int(shape[0])


def _check_shape(shape: Any, x: Any) -> None:
    """Refuse an input of another size, because MLX's functions do not take `normalized_shape`."""
    size = _single_size(shape)
    if x.ndim == 0 or x.shape[-1] != size:
        raise ValueError(f"normalized_shape={shape!r}: the input is of shape {x.shape}")
