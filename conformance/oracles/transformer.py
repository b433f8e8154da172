"""Layers of a transformer, their stacks, and the whole transformer.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page and of its `forward`. A query that attends to nothing has 0 or NaN
as weighted value, as in MultiheadAttention. An output row of a layer depends only on its own query,
so that row has two right values.

In half precision each step is stored: projections, attention, both products of the feed-forward
network, the activation, each sum with the residual, each norm. A norm makes exact numbers inexact;
where all values within its bound round to one number, storing makes them exact again (`settled`).

Sources: the pages torch.nn.TransformerEncoderLayer, TransformerDecoderLayer, TransformerEncoder,
TransformerDecoder and Transformer of the PyTorch documentation; Xiong et al., *On Layer
Normalization in the Transformer Architecture* (2020), figure 1, for the order of residual and norm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.half_precision import settled
from conformance.arithmetic.rounded import Rounded, choose
from conformance.model.case import Updated
from conformance.oracles.activation.elementwise import relu, relu6
from conformance.oracles.activation.smooth import gelu, silu
from conformance.oracles.attention.multihead import is_causal_mask, multihead_attention, projected
from conformance.oracles.normalization.batch_and_layer import wide_layer_norm

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Module = tuple[str, Sequence[tuple[str, Any]]]
ACTIVATIONS: Mapping[str, Callable[..., Rounded | Choices | Updated]] = {
    "relu": relu, "gelu": gelu, "relu6": relu6, "silu": silu,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
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

    def of(self, kind: Kind, state: State, x: Rounded) -> Rounded | Choices:
        """The attention's output; `Choices` if some query attends to nothing."""
        key = x if self.memory is None else self.memory
        output, _ = multihead_attention(
            part(state, self.name),
            x,
            key,
            key,
            self.padding,
            self.mask,
            embed_dim=kind.d_model,
            num_heads=kind.nhead,
            bias=kind.bias,
            batch_first=kind.batch_first,
            need_weights=False,
            is_causal=self.is_causal,
        )
        return output


def part(state: State, name: str) -> dict[str, Rounded]:
    """The state of a submodule, with the submodule's own names."""
    start = f"{name}."
    return {k.removeprefix(start): x for k, x in state.items() if k.startswith(start)}


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
    itself = Attention("self_attn", src_mask, src_key_padding_mask, is_causal)
    return _layer(Kind(**arguments), state, src, (itself,))


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
    itself = Attention("self_attn", tgt_mask, tgt_key_padding_mask, tgt_is_causal)
    across = Attention(
        "multihead_attn", memory_mask, memory_key_padding_mask, memory_is_causal, memory
    )
    return _layer(Kind(**arguments), state, tgt, (itself, across))


def _layer(
    kind: Kind, state: State, x: Rounded, attentions: Sequence[Attention]
) -> Rounded | Choices:
    zero, several = _by(0, kind, state, x, attentions)
    return Choices((zero, _by(1, kind, state, x, attentions)[0])) if several else zero


def _by(
    way: int, kind: Kind, state: State, x: Rounded, attentions: Sequence[Attention]
) -> tuple[Rounded, bool]:
    """The layer with answer `way` for queries that attend to nothing; and whether there are any."""
    several = False
    last = len(attentions)
    for place in range(last + 1):
        own = part(state, f"norm{place + 1}")
        y = _normed(kind, own, x) if kind.norm_first else x
        inner: Rounded | Choices
        if place == last:
            inner = feed_forward(kind, state, y)
        else:
            inner = attentions[place].of(kind, state, y)
        if isinstance(inner, Choices):
            several, inner = True, inner.alternatives[way]
        x = known(x + inner)
        x = x if kind.norm_first else _normed(kind, own, x)
    return x, several


def known(x: Rounded) -> Rounded:
    """Replace errors of NaN by ∞: an open number times a weight of 0 is open, too."""
    lost = np.isnan(x.error)
    return x.with_error(np.where(lost, np.inf, x.error)) if lost.any() else x


def _normed(kind: Kind, state: State, x: Rounded) -> Rounded:
    gain, shift = state["weight"], state["bias"] if kind.bias else None
    return _norm(x, gain, shift, kind.d_model, kind.layer_norm_eps)


