"""A transformer as plain loops, one row at a time, from the documentation alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from brute_force.attention import multihead
from brute_force.normalization.batch_and_layer import layer_norm
from conformance.model.case import Case

LAYER: dict[str, Any] = {
    "dim_feedforward": 2048,
    "activation": "relu",
    "layer_norm_eps": 1e-5,
    "batch_first": False,
    "norm_first": False,
}


def _active(name: str, x: float) -> float:
    match name.rpartition(".")[2]:
        case "relu":
            return max(x, 0.0)
        case "relu6":
            return min(max(x, 0.0), 6.0)
        case "gelu":
            return x * 0.5 * math.erfc(-x / math.sqrt(2))
        case "silu":
            return x / (1 + math.exp(-x)) if x > -700 else 0.0
    raise ValueError(name)


def _linear(x: np.ndarray, state: dict[str, np.ndarray], name: str) -> np.ndarray:
    """x Wᵀ + b of one row."""
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    out = np.zeros(len(weight))
    for row in range(len(weight)):
        out[row] = sum(float(w) * float(a) for w, a in zip(weight[row], x, strict=True))
        out[row] += 0.0 if bias is None else float(bias[row])
    return out


def _fed(x: np.ndarray, state: dict[str, np.ndarray], activation: str) -> np.ndarray:
    """The feed-forward network, row by row."""
    y = np.zeros(x.shape)
    for place in np.ndindex(*x.shape[:-1]):
        inner = [_active(activation, value) for value in _linear(x[place], state, "linear1")]
        y[place] = _linear(np.array(inner), state, "linear2")
    return y


def layer(
    case: Case, state: dict[str, np.ndarray], kind: dict[str, Any], x: np.ndarray, *blocks: Any
) -> np.ndarray:
    """One layer.

    Args:
        case: whose dtype and device they are.
        state: of the layer.
        kind: its arguments.
        x: the sequence.
        blocks: of each attention its name, the memory or None, the padding mask, the mask.
    """
    kind = LAYER | kind

    def attended(name: str, y: np.ndarray, memory: Any, padding: Any, mask: Any) -> np.ndarray:
        start = f"{name}."
        own = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        arguments = {
            "embed_dim": kind["d_model"],
            "num_heads": kind["nhead"],
            "batch_first": kind["batch_first"],
        }
        key = y if memory is None else memory
        call = replace(case.call, layer="MultiheadAttention", arguments=arguments, state=own)
        inner = replace(case, call=call, inputs=(y, key, key, padding, mask), keywords={})
        return multihead(inner)[0]

    def normed(place: int, y: np.ndarray) -> np.ndarray:
        weight, bias = state[f"norm{place}.weight"], state.get(f"norm{place}.bias")
        return layer_norm(y, kind["d_model"], weight, bias, kind["layer_norm_eps"])

    for place in range(len(blocks) + 1):
        y = normed(place + 1, x) if kind["norm_first"] else x
        if place < len(blocks):
            name, *rest = blocks[place]
            y = attended(name, y, *rest)
        else:
            y = _fed(y, state, kind["activation"])
        x = x + y if kind["norm_first"] else normed(place + 1, x + y)
    return x


def _encoder_layer(case: Case, state: Any, kind: Any, src: Any, mask: Any, padding: Any) -> Any:
    return layer(case, state, kind, src, ("self_attn", None, padding, mask))


def _decoder_layer(
    case: Case, state: Any, kind: Any, tgt: Any, memory: Any, masks: Any, paddings: Any
) -> Any:
    own = ("self_attn", None, paddings[0], masks[0])
    other = ("multihead_attn", memory, paddings[1], masks[1])
    return layer(case, state, kind, tgt, own, other)


def _part(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}


def _normed(state: dict[str, Any], x: np.ndarray, norm: Any) -> np.ndarray:
    """The norm of a stack, if there is one."""
    if norm is None:
        return x
    given = dict(norm[1])
    return layer_norm(
        x, given["normalized_shape"], state["norm.weight"], state.get("norm.bias"), given["eps"]
    )


def _encoder(case: Case, state: Any, given: Any, src: Any, mask: Any, padding: Any) -> Any:
    kind = dict(given["encoder_layer"][1])
    for place in range(given["num_layers"]):
        own = _part(state, f"layers.{place}.")
        src = _encoder_layer(case, own, kind, src, mask, padding)
    return _normed(state, src, given.get("norm"))


def _decoder(
    case: Case, state: Any, given: Any, tgt: Any, memory: Any, masks: Any, paddings: Any
) -> Any:
    kind = dict(given["decoder_layer"][1])
    for place in range(given["num_layers"]):
        own = _part(state, f"layers.{place}.")
        tgt = _decoder_layer(case, own, kind, tgt, memory, masks, paddings)
    return _normed(state, tgt, given.get("norm"))


def _both(case: Case, state: Any, given: Any, src: Any, tgt: Any, masks: Any, paddings: Any) -> Any:
    counts = {name: given.pop(f"num_{name}_layers", 6) for name in ("encoder", "decoder")}
    eps = given.get("layer_norm_eps", 1e-5)
    norm = ("", (("normalized_shape", given["d_model"]), ("eps", eps)))
    layer = ("", tuple(given.items()))
    arguments = {"encoder_layer": layer, "num_layers": counts["encoder"], "norm": norm}
    own = _part(state, "encoder.")
    memory = _encoder(case, own, arguments, src, masks[0], paddings[0])
    arguments = {"decoder_layer": layer, "num_layers": counts["decoder"], "norm": norm}
    own = _part(state, "decoder.")
    return _decoder(case, own, arguments, tgt, memory, masks[1:], paddings[1:])


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's outputs; a query that attends to nothing gets 0 in place of values."""
    given, state = dict(case.call.arguments), dict(case.call.state)
    inputs = (*case.inputs, *(None,) * 8)
    name = case.call.layer.removeprefix("Transformer")
    if name.startswith("Encoder"):
        function = _encoder_layer if name.endswith("Layer") else _encoder
        return (function(case, state, given, *inputs[:3]),)
    if name.startswith("Decoder"):
        function = _decoder_layer if name.endswith("Layer") else _decoder
        return (function(case, state, given, *inputs[:2], inputs[2:4], inputs[4:6]),)
    return (_both(case, state, given, *inputs[:2], inputs[2:5], inputs[5:8]),)
