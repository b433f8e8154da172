"""Flax: the layers of `flax.nnx` on the CPU, compiled by `jax.jit`.

Flax expects channels last, so the adapter moves axes. Its recurrent layers have one layer and one
direction; all else is Unsupported. Where torch adds two biases, Flax has one, which gets their sum.
Its activations are those of `jax.nn`. It has no functions with weights and no losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import nnx

from conformance.backends.adapters.flax.attention import Attention
from conformance.backends.adapters.flax.normalization import Normalization
from conformance.backends.adapters.flax.parts import call_channels_last, make_layer, renamed
from conformance.backends.adapters.flax.recurrent import Recurrent
from conformance.backends.adapters.flax.windows import Windows
from conformance.backends.adapters.jax.parts import JaxBackend, JitCall, compiled
from conformance.backends.adapters.names import names_for_dims, spatial_dims
from conformance.backends.adapters.shared import State
from conformance.backends.adapters.windows import PADDING_MODES, kernel_reaches, per_dimension
from conformance.backends.function import implements
from conformance.model.case import Unsupported


class Flax(JaxBackend, Attention, Normalization, Recurrent, Windows):
    """Flax's NNX on the CPU."""

    name = "flax"
    # nnx.Conv accepts 'SAME' with any stride. nnx.Embed returns NaN for an index that is too large,
    # and counts a negative one from the end. All axes of a cell's input but the last are its batch.
    # jax.nn.one_hot returns zeros for a class out of range.
    accepts = (
        "'same' with a stride", "input not below num_embeddings", "input below 0",
        "input of another rank", "negative class", "class beyond num_classes",
    )  # fmt: skip

    def info(self) -> Mapping[str, str]:
        """The versions of Flax and JAX."""
        return {"flax": flax.__version__, "jax": jax.__version__}

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Decline complex dtypes, in which this adapter does not use Flax's layers."""
        return super().offers(layer, dtype, device) and not dtype.startswith("complex")

    @implements("Linear", ignores=())
    @compiled
    def linear(
        self, state: State, x: Any, *, call: JitCall, in_features: int, out_features: int,
        bias: bool = True,
    ) -> Any:  # fmt: skip
        """`nnx.Linear`, whose kernel is (in, out)."""
        parameters = renamed(state, bias="bias")
        if state:
            parameters["kernel"] = state["weight"].T
        sizes = {"in_features": in_features, "out_features": out_features, "use_bias": bias}
        return make_layer(nnx.Linear, call, parameters, "kernel_init", **sizes)(x)

    @implements(*names_for_dims("Conv{}d"))
    @compiled
    def conv(
        self, state: State, x: Any, *, call: JitCall, in_channels: int, out_channels: int,
        kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros",
    ) -> Any:  # fmt: skip
        """`nnx.Conv`, whose kernel is (…, in, out)."""
        dims = spatial_dims(call.layer)
        sizes, dilations = per_dimension(kernel_size, dims), per_dimension(dilation, dims)
        layer = make_layer(
            nnx.Conv, call, _flax_kernel(state), "kernel_init", in_features=in_channels,
            out_features=out_channels, kernel_size=sizes, strides=per_dimension(stride, dims),
            padding=_flax_padding(padding, padding_mode, kernel_reaches(dilations, sizes)),
            kernel_dilation=dilations, feature_group_count=groups, use_bias=bias,
        )  # fmt: skip
        return call_channels_last(layer, x, dims)

    @implements(*names_for_dims("ConvTranspose{}d"))
    @compiled
    def conv_transpose(
        self, state: State, x: Any, *, call: JitCall, in_channels: int, out_channels: int,
        kernel_size: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
        groups: int = 1, bias: bool = True, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        """`nnx.ConvTranspose`, whose documentation translates torch's padding into its own."""
        if groups != 1:
            raise Unsupported("groups>1")
        dims = spatial_dims(call.layer)
        options = (kernel_size, stride, dilation, padding, output_padding)
        sizes, strides, dilations, pads, extras = (per_dimension(value, dims) for value in options)
        pads_by_axis = zip(kernel_reaches(dilations, sizes), pads, extras, strict=True)
        layer = make_layer(
            nnx.ConvTranspose, call, _flax_kernel(state), "kernel_init", in_features=in_channels,
            out_features=out_channels, kernel_size=sizes, strides=strides,
            padding=[(reach - p, reach - p + extra) for reach, p, extra in pads_by_axis],
            kernel_dilation=dilations, use_bias=bias, transpose_kernel=True,
        )  # fmt: skip
        return call_channels_last(layer, x, dims)

    @implements("PReLU")
    @compiled
    def prelu(
        self, state: State, x: Any, *, call: JitCall, num_parameters: int = 1, init: float = 0.25
    ) -> Any:
        """`nnx.PReLU`, which has one slope."""
        if num_parameters != 1:
            raise Unsupported(f"num_parameters={num_parameters}")
        layer = nnx.PReLU(init, param_dtype=jnp.dtype(call.dtype))
        if state:
            layer.negative_slope = nnx.Param(state["weight"].reshape(()))
        return layer(x)


backend = Flax()


def _flax_kernel(state: State) -> dict[str, Any]:
    """Move the first two axes of torch's kernel to the end, swapped; transposed kernels as well."""
    if not state:
        return {}
    return {
        "kernel": jnp.moveaxis(state["weight"], (0, 1), (-1, -2)),
        **renamed(state, bias="bias"),
    }


def _flax_padding(padding: Any, mode: str, reaches: list[int]) -> Any:
    """Translate torch's padding to Flax's, whose other modes than zeros always keep the size.

    Raises:
        ValueError: for a word that torch does not have, such as Flax's own "causal".
    """
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise ValueError(f"padding={padding!r}")
    if mode not in ("zeros", *PADDING_MODES):
        raise ValueError(f"padding_mode={mode!r}")
    total_padding = (
        [2 * p for p in per_dimension(padding, len(reaches))]
        if not isinstance(padding, str)
        else reaches
    )
    if mode == "zeros" or padding == "valid" or not any(total_padding):
        return (
            padding.upper()
            if isinstance(padding, str)
            else [(p // 2, p // 2) for p in total_padding]
        )
    if mode not in ("circular", "reflect") or total_padding != reaches:
        raise Unsupported(f"padding_mode={mode!r}, padding={padding!r}")
    return mode.upper()
