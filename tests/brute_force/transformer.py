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


def _activate(name: str, x: float) -> float:
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


def _feed_forward(x: np.ndarray, state: dict[str, np.ndarray], activation: str) -> np.ndarray:
    """The feed-forward network, row by row."""
    y = np.zeros(x.shape)
    for place in np.ndindex(*x.shape[:-1]):
        hidden = [_activate(activation, value) for value in _linear(x[place], state, "linear1")]
        y[place] = _linear(np.array(hidden), state, "linear2")
    return y


def layer(
    case: Case,
    state: dict[str, np.ndarray],
    layer_arguments: dict[str, Any],
    x: np.ndarray,
    *blocks: Any,
) -> np.ndarray:
    """One layer.

    Args:
        case: whose dtype and device they are.
        state: of the layer.
        kind: its arguments.
        x: the sequence.
        blocks: of each attention its name, the memory or None, the padding mask, the mask.
    """
    layer_arguments = LAYER | layer_arguments

    def attend(name: str, y: np.ndarray, memory: Any, padding: Any, mask: Any) -> np.ndarray:
        start = f"{name}."
        attention_state = {
            k.removeprefix(start): v for k, v in state.items() if k.startswith(start)
        }
        arguments = {
            "embed_dim": layer_arguments["d_model"],
            "num_heads": layer_arguments["nhead"],
            "batch_first": layer_arguments["batch_first"],
        }
        key = y if memory is None else memory
        call = replace(
            case.call, layer="MultiheadAttention", arguments=arguments, state=attention_state
        )
        attention_case = replace(case, call=call, inputs=(y, key, key, padding, mask), keywords={})
        return multihead(attention_case)[0]

    def normalize(place: int, y: np.ndarray) -> np.ndarray:
        weight, bias = state[f"norm{place}.weight"], state.get(f"norm{place}.bias")
        return layer_norm(
            y, layer_arguments["d_model"], weight, bias, layer_arguments["layer_norm_eps"]
        )

    for place in range(len(blocks) + 1):
        y = normalize(place + 1, x) if layer_arguments["norm_first"] else x
        if place < len(blocks):
            name, *attention_arguments = blocks[place]
            y = attend(name, y, *attention_arguments)
        else:
            y = _feed_forward(y, state, layer_arguments["activation"])
        x = x + y if layer_arguments["norm_first"] else normalize(place + 1, x + y)
    return x


def _encoder_layer(
    case: Case, state: Any, layer_arguments: Any, src: Any, mask: Any, padding: Any
) -> Any:
    return layer(case, state, layer_arguments, src, ("self_attn", None, padding, mask))


def _decoder_layer(
    case: Case, state: Any, layer_arguments: Any, tgt: Any, memory: Any, masks: Any, paddings: Any
) -> Any:
    self_attention = ("self_attn", None, paddings[0], masks[0])
    memory_attention = ("multihead_attn", memory, paddings[1], masks[1])
    return layer(case, state, layer_arguments, tgt, self_attention, memory_attention)


def _sub_state(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}


def _final_norm(state: dict[str, Any], x: np.ndarray, norm: Any) -> np.ndarray:
    """The norm of a stack, if there is one."""
    if norm is None:
        return x
    arguments = dict(norm[1])
    return layer_norm(
        x,
        arguments["normalized_shape"],
        state["norm.weight"],
        state.get("norm.bias"),
        arguments["eps"],
    )


def _encoder(case: Case, state: Any, arguments: Any, src: Any, mask: Any, padding: Any) -> Any:
    layer_arguments = dict(arguments["encoder_layer"][1])
    for place in range(arguments["num_layers"]):
        sub_state = _sub_state(state, f"layers.{place}.")
        src = _encoder_layer(case, sub_state, layer_arguments, src, mask, padding)
    return _final_norm(state, src, arguments.get("norm"))


def _decoder(
    case: Case, state: Any, arguments: Any, tgt: Any, memory: Any, masks: Any, paddings: Any
) -> Any:
    layer_arguments = dict(arguments["decoder_layer"][1])
    for place in range(arguments["num_layers"]):
        sub_state = _sub_state(state, f"layers.{place}.")
        tgt = _decoder_layer(case, sub_state, layer_arguments, tgt, memory, masks, paddings)
    return _final_norm(state, tgt, arguments.get("norm"))


def _transformer(
    case: Case, state: Any, options: Any, src: Any, tgt: Any, masks: Any, paddings: Any
) -> Any:
    counts = {name: options.pop(f"num_{name}_layers", 6) for name in ("encoder", "decoder")}
    eps = options.get("layer_norm_eps", 1e-5)
    norm = ("", (("normalized_shape", options["d_model"]), ("eps", eps)))
    layer = ("", tuple(options.items()))
    arguments = {"encoder_layer": layer, "num_layers": counts["encoder"], "norm": norm}
    sub_state = _sub_state(state, "encoder.")
    memory = _encoder(case, sub_state, arguments, src, masks[0], paddings[0])
    arguments = {"decoder_layer": layer, "num_layers": counts["decoder"], "norm": norm}
    sub_state = _sub_state(state, "decoder.")
    return _decoder(case, sub_state, arguments, tgt, memory, masks[1:], paddings[1:])


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's outputs; a query that attends to nothing gets 0 in place of values."""
    arguments, state = dict(case.call.arguments), dict(case.call.state)
    inputs = (*case.inputs, *(None,) * 8)
    name = case.call.layer.removeprefix("Transformer")
    if name.startswith("Encoder"):
        function = _encoder_layer if name.endswith("Layer") else _encoder
        return (function(case, state, arguments, *inputs[:3]),)
    if name.startswith("Decoder"):
        function = _decoder_layer if name.endswith("Layer") else _decoder
        return (function(case, state, arguments, *inputs[:2], inputs[2:4], inputs[4:6]),)
    return (_transformer(case, state, arguments, *inputs[:2], inputs[2:5], inputs[5:8]),)
