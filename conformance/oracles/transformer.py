"""Layers of a transformer, their stacks, and the whole transformer.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page and of its `forward`. A query that attends to nothing has 0 or NaN
as weighted value, as in MultiheadAttention. An output row of a layer depends only on its own query,
so that row has two right values.

In half precision each step is stored: projections, attention, both products of the feed-forward
network, the activation, each sum with the residual, each norm. A norm makes exact numbers inexact;
where all values within its bound round to one number, storing makes them exact (`stored_or_exact`).

Sources: the pages torch.nn.TransformerEncoderLayer, TransformerDecoderLayer, TransformerEncoder,
TransformerDecoder and Transformer of the PyTorch documentation. The order of residual and norm is
that of figure 1 in Xiong et al., *On Layer Normalization in the Transformer Architecture* (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.half_precision import stored_or_exact
from conformance.arithmetic.rounded import Rounded, choose
from conformance.model.case import Updated
from conformance.oracles.activation.elementwise import relu, relu6
from conformance.oracles.activation.smooth import gelu, silu
from conformance.oracles.attention.multihead import is_causal_mask, multihead_attention, project
from conformance.oracles.normalization.batch_and_layer import wide_layer_norm

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Module = tuple[str, Sequence[tuple[str, Any]]]
ACTIVATIONS: Mapping[str, Callable[..., Rounded | Choices | Updated]] = {
    "relu": relu, "gelu": gelu, "relu6": relu6, "silu": silu,
}  # fmt: skip


@dataclass(frozen=True)
class LayerArguments:
    """The documented arguments of a layer, shared by encoder and decoder layers."""

    d_model: int
    nhead: int
    dim_feedforward: int = 2048
    dropout: float = 0.1
    activation: str = "functional.relu"
    layer_norm_eps: float = 1e-5
    batch_first: bool = False
    norm_first: bool = False
    bias: bool = True


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention of a layer.

    Args:
        name: prefix of its tensors in the state.
        mask: (L, S) or (N·heads, L, S); None = no mask.
        padding: (N, S); None = no mask.
        is_causal: the hint that the mask is the causal one.
        memory: keys and values; None = the queries.
    """

    name: str
    mask: Rounded | None
    padding: Rounded | None
    is_causal: bool
    memory: Rounded | None = None

    def apply(self, layer_arguments: LayerArguments, state: State, x: Rounded) -> Rounded | Choices:
        """The attention's output; `Choices` if some query attends to nothing."""
        key = x if self.memory is None else self.memory
        output, _ = multihead_attention(
            substate(state, self.name),
            x,
            key,
            key,
            self.padding,
            self.mask,
            embed_dim=layer_arguments.d_model,
            num_heads=layer_arguments.nhead,
            bias=layer_arguments.bias,
            batch_first=layer_arguments.batch_first,
            need_weights=False,
            is_causal=self.is_causal,
        )
        return output


