"""MLX's normalisations, embedding, dropout and cosine similarity.

`nn.BatchNorm` takes two to four axes, one of them the batch. The running statistics after a call in
train mode are those of the layer; it does not count its calls, which the adapter does.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance.backends.adapters.mlx.parts import State, channels_last, loaded, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported, Updated

_RUNNING = ("running_mean", "running_var")


class Normalization(FunctionBackend):
    """The part of MLX's adapter for norms, embedding, dropout and cosine similarity."""

    @implements(
        "BatchNorm1d", "BatchNorm2d",
        passes=("num_features", "eps", "momentum", "affine", "track_running_stats"),
    )  # fmt: skip
    def batch_norm(
        self, state: State, x: Any, *, call: Call, training: bool, bias: bool = True, **given: Any
    ) -> Any:
        """`nn.BatchNorm`."""
        only(bias=(bias, True))
        if given.get("momentum", 0.1) is None:
            raise Unsupported("momentum=None")
        layer = nn.BatchNorm(**_positive(given)).train(training)
        known = {name: x for name, x in state.items() if name != "num_batches_tracked"}
        _ranked(call, x, (2, 3) if call.layer == "BatchNorm1d" else (4,))
        y = channels_last(loaded(layer, call, known), x)
        if not (training and layer.track_running_stats):
            return y
        after = {name: getattr(layer, name) for name in _RUNNING}
        if "num_batches_tracked" in state:
            after["num_batches_tracked"] = state["num_batches_tracked"] + 1
        return Updated(y, after)

    @implements(
        "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
        passes=("eps", "affine"), ignores=("momentum",),
    )  # fmt: skip
    def instance_norm(
        self, state: State, x: Any, *, call: Call, training: bool, num_features: int,
        track_running_stats: bool = False, bias: bool = True, **given: Any,
    ) -> Any:  # fmt: skip
        """`nn.InstanceNorm`, which keeps no statistics."""
        only(track_running_stats=(track_running_stats, False), bias=(bias, True))
        layer = loaded(nn.InstanceNorm(num_features, **_positive(given)), call, state)
        dims = int(call.layer[-2])
        _ranked(call, x, (dims + 1, dims + 2))
        return channels_last(layer, x, batched=x.ndim == dims + 2)

    @implements("GroupNorm", passes=("num_groups", "eps", "affine"))
    def group_norm(
        self, state: State, x: Any, *, call: Call, num_channels: int, bias: bool = True,
        **given: Any,
    ) -> Any:  # fmt: skip
        """`nn.GroupNorm` in PyTorch's order."""
        only(bias=(bias, True))
        given = {**_positive(given), "dims": num_channels, "pytorch_compatible": True}
        return channels_last(loaded(nn.GroupNorm(**given), call, state), x)

    @implements("LayerNorm", passes=("eps", "bias"))
    def layer_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any,
        elementwise_affine: bool = True, **given: Any,
    ) -> Any:  # fmt: skip
        """`nn.LayerNorm`, of the last axis only."""
        given = {**_positive(given), "affine": elementwise_affine}
        return loaded(nn.LayerNorm(_one(normalized_shape), **given), call, state)(x)

    @implements("RMSNorm")
    def rms_norm(
        self, state: State, x: Any, *, call: Call, normalized_shape: Any,
        eps: float | None = None, elementwise_affine: bool = True,
    ) -> Any:  # fmt: skip
        """`nn.RMSNorm`, of the last axis only; left out, its eps is not the dtype's, but 1e-5."""
        only(elementwise_affine=(elementwise_affine, True))
        return loaded(nn.RMSNorm(_one(normalized_shape), _given(eps)), call, state)(x)

    @implements("functional.layer_norm")
    def functional_layer_norm(
        self, state: State, input: Any, weight: Any = None, bias: Any = None, *,
        normalized_shape: Any, eps: float = 1e-5,
    ) -> Any:  # fmt: skip
        """`mx.fast.layer_norm`, of the last axis only."""
        _fits(normalized_shape, input)
        return mx.fast.layer_norm(input, weight, bias, _given(eps))

    @implements("functional.rms_norm")
    def functional_rms_norm(
        self, state: State, input: Any, weight: Any = None, *, normalized_shape: Any,
        eps: float | None = None,
    ) -> Any:  # fmt: skip
        """`mx.fast.rms_norm`, of the last axis only."""
        _fits(normalized_shape, input)
        return mx.fast.rms_norm(input, weight, _given(eps))

    @implements("Embedding", ignores=("norm_type",))
    def embedding(
        self, state: State, indices: Any, *, call: Call, num_embeddings: int, embedding_dim: int,
        padding_idx: int | None = None, max_norm: float | None = None,
        scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Any:  # fmt: skip
        """`nn.Embedding`."""
        only(padding_idx=(padding_idx, None), max_norm=(max_norm, None))
        only(scale_grad_by_freq=(scale_grad_by_freq, False), sparse=(sparse, False))
        return loaded(nn.Embedding(num_embeddings, embedding_dim), call, state)(indices)

    @implements("functional.embedding", ignores=("norm_type",))
    def functional_embedding(
        self, state: State, input: Any, weight: Any, *, padding_idx: int | None = None,
        max_norm: float | None = None, scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Any:  # fmt: skip
        """`weight[input]`, as `nn.Embedding` has it."""
        only(padding_idx=(padding_idx, None), max_norm=(max_norm, None))
        only(scale_grad_by_freq=(scale_grad_by_freq, False), sparse=(sparse, False))
        return weight[input]

    @implements("Dropout", "Dropout2d", "Dropout3d")
    def dropout(
        self, state: State, x: Any, *, call: Call, training: bool, p: float = 0.5,
        inplace: bool = False,
    ) -> Any:  # fmt: skip
        """`nn.Dropout` and so on, whose p is below 1."""
        only(inplace=(inplace, False))
        if p == 1:
            raise Unsupported("p=1")
        layer = getattr(nn, call.layer)(p).train(training)
        return layer(x) if call.layer == "Dropout" else _dropped_channels(layer, call, x)

    @implements("CosineSimilarity", "functional.cosine_similarity")
    def cosine_similarity(
        self, state: State, x1: Any, x2: Any, *, dim: int = 1, eps: float = 1e-8
    ) -> Any:
        """`nn.losses.cosine_similarity_loss`, which is no loss, of vectors of one shape."""
        x1, x2 = mx.broadcast_arrays(x1, x2)
        return nn.losses.cosine_similarity_loss(x1, x2, axis=dim, eps=eps)


def _dropped_channels(layer: Any, call: Call, x: Any) -> Any:
    """With or without a batch; torch takes three axes for a batch of sequences."""
    dims = int(call.layer[-2])
    if x.ndim not in (dims + 1, dims + 2) or x.ndim == 3:
        raise Unsupported(f"an input of {x.ndim} axes")
    return channels_last(layer, x, batched=x.ndim == dims + 2)


def _ranked(call: Call, x: Any, ranks: tuple[int, ...]) -> None:
    """MLX has one class for all ranks, which the layer's name decides here.

    Raises:
        ValueError: for an input of another.
    """
    if x.ndim not in ranks:
        raise ValueError(f"{call.layer}: an input of {x.ndim} axes")


def _positive(given: dict[str, Any]) -> dict[str, Any]:
    """MLX refuses an eps of 0, which torch takes."""
    if given.get("eps") == 0:
        raise Unsupported("eps=0")
    return given


def _given(eps: float | None) -> float:
    if eps is None or eps == 0:
        raise Unsupported(f"eps={eps!r}")
    return eps


def _one(shape: Any) -> int:
    """The last axis's size, of which alone MLX's are."""
    if isinstance(shape, int):
        return shape
    if len(shape) != 1:
        raise Unsupported("normalized_shape of several axes")
    return int(shape[0])


def _fits(shape: Any, x: Any) -> None:
    """MLX's functions are not told the size of the last axis."""
    size = _one(shape)
    if x.ndim == 0 or x.shape[-1] != size:
        raise ValueError(f"normalized_shape={shape!r}: the input is of shape {x.shape}")
