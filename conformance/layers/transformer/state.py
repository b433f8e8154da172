"""The state of the layers of a transformer, in torch's order.

By the documentation the layers consist of Linear, LayerNorm and MultiheadAttention. The first two
have documented initial values, the last has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.spec.state import Constant, Shape, StateTensor, Uniform

Arguments = Mapping[str, Any]


def encoder_layer(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of one attention, two linear layers and two norms."""
    return _layer(arguments, ("self_attn",))


def decoder_layer(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of two attentions, two linear layers and three norms."""
    return _layer(arguments, ("self_attn", "multihead_attn"))


def encoder(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of an encoder: layers with equal initial values (documented), perhaps a norm."""
    return _stack(arguments, "encoder_layer", ("self_attn",))


def decoder(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of a decoder: layers with equal initial values, and perhaps a norm."""
    return _stack(arguments, "decoder_layer", ("self_attn", "multihead_attn"))


def both(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of both stacks, each with a norm; only initial values of norms are documented."""
    found: list[StateTensor] = []
    stacks = {"encoder": ("self_attn",), "decoder": ("self_attn", "multihead_attn")}
    for name, attentions in stacks.items():
        tensors: list[StateTensor] = []
        for place in range(arguments.get(f"num_{name}_layers", 6)):
            tensors += prefixed(f"layers.{place}", _layer(arguments, attentions))
        ends = norm("norm", arguments["d_model"])
        tensors += [x for x in ends if arguments.get("bias", True) or "bias" not in x.name]
        found += prefixed(name, tensors)
    return tuple(x if "norm" in x.name else replace(x, initial=None) for x in found)


def _stack(arguments: Arguments, name: str, attentions: tuple[str, ...]) -> tuple[StateTensor, ...]:
    layer, found = _layer(dict(arguments[name][1]), attentions), list[StateTensor]()
    for place in range(arguments["num_layers"]):
        tensors = prefixed(f"layers.{place}", layer)
        like = (x.name.replace(f"layers.{place}.", "layers.0.", 1) for x in tensors)
        found += [replace(x, like=k) if place else x for x, k in zip(tensors, like, strict=True)]
    if arguments.get("norm") is not None:
        given = dict(arguments["norm"][1])
        ends = norm("norm", given["normalized_shape"])
        found += [x for x in ends if given.get("bias", True) or "bias" not in x.name]
    return tuple(found)


def prefixed(prefix: str, tensors: Sequence[StateTensor]) -> tuple[StateTensor, ...]:
    """Tensors of a part, with their names in the module that contains it."""
    return tuple(replace(x, name=f"{prefix}.{x.name}") for x in tensors)


def _layer(arguments: Arguments, attentions: tuple[str, ...]) -> tuple[StateTensor, ...]:
    size, inner = arguments["d_model"], arguments.get("dim_feedforward", 2048)
    bias = arguments.get("bias", True)
    found: list[StateTensor] = []
    for name in attentions:
        shapes: dict[str, Shape] = {"in_proj_weight": (3 * size, size), "in_proj_bias": (3 * size,)}
        shapes |= {"out_proj.weight": (size, size), "out_proj.bias": (size,)}
        found += [StateTensor(f"{name}.{k}", x) for k, x in shapes.items()]
    for name, rows, columns in (("linear1", inner, size), ("linear2", size, inner)):
        limit = Uniform(1 / math.sqrt(columns) if columns else math.inf)
        found.append(StateTensor(f"{name}.weight", (rows, columns), limit))
        found.append(StateTensor(f"{name}.bias", (rows,), limit))
    for place in range(len(attentions) + 1):
        found += norm(f"norm{place + 1}", size)
    return tuple(x for x in found if bias or "bias" not in x.name)


def norm(name: str, size: int) -> tuple[StateTensor, ...]:
    """Weight and bias of a LayerNorm."""
    values = {"weight": 1.0, "bias": 0.0}
    return tuple(StateTensor(f"{name}.{k}", (size,), Constant(x)) for k, x in values.items())