def _norm(x: Rounded, gain: Rounded, shift: Rounded | None, size: int, eps: float) -> Rounded:
    found = wide_layer_norm(x, gain, shift, normalized_shape=(size,), eps=eps)
    # x̂·0 + β and x·0 + (β − μ·0) are β.
    alone = (gain.value == 0) & (gain.error == 0) & np.isfinite(found.error)
    offset = 0.0 if shift is None else shift.error
    found = found.with_error(np.where(alone, offset, found.error))
    return known(settled(found, x.precision))


def feed_forward(kind: Kind, state: State, x: Rounded) -> Rounded:
    """linear2(activation(linear1(x)))."""
    first, second = part(state, "linear1"), part(state, "linear2")
    inner = known(projected(x, first["weight"], first.get("bias")))
    active = ACTIVATIONS[kind.activation.rpartition(".")[2]]({}, inner)
    assert isinstance(active, Rounded)
    # An activation treats an overflow as an exact ∞ of the input; its result is open.
    active = active.with_error(np.where(np.isinf(inner.error), np.inf, active.error))
    return known(projected(active, second["weight"], second.get("bias")))


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
    kind = Kind(**dict(encoder_layer[1]))
    hint = _hint(kind, is_causal, mask, src)
    itself = Attention("self_attn", mask, src_key_padding_mask, hint)
    x = _in_turn(kind, state, src, (itself,), num_layers)
    whole = _last(state, norm, x)
    if src_key_padding_mask is None or mask is not None or not enable_nested_tensor:
        return whole
    padding = src_key_padding_mask.value
    padded = padding if padding.dtype == bool else np.isneginf(padding)
    padded = padded if kind.batch_first or padded.ndim == 1 else padded.T
    nothing = Rounded(np.zeros(x.shape), np.zeros(x.shape), x.precision)
    nested = choose(np.broadcast_to(padded[..., np.newaxis], x.shape), nothing, x)
    return Choices((whole, _last(state, norm, nested)))


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
    kind = Kind(**dict(decoder_layer[1]))
    hint = _hint(kind, tgt_is_causal, tgt_mask, tgt)
    attentions = (
        Attention("self_attn", tgt_mask, tgt_key_padding_mask, hint),
        Attention("multihead_attn", memory_mask, memory_key_padding_mask, memory_is_causal, memory),
    )
    return _last(state, norm, _in_turn(kind, state, tgt, attentions, num_layers))


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
    kind = Kind(**arguments)
    pairs = tuple(arguments.items())
    norm = (
        "LayerNorm",
        (("normalized_shape", kind.d_model), ("eps", kind.layer_norm_eps), ("bias", kind.bias)),
    )
    memory = transformer_encoder(
        part(state, "encoder"), src, src_mask, src_key_padding_mask,
        encoder_layer=("", pairs), num_layers=num_encoder_layers, norm=norm,
        is_causal=src_is_causal,
    )  # fmt: skip
    several = memory.alternatives if isinstance(memory, Choices) else (memory,)
    found = tuple(
        transformer_decoder(
            part(state, "decoder"),
            tgt,
            one,
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
        for one in several
    )
    return Choices(found) if len(found) > 1 else found[0]


def _hint(kind: Kind, given: bool | None, mask: Rounded | None, x: Rounded) -> bool:
    """The given hint, or whether the mask is the causal one."""
    if given is not None:
        return given
    batched = len(x.shape) == 3
    return is_causal_mask(mask, x.shape, x.shape, batched, kind.batch_first)


def _in_turn(
    kind: Kind, state: State, x: Rounded, attentions: Sequence[Attention], layers: int
) -> Rounded:
    """Layers one after another; batch elements with a query that attends to nothing stay open.

    NaN in such a row reaches the element's other rows in the next layer, where no mask hides it.
    """
    for place in range(layers):
        found = _layer(kind, part(state, f"layers.{place}"), x, attentions)
        x = found if isinstance(found, Rounded) else _undecided(kind, found)
    return x


def _undecided(kind: Kind, several: Choices) -> Rounded:
    zero, missing = several.alternatives
    axis = 0 if kind.batch_first else 1
    others = tuple(k for k in range(len(zero.shape)) if len(zero.shape) < 3 or k != axis)
    lost = (np.isnan(missing.value) & ~np.isnan(zero.value)).any(others, keepdims=True)
    return zero.with_error(np.where(lost, np.inf, zero.error))


def _last(state: State, norm: Module | None, x: Rounded) -> Rounded:
    if norm is None:
        return x
    own, given = part(state, "norm"), dict(norm[1])
    size, eps = given["normalized_shape"], given.get("eps", 1e-5)
    return _norm(x, own["weight"], own.get("bias"), size, eps)
