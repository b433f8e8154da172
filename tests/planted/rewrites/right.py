"""Right rewrites: what a compiler may do, and no bound may refuse."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import nn
from torch.fx import GraphModule

from planted.rewrites.layers import fold_norms
from planted.rewrites.matching import bypass, calls, insert, is_call, layers, scalars


def norm_folded(module: GraphModule) -> bool:
    """A batch norm is folded into the layer before it, which has no other user."""
    return fold_norms(module, eps=True, bias=True, others=False)


def idle_layers_dropped(module: GraphModule) -> bool:
    """Identity and Dropout are left out."""
    idle = list(layers(module, nn.Identity, nn.Dropout))
    for node, _ in idle:
        bypass(node, node.args[0])
    return bool(idle)


def swish_recognised(module: GraphModule) -> bool:
    """x · sigmoid(x) is silu."""
    for node in calls(module, operator.mul):
        x, gate = node.args
        if is_call(gate, torch.sigmoid) and gate.args[0] is x:
            return bypass(node, insert(node, F.silu, x))
    return False


def attention_recognised(module: GraphModule) -> bool:
    """softmax(c·q·kᵀ)·v is scaled_dot_product_attention with the scale c."""
    for node in calls(module, torch.matmul):
        weights, value = node.args
        scores = weights.args[0] if is_call(weights, torch.softmax) else None
        scaled = is_call(scores, operator.mul) and scalars(scores) is not None
        if scaled and is_call(scores.args[0], torch.matmul):
            query, transposed = scores.args[0].args
            if is_call(transposed, torch.transpose):
                call = insert(
                    node,
                    F.scaled_dot_product_attention,
                    *(query, transposed.args[0], value),
                    scale=scores.args[1],
                )
                return bypass(node, call)
    return False


def factors_joined(module: GraphModule) -> bool:
    """(x · c) · d is x · (c · d)."""
    for node in calls(module, operator.mul):
        inner, second = node.args[0], scalars(node)
        first = scalars(inner) if is_call(inner, operator.mul) else None
        if first is not None and second is not None:
            return bypass(node, insert(node, operator.mul, inner.args[0], first * second))
    return False


REWRITES = [
    norm_folded,
    idle_layers_dropped,
    swish_recognised,
    attention_recognised,
    factors_joined,
]