def substate(state: State, name: str) -> dict[str, Rounded]:
    """The state of a submodule, with the submodule's own names."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}


def transformer_encoder_layer(
    state: State,
    src: Rounded,
    src_mask: Rounded | None = None,
    src_key_padding_mask: Rounded | None = None,
    *,
    is_causal: bool = False,
    **arguments: Any,
) -> Rounded | Choices:
    """norm2(y + ff(y)), y = norm1(x + attention(x)); with norm_first y + ff(norm2(y)), and so
    on.
    """
    self_attention = Attention("self_attn", src_mask, src_key_padding_mask, is_causal)
    return _layer(LayerArguments(**arguments), state, src, (self_attention,))


def transformer_decoder_layer(
    state: State,
    tgt: Rounded,
    memory: Rounded,
    tgt_mask: Rounded | None = None,
    memory_mask: Rounded | None = None,
    tgt_key_padding_mask: Rounded | None = None,
    memory_key_padding_mask: Rounded | None = None,
    *,
    tgt_is_causal: bool = False,
    memory_is_causal: bool = False,
    **arguments: Any,
) -> Rounded | Choices:
    """norm3(z + ff(z)), z = norm2(y + attention(y, memory)), y = norm1(x + attention(x))."""
    self_attention = Attention("self_attn", tgt_mask, tgt_key_padding_mask, tgt_is_causal)
    cross_attention = Attention(
        "multihead_attn", memory_mask, memory_key_padding_mask, memory_is_causal, memory
    )
    return _layer(LayerArguments(**arguments), state, tgt, (self_attention, cross_attention))


def _layer(
    layer_arguments: LayerArguments, state: State, x: Rounded, attentions: Sequence[Attention]
) -> Rounded | Choices:
    zero, has_choices = _layer_with_fill(0, layer_arguments, state, x, attentions)
    return (
        Choices((zero, _layer_with_fill(1, layer_arguments, state, x, attentions)[0]))
        if has_choices
        else zero
    )


def _layer_with_fill(
    alternative: int,
    layer_arguments: LayerArguments,
    state: State,
    x: Rounded,
    attentions: Sequence[Attention],
) -> tuple[Rounded, bool]:
    """The layer with one alternative for queries that attend to nothing; whether there are any."""
    has_choices = False
    count = len(attentions)
    for index in range(count + 1):
        norm_state = substate(state, f"norm{index + 1}")
        y = _apply_norm(layer_arguments, norm_state, x) if layer_arguments.norm_first else x
        inner: Rounded | Choices
        if index == count:
            inner = feed_forward(layer_arguments, state, y)
        else:
            inner = attentions[index].apply(layer_arguments, state, y)
        if isinstance(inner, Choices):
            has_choices, inner = True, inner.alternatives[alternative]
        x = bound_nan_errors(x + inner)
        x = x if layer_arguments.norm_first else _apply_norm(layer_arguments, norm_state, x)
    return x, has_choices


def bound_nan_errors(x: Rounded) -> Rounded:
    """Replace errors of NaN by ∞: an open number times a weight of 0 is open, too."""
    is_nan = np.isnan(x.error)
    return x.with_error(np.where(is_nan, np.inf, x.error)) if is_nan.any() else x


def _apply_norm(layer_arguments: LayerArguments, state: State, x: Rounded) -> Rounded:
    gain, shift = state["weight"], state["bias"] if layer_arguments.bias else None
    return _norm(x, gain, shift, layer_arguments.d_model, layer_arguments.layer_norm_eps)


def _norm(x: Rounded, gain: Rounded, shift: Rounded | None, size: int, eps: float) -> Rounded:
    output = wide_layer_norm(x, gain, shift, normalized_shape=(size,), eps=eps)
    # x̂·0 + β and x·0 + (β − μ·0) are β.
    is_offset_only = (gain.value == 0) & (gain.error == 0) & np.isfinite(output.error)
    offset = 0.0 if shift is None else shift.error
    output = output.with_error(np.where(is_offset_only, offset, output.error))
    return bound_nan_errors(stored_or_exact(output, x.precision))


def feed_forward(layer_arguments: LayerArguments, state: State, x: Rounded) -> Rounded:
    """linear2(activation(linear1(x)))."""
    first, second = substate(state, "linear1"), substate(state, "linear2")
    inner = bound_nan_errors(project(x, first["weight"], first.get("bias")))
    activated = ACTIVATIONS[layer_arguments.activation.rpartition(".")[2]]({}, inner)
    assert isinstance(activated, Rounded)
    # An activation treats an overflow as an exact ∞ of the input; its result is open.
    activated = activated.with_error(np.where(np.isinf(inner.error), np.inf, activated.error))
    return bound_nan_errors(project(activated, second["weight"], second.get("bias")))


def transformer_encoder(
    state: State,
    src: Rounded,
    mask: Rounded | None = None,
    src_key_padding_mask: Rounded | None = None,
    *,
    encoder_layer: Module,
    num_layers: int,
    norm: Module | None = None,
    enable_nested_tensor: bool = True,
    mask_check: bool = True,
    is_causal: bool | None = None,
) -> Rounded | Choices:
    """Encoder layers one after another, and a norm.

    A nested tensor omits the rows of padded sources; converted back, they are 0.
    """
    layer_arguments = LayerArguments(**dict(encoder_layer[1]))
    hint = _causal_hint(layer_arguments, is_causal, mask, src)
    self_attention = Attention("self_attn", mask, src_key_padding_mask, hint)
    x = _apply_layers(layer_arguments, state, src, (self_attention,), num_layers)
    padded_output = _final_norm(state, norm, x)
    if src_key_padding_mask is None or mask is not None or not enable_nested_tensor:
        return padded_output
    padding = src_key_padding_mask.value
    padded = padding if padding.dtype == bool else np.isneginf(padding)
    padded = padded if layer_arguments.batch_first or padded.ndim == 1 else padded.T
    zeros = Rounded(np.zeros(x.shape), np.zeros(x.shape), x.precision)
    nested = choose(np.broadcast_to(padded[..., np.newaxis], x.shape), zeros, x)
    return Choices((padded_output, _final_norm(state, norm, nested)))


def transformer_decoder(
    state: State,
    tgt: Rounded,
    memory: Rounded,
    tgt_mask: Rounded | None = None,
    memory_mask: Rounded | None = None,
    tgt_key_padding_mask: Rounded | None = None,
    memory_key_padding_mask: Rounded | None = None,
    *,
    decoder_layer: Module,
    num_layers: int,
    norm: Module | None = None,
    tgt_is_causal: bool | None = None,
    memory_is_causal: bool = False,
) -> Rounded:
    """Decoder layers one after another, and a norm."""
    layer_arguments = LayerArguments(**dict(decoder_layer[1]))
    hint = _causal_hint(layer_arguments, tgt_is_causal, tgt_mask, tgt)
    attentions = (
        Attention("self_attn", tgt_mask, tgt_key_padding_mask, hint),
        Attention("multihead_attn", memory_mask, memory_key_padding_mask, memory_is_causal, memory),
    )
    return _final_norm(
        state, norm, _apply_layers(layer_arguments, state, tgt, attentions, num_layers)
    )


def transformer(
    state: State,
    src: Rounded,
    tgt: Rounded,
    src_mask: Rounded | None = None,
    tgt_mask: Rounded | None = None,
    memory_mask: Rounded | None = None,
    src_key_padding_mask: Rounded | None = None,
    tgt_key_padding_mask: Rounded | None = None,
    memory_key_padding_mask: Rounded | None = None,
    *,
    num_encoder_layers: int = 6,
    num_decoder_layers: int = 6,
    src_is_causal: bool | None = None,
    tgt_is_causal: bool | None = None,
    memory_is_causal: bool = False,
    **arguments: Any,
) -> Rounded | Choices:
    """The decoder of the target and the encoded source; each stack ends with a norm."""
    arguments = {"d_model": 512, "nhead": 8, **arguments}
    layer_arguments = LayerArguments(**arguments)
    pairs = tuple(arguments.items())
    norm = (
        "LayerNorm",
        (
            ("normalized_shape", layer_arguments.d_model),
            ("eps", layer_arguments.layer_norm_eps),
            ("bias", layer_arguments.bias),
        ),
    )
    memory = transformer_encoder(
        substate(state, "encoder"), src, src_mask, src_key_padding_mask,
        encoder_layer=("", pairs), num_layers=num_encoder_layers, norm=norm,
        is_causal=src_is_causal,
    )  # fmt: skip
    memories = memory.alternatives if isinstance(memory, Choices) else (memory,)
    outputs = tuple(
        transformer_decoder(
            substate(state, "decoder"),
            tgt,
            alternative,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            decoder_layer=("", pairs),
            num_layers=num_decoder_layers,
            norm=norm,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
        for alternative in memories
    )
    return Choices(outputs) if len(outputs) > 1 else outputs[0]


def _causal_hint(
    layer_arguments: LayerArguments, declared: bool | None, mask: Rounded | None, x: Rounded
) -> bool:
    """The given hint, or whether the mask is the causal one."""
    if declared is not None:
        return declared
    batched = len(x.shape) == 3
    return is_causal_mask(mask, x.shape, x.shape, batched, layer_arguments.batch_first)


def _apply_layers(
    layer_arguments: LayerArguments,
    state: State,
    x: Rounded,
    attentions: Sequence[Attention],
    layers: int,
) -> Rounded:
    """Layers one after another; batch elements with a query that attends to nothing stay open.

    NaN in such a row reaches the element's other rows in the next layer, where no mask hides it.
    """
    for index in range(layers):
        output = _layer(layer_arguments, substate(state, f"layers.{index}"), x, attentions)
        x = output if isinstance(output, Rounded) else _undecided_elements(layer_arguments, output)
    return x


def _undecided_elements(layer_arguments: LayerArguments, alternatives: Choices) -> Rounded:
    zero, with_nan = alternatives.alternatives
    axis = 0 if layer_arguments.batch_first else 1
    other_axes = tuple(k for k in range(len(zero.shape)) if len(zero.shape) < 3 or k != axis)
    differs = (np.isnan(with_nan.value) & ~np.isnan(zero.value)).any(other_axes, keepdims=True)
    return zero.with_error(np.where(differs, np.inf, zero.error))


def _final_norm(state: State, norm: Module | None, x: Rounded) -> Rounded:
    if norm is None:
        return x
    norm_state, norm_arguments = substate(state, "norm"), dict(norm[1])
    size, eps = norm_arguments["normalized_shape"], norm_arguments.get("eps", 1e-5)
    return _norm(x, norm_state["weight"], norm_state.get("bias"), size, eps)
