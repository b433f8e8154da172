"""Flax's normalisations, with the two-pass variance of `use_fast_variance=False`.

The documentation calls the default formula, E[x²] − E[x]², "less numerically stable": it loses all
digits where the mean is large compared with the deviation.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.flax.parts import call_channels_last, make_layer, renamed
from conformance.backends.adapters.jax.parts import JitCall, compiled
from conformance.backends.adapters.names import BATCH_NORM_RANKS, names_for_dims
from conformance.backends.adapters.shared import State, check_rank, default_epsilon
from conformance.backends.adapters.windows import call_spatial
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Unsupported, Updated


class Normalization(FunctionBackend):
    """The part of Flax's adapter for norms."""

    @implements(*BATCH_NORM_RANKS)
    def batch_norm(
        self, state: State, x: Any, *, call: Any, training: bool, num_features: int,
        eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.BatchNorm`, which does not count its calls; the adapter does."""
        if momentum is None:
            raise Unsupported("momentum=None")
        y, statistics = self._batch_norm(
            {name: array for name, array in state.items() if name != "num_batches_tracked"}, x,
            call=call, num_features=num_features, eps=eps, momentum=momentum,
            scale=affine, bias=affine and bias, use_running=track_running_stats and not training,
        )  # fmt: skip
        if not (training and track_running_stats and state):
            return y
        return Updated(y, {**statistics, "num_batches_tracked": state["num_batches_tracked"] + 1})

    @compiled
    def _batch_norm(
        self, state: State, x: Any, *, call: JitCall, num_features: int, eps: float,
        momentum: float, scale: bool, bias: bool, use_running: bool,
    ) -> Any:  # fmt: skip
        check_rank(call.layer, x, *BATCH_NORM_RANKS[call.layer])
        names = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
        layer = make_layer(
            nnx.BatchNorm, call, renamed(state, **names), num_features=num_features, epsilon=eps,
            momentum=1 - momentum, axis=1, use_scale=scale, use_bias=bias,
            use_running_average=use_running, dtype=jnp.dtype(call.dtype), use_fast_variance=False,
        )  # fmt: skip
        y = layer(x)
        dtype = jnp.dtype(call.dtype)
        statistics = {"running_mean": layer.mean[...], "running_var": layer.var[...]}
        return y, {name: array.astype(dtype) for name, array in statistics.items()}

    @implements(*names_for_dims("InstanceNorm{}d"), ignores=("momentum",))
    @compiled
    def instance_norm(
        self, state: State, x: Any, *, call: JitCall, num_features: int, eps: float = 1e-5,
        affine: bool = False, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.InstanceNorm`, which keeps no statistics and has a batch."""
        layer = make_layer(
            nnx.InstanceNorm, call, renamed(state, weight="scale", bias="bias"),
            num_features=num_features, epsilon=eps, use_scale=affine, use_bias=affine and bias,
            feature_axes=1, dtype=jnp.dtype(call.dtype), use_fast_variance=False,
        )  # fmt: skip
        return call_spatial(layer, call.layer, x)

    @implements("GroupNorm")
    @compiled
    def group_norm(
        self, state: State, x: Any, *, call: JitCall, num_groups: int, num_channels: int,
        eps: float = 1e-5, affine: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.GroupNorm`."""
        layer = make_layer(
            nnx.GroupNorm, call, renamed(state, weight="scale", bias="bias"),
            num_features=num_channels, num_groups=num_groups, epsilon=eps, use_scale=affine,
            use_bias=affine and bias, dtype=jnp.dtype(call.dtype), use_fast_variance=False,
        )  # fmt: skip
        return call_channels_last(layer, x, x.ndim - 2)

    @implements("LayerNorm")
    @compiled
    def layer_norm(
        self, state: State, x: Any, *, call: JitCall, normalized_shape: Any, eps: float = 1e-5,
        elementwise_affine: bool = True, bias: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.LayerNorm` of the last axes."""
        axes = _last_axes(normalized_shape)
        layer = make_layer(
            nnx.LayerNorm, call, renamed(state, weight="scale", bias="bias"), epsilon=eps,
            use_scale=elementwise_affine, use_bias=elementwise_affine and bias, **axes,
            dtype=jnp.dtype(call.dtype), use_fast_variance=False,
        )  # fmt: skip
        return layer(x)

    @implements("RMSNorm")
    @compiled
    def rms_norm(
        self, state: State, x: Any, *, call: JitCall, normalized_shape: Any,
        eps: float | None = None, elementwise_affine: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.RMSNorm` of the last axes."""
        epsilon = default_epsilon(call.dtype) if eps is None else eps
        layer = make_layer(
            nnx.RMSNorm, call, renamed(state, weight="scale"), epsilon=epsilon,
            use_scale=elementwise_affine, **_last_axes(normalized_shape),
            dtype=jnp.dtype(call.dtype), use_fast_variance=False,
        )  # fmt: skip
        return layer(x)


def _last_axes(shape: Any) -> dict[str, Any]:
    """Flax's arguments for a norm over the last axes, for both statistics and weights."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    axes = tuple(range(-len(sizes), 0))
    return {"num_features": math.prod(sizes), "reduction_axes": axes, "feature_axes": axes}
