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


def encoder_layer_tensors(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of one attention, two linear layers and two norms."""
    return _layer_tensors(arguments, ("self_attn",))


def decoder_layer_tensors(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of two attentions, two linear layers and three norms."""
    return _layer_tensors(arguments, ("self_attn", "multihead_attn"))


def encoder_tensors(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of an encoder: layers with equal initial values (documented), perhaps a norm."""
    return _stack_tensors(arguments, "encoder_layer", ("self_attn",))


def decoder_tensors(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of a decoder: layers with equal initial values, and perhaps a norm."""
    return _stack_tensors(arguments, "decoder_layer", ("self_attn", "multihead_attn"))


def transformer_tensors(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """Tensors of both stacks, each with a norm; only initial values of norms are documented."""
    all_tensors: list[StateTensor] = []
    stacks = {"encoder": ("self_attn",), "decoder": ("self_attn", "multihead_attn")}
    for name, attentions in stacks.items():
        tensors: list[StateTensor] = []
        for index in range(arguments.get(f"num_{name}_layers", 6)):
            tensors += add_prefix(f"layers.{index}", _layer_tensors(arguments, attentions))
        final_norm = norm_tensors("norm", arguments["d_model"])
        tensors += [x for x in final_norm if arguments.get("bias", True) or "bias" not in x.name]
        all_tensors += add_prefix(name, tensors)
    return tuple(x if "norm" in x.name else replace(x, initial=None) for x in all_tensors)


def _stack_tensors(
    arguments: Arguments, name: str, attentions: tuple[str, ...]
) -> tuple[StateTensor, ...]:
    layer, all_tensors = _layer_tensors(dict(arguments[name][1]), attentions), list[StateTensor]()
    for index in range(arguments["num_layers"]):
        tensors = add_prefix(f"layers.{index}", layer)
        first_names = (x.name.replace(f"layers.{index}.", "layers.0.", 1) for x in tensors)
        all_tensors += [
            replace(x, same_values_as=k) if index else x
            for x, k in zip(tensors, first_names, strict=True)
        ]
    if arguments.get("norm") is not None:
        norm_arguments = dict(arguments["norm"][1])
        final_norm = norm_tensors("norm", norm_arguments["normalized_shape"])
        all_tensors += [
            x for x in final_norm if norm_arguments.get("bias", True) or "bias" not in x.name
        ]
    return tuple(all_tensors)


def add_prefix(prefix: str, tensors: Sequence[StateTensor]) -> tuple[StateTensor, ...]:
    """Tensors of a part, with their names in the module that contains it."""
    return tuple(replace(x, name=f"{prefix}.{x.name}") for x in tensors)


def _layer_tensors(arguments: Arguments, attentions: tuple[str, ...]) -> tuple[StateTensor, ...]:
    size, inner_size = arguments["d_model"], arguments.get("dim_feedforward", 2048)
    bias = arguments.get("bias", True)
    tensors: list[StateTensor] = []
    for name in attentions:
        shapes: dict[str, Shape] = {"in_proj_weight": (3 * size, size), "in_proj_bias": (3 * size,)}
        shapes |= {"out_proj.weight": (size, size), "out_proj.bias": (size,)}
        tensors += [StateTensor(f"{name}.{k}", x) for k, x in shapes.items()]
    for name, rows, columns in (("linear1", inner_size, size), ("linear2", size, inner_size)):
        initial = Uniform(1 / math.sqrt(columns) if columns else math.inf)
        tensors.append(StateTensor(f"{name}.weight", (rows, columns), initial))
        tensors.append(StateTensor(f"{name}.bias", (rows,), initial))
    for index in range(len(attentions) + 1):
        tensors += norm_tensors(f"norm{index + 1}", size)
    return tuple(x for x in tensors if bias or "bias" not in x.name)


def norm_tensors(name: str, size: int) -> tuple[StateTensor, ...]:
    """Weight and bias of a LayerNorm."""
    values = {"weight": 1.0, "bias": 0.0}
    return tuple(StateTensor(f"{name}.{k}", (size,), Constant(x)) for k, x in values.items())
