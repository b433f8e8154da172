"""tinygrad's normalisations and dropout.

`nn.BatchNorm` is one class for all ranks. Train mode is tinygrad's context variable `TRAINING`. The
adapter reads the running statistics from the layer after a call in train mode.
"""

from __future__ import annotations

from typing import Any

from tinygrad import nn
from tinygrad.helpers import Context

from conformance.backends.adapters.names import BATCH_NORM_RANKS, names_for_dims
from conformance.backends.adapters.shared import State, check_rank
from conformance.backends.adapters.tinygrad.parts import make_layer
from conformance.backends.adapters.windows import call_spatial
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported, Updated

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Normalization(FunctionBackend):
    """The part of tinygrad's adapter for norms and dropout."""

    @implements(*BATCH_NORM_RANKS, passes=("eps", "affine"))
    def batch_norm(
        self, state: State, x: Any, *, call: Call, training: bool, num_features: int,
        momentum: float | None = 0.1, track_running_stats: bool = True, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.BatchNorm`."""
        if momentum is None:
            raise Unsupported("momentum=None")
        check_rank(call.layer, x, *BATCH_NORM_RANKS[call.layer])
        arguments |= {"momentum": momentum, "track_running_stats": track_running_stats}
        # The layer writes into its statistics.
        copied_state = {n: s.clone().realize() if n in _STATISTICS else s for n, s in state.items()}
        layer = make_layer(lambda: nn.BatchNorm(num_features, **arguments), copied_state)
        with Context(TRAINING=int(training)):
            y = layer(x)
        updates = {name: getattr(layer, name) for name in _STATISTICS if name in state}
        return Updated(y, updates) if training and track_running_stats else y

    @implements(*names_for_dims("InstanceNorm{}d"), passes=("eps",), ignores=("momentum",))
    def instance_norm(
        self, state: State, x: Any, *, call: Call, training: bool, num_features: int,
        affine: bool = False, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.InstanceNorm`, which keeps no statistics, and is affine by default."""
        layer = make_layer(lambda: nn.InstanceNorm(num_features, affine=affine, **arguments), state)
        return call_spatial(layer, call.layer, x)

    @implements("GroupNorm", passes=("num_groups", "num_channels", "eps", "affine"))
    def group_norm(self, state: State, x: Any, **arguments: Any) -> Any:
        """`nn.GroupNorm`."""
        return make_layer(lambda: nn.GroupNorm(**arguments), state)(x)

    @implements("LayerNorm", passes=("eps", "elementwise_affine"))
    def layer_norm(self, state: State, x: Any, *, normalized_shape: Any, **arguments: Any) -> Any:
        """`nn.LayerNorm`, of one axis or several."""
        shape = normalized_shape if isinstance(normalized_shape, int) else tuple(normalized_shape)
        return make_layer(lambda: nn.LayerNorm(shape, **arguments), state)(x)

    @implements("RMSNorm", passes=("elementwise_affine",))
    def rms_norm(
        self,
        state: State,
        x: Any,
        *,
        normalized_shape: Any,
        eps: float | None = None,
        **arguments: Any,
    ) -> Any:
        """`nn.RMSNorm` of the last axis; its default eps is 1e-6, and not the dtype's."""
        if eps is None:
            raise Unsupported("eps=None")
        sizes = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
        if len(sizes) != 1:
            raise Unsupported("normalized_shape of several axes")
        if x.shape[-1:] != tuple(sizes):
            # tinygrad's layer knows the size only from its weight.
            raise ValueError(f"normalized_shape={sizes}: the input is of shape {x.shape}")
        return make_layer(lambda: nn.RMSNorm(sizes[0], eps=eps, **arguments), state)(x)

    @implements("functional.normalize")
    def normalize(
        self, state: State, input: Any, *, p: float = 2.0, dim: int = 1, eps: float = 1e-12
    ) -> Any:
        """`Tensor.normalize`."""
        return input.normalize(p, dim, eps)

    @implements("Dropout", "functional.dropout")
    def dropout(self, state: State, x: Any, *, p: float = 0.5, training: bool = True) -> Any:
        """`Tensor.dropout` in train mode."""
        with Context(TRAINING=int(training)):
            return x.dropout(p)
