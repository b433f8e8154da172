"""MLX's transformers: `nn.Transformer`, and the encoder, the decoder and the layers in it.

Their attention has no biases, their norms have MLX's eps, and each stack ends in a norm. Where
torch has something else, `update_modules` puts another layer of MLX there. With `bias=False` torch
lacks biases that MLX's linear layers and norms have; these become zeros.

A mask is of numbers, which are added to the scores, and there are no masks of keys. MLX drops out
at other places than torch, so only calls that drop nothing reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance.backends.adapters.mlx.parts import DTYPES
from conformance.backends.adapters.shared import State, attention_projections
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_LAYER_ARGUMENTS = ("d_model", "nhead", "dim_feedforward", "activation", "norm_first")
_PASSED = (*_LAYER_ARGUMENTS, "layer_norm_eps", "bias", "batch_first")
_STACK_HINTS = ("enable_nested_tensor", "mask_check")  # they choose a faster path, not a result
# MLX's attentions → torch's.
_ATTENTIONS = {
    "Encoder": {"attention": "self_attn"},
    "Decoder": {"self_attention": "self_attn", "cross_attention": "multihead_attn"},
}


class Transformers(FunctionBackend):
    """The part of MLX's adapter for transformers."""

    @implements("TransformerEncoderLayer", passes=_PASSED, ignores=("dropout",))
    def transformer_encoder_layer(
        self, state: State, src: Any, mask: Any = None, padding: Any = None, *, call: Call,
        is_causal: bool = False, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.TransformerEncoderLayer`."""
        _require_mask(is_causal=(is_causal, mask))
        layer = _make_layer("Encoder", state, call, arguments)
        return _call(layer, [src], [mask], [padding], arguments)

    @implements("TransformerDecoderLayer", passes=_PASSED, ignores=("dropout",))
    def transformer_decoder_layer(
        self, state: State, tgt: Any, memory: Any, mask: Any = None, memory_mask: Any = None,
        *paddings: Any, call: Call, tgt_is_causal: bool = False, memory_is_causal: bool = False,
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.TransformerDecoderLayer`."""
        _require_mask(
            tgt_is_causal=(tgt_is_causal, mask), memory_is_causal=(memory_is_causal, memory_mask)
        )
        layer = _make_layer("Decoder", state, call, arguments)
        return _call(layer, [tgt, memory], [mask, memory_mask], paddings, arguments)

    @implements("TransformerEncoder", ignores=_STACK_HINTS)
    def transformer_encoder(
        self, state: State, src: Any, mask: Any = None, padding: Any = None, *, call: Call,
        encoder_layer: Any, num_layers: int, norm: Any = None, is_causal: bool | None = None,
    ) -> Any:  # fmt: skip
        """`nn.TransformerEncoder`."""
        _require_mask(is_causal=(is_causal, mask))
        arguments = dict(encoder_layer[1])
        stack = _make_stack("Encoder", state, call, arguments, num_layers, norm)
        return _call(stack, [src], [mask], [padding], arguments)

    @implements("TransformerDecoder")
    def transformer_decoder(
        self, state: State, tgt: Any, memory: Any, mask: Any = None, memory_mask: Any = None,
        *paddings: Any, call: Call, decoder_layer: Any, num_layers: int, norm: Any = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        """`nn.TransformerDecoder`."""
        _require_mask(
            tgt_is_causal=(tgt_is_causal, mask), memory_is_causal=(memory_is_causal, memory_mask)
        )
        arguments = dict(decoder_layer[1])
        stack = _make_stack("Decoder", state, call, arguments, num_layers, norm)
        return _call(stack, [tgt, memory], [mask, memory_mask], paddings, arguments)

    @implements("Transformer", passes=_PASSED, ignores=("dropout",))
    def transformer(
        self, state: State, src: Any, tgt: Any, src_mask: Any = None, tgt_mask: Any = None,
        memory_mask: Any = None, *paddings: Any, call: Call, num_encoder_layers: int = 6,
        num_decoder_layers: int = 6, src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False, **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.Transformer`, with an encoder and a decoder whose layers are torch's."""
        _require_mask(
            src_is_causal=(src_is_causal, src_mask), tgt_is_causal=(tgt_is_causal, tgt_mask),
            memory_is_causal=(memory_is_causal, memory_mask),
        )  # fmt: skip
        arguments = {"d_model": 512, "nhead": 8, **arguments}
        norm = ("LayerNorm", (("eps", arguments.get("layer_norm_eps", 1e-5)),))
        counts = {"Encoder": num_encoder_layers, "Decoder": num_decoder_layers}
        stacks = {
            f"custom_{kind.lower()}": _make_stack(
                kind, _part(state, kind.lower()), call, arguments, count, norm
            )
            for kind, count in counts.items()
        }
        model = nn.Transformer(**_sizes(arguments), **stacks)
        return _call(model, [src, tgt], [src_mask, tgt_mask, memory_mask], paddings, arguments)


def _require_mask(**hints: tuple[bool | None, Any]) -> None:
    """Refuse a hint that a mask is causal where there is no mask."""
    for name, (is_causal, mask) in hints.items():
        if is_causal and mask is None:
            raise ValueError(f"{name}=True without a mask")


def _part(state: State, prefix: str) -> dict[str, Any]:
    """The tensors of a part of a module, by their names there."""
    return {
        name.removeprefix(f"{prefix}."): x
        for name, x in state.items()
        if name.startswith(f"{prefix}.")
    }


def _sizes(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """MLX's arguments of a layer or a stack of layers."""
    name = arguments.get("activation", "relu").removeprefix("functional.")
    if name not in ("relu", "gelu", "silu", "relu6"):
        raise Unsupported(f"activation={name!r}")
    return {
        "dims": arguments["d_model"],
        "num_heads": arguments["nhead"],
        "mlp_dims": arguments.get("dim_feedforward", 2048),
        "activation": getattr(nn, name),
        "norm_first": arguments.get("norm_first", False),
    }


def _make_layer(kind: str, state: State, call: Call, arguments: Mapping[str, Any]) -> Any:
    """Make a layer of the encoder or the decoder with torch's state."""
    if not state:
        raise Unsupported("initial values")
    layer = getattr(nn, f"Transformer{kind}Layer")(**_sizes(arguments))
    names, dims = _ATTENTIONS[kind], arguments["d_model"]
    norms = range(1, len(names) + 2)
    if arguments.get("bias", True):
        layer.update_modules(
            {name: nn.MultiHeadAttention(dims, arguments["nhead"], bias=True) for name in names}
        )
    eps = arguments.get("layer_norm_eps", 1e-5)
    layer.update_modules({f"ln{k}": nn.LayerNorm(dims, eps=eps) for k in norms})
    layer.set_dtype(DTYPES[call.dtype])
    for name, torch_name in names.items():
        part = _part(state, torch_name)
        matrices, offsets = attention_projections(part, mx.split)
        weights = [*matrices, part["out_proj.weight"]]
        biases = [*offsets, part["out_proj.bias"]] if offsets else [None] * 4
        projections = ("query_proj", "key_proj", "value_proj", "out_proj")
        for projection, weight, bias in zip(projections, weights, biases, strict=True):
            _load(getattr(getattr(layer, name), projection), weight, bias)
    for name in ("linear1", "linear2"):
        _load(getattr(layer, name), state[f"{name}.weight"], state.get(f"{name}.bias"))
    for k in norms:
        _load(getattr(layer, f"ln{k}"), state[f"norm{k}.weight"], state.get(f"norm{k}.bias"))
    return layer


def _load(layer: Any, weight: Any, bias: Any) -> None:
    """Load a weight and a bias; a bias that torch lacks is zero."""
    layer.weight = weight
    if bias is not None or "bias" in layer:
        layer.bias = mx.zeros_like(layer.bias) if bias is None else bias


def _make_stack(
    kind: str, state: State, call: Call, arguments: Mapping[str, Any], count: int, norm: Any
) -> Any:
    """Make an encoder or a decoder; without a norm at its end it has an `nn.Identity` there."""
    stack = getattr(nn, f"Transformer{kind}")(0, **_sizes(arguments))
    stack.layers = [
        _make_layer(kind, _part(state, f"layers.{k}"), call, arguments) for k in range(count)
    ]
    if norm is None:
        stack.update_modules({"ln": nn.Identity()})
        return stack
    final = nn.LayerNorm(arguments["d_model"], eps=dict(norm[1]).get("eps", 1e-5))
    final.set_dtype(DTYPES[call.dtype])
    _load(final, state["norm.weight"], state.get("norm.bias"))
    stack.update_modules({"ln": final})
    return stack


def _call(
    model: Any, sequences: list[Any], masks: list[Any], paddings: Any, arguments: Mapping[str, Any]
) -> Any:
    """Call a model that needs a batch, which comes first."""
    if any(padding is not None for padding in paddings):
        raise Unsupported("masks of keys")
    if any(mask is not None and mask.dtype == mx.bool_ for mask in masks):
        raise Unsupported("a mask of bool")
    lacks_batch, batch_first = sequences[0].ndim == 2, arguments.get("batch_first", False)
    batches = [
        x[None] if lacks_batch else x if batch_first else x.swapaxes(0, 1) for x in sequences
    ]
    heads = arguments["nhead"]
    maps = [
        mask if mask is None or mask.ndim != 3 else mask.reshape(-1, heads, *mask.shape[1:])
        for mask in masks
    ]
    y = model(*batches, *maps)
    return y[0] if lacks_batch else y if batch_first else y.swapaxes(0, 1)
