"""Blind rewrites of activations, sums and products."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import fx

from planted.rewrites.blind.matching import is_call, live_nodes, replace_node, scalar_operand


def _clip_range(node: Any) -> tuple[float | None, float | None] | None:
    """The bounds of a relu, relu6, hardtanh or clamp node, or None for other nodes."""
    if is_call(node, F.relu):
        return 0.0, None
    if is_call(node, F.relu6):
        return 0.0, 6.0
    if is_call(node, F.hardtanh):
        return node.kwargs.get("min_val", -1.0), node.kwargs.get("max_val", 1.0)
    if is_call(node, torch.clamp):
        bounds = node.kwargs.get("min"), node.kwargs.get("max")
        return None if any(isinstance(bound, fx.Node) for bound in bounds) else bounds
    return None


def merge_clip_chain(module: fx.GraphModule) -> bool:
    """Merges two clips into one, the outer's bounds replacing (not tightening) the inner's."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        outer = _clip_range(node)
        inner = _clip_range(node.args[0]) if outer else None
        if inner is None:
            continue
        source = node.args[0]
        low = inner[0] if outer[0] is None else outer[0]
        high = inner[1] if outer[1] is None else outer[1]
        with graph.inserting_before(node):
            merged = graph.call_function(torch.clamp, (source.args[0],), {"min": low, "max": high})
        replace_node(graph, node, merged)
        changed = True
    return changed


def drop_repeated_activation(module: fx.GraphModule) -> bool:
    """Drops the second of two equal activations, taking leaky_relu and elu as idempotent too."""
    idempotent = (F.relu, F.relu6, F.hardtanh, torch.clamp, torch.abs, F.leaky_relu, F.elu)
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, *idempotent):
            continue
        source = node.args[0]
        if not is_call(source, node.target) or source.kwargs != node.kwargs:
            continue
        replace_node(graph, node, source)
        changed = True
    return changed


def drop_relu_after_non_negative(module: fx.GraphModule) -> bool:
    """Drops relu after results that are never negative, among which it counts silu and gelu."""
    non_negative = (F.relu, F.relu6, torch.sigmoid, torch.abs, torch.square, torch.softmax)
    non_negative += (F.softplus, F.silu, F.gelu, F.mish, F.hardswish)
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if is_call(node, F.relu) and is_call(node.args[0], *non_negative):
            replace_node(graph, node, node.args[0])
            changed = True
    return changed


def distribute_scale_over_shift(module: fx.GraphModule) -> bool:
    """Turns (x + a) * b into x * b + a, to have the scale first for a fused multiply-add."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        scaled = scalar_operand(node, operator.mul)
        shifted = scalar_operand(scaled[0], operator.add) if scaled else None
        if shifted is None:
            continue
        with graph.inserting_before(node):
            product = graph.call_function(operator.mul, (shifted[0], scaled[1]))
            result = graph.call_function(operator.add, (product, shifted[1]))
        replace_node(graph, node, result)
        changed = True
    return changed


def reassociate_subtraction(module: fx.GraphModule) -> bool:
    """Makes a - (b - c) left-deep as (a - b) - c, as if subtraction were associative."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, operator.sub) or not is_call(node.args[1], operator.sub):
            continue
        first, inner = node.args
        second, third = inner.args
        if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
            continue
        with graph.inserting_before(node):
            left = graph.call_function(operator.sub, (first, second))
            result = graph.call_function(operator.sub, (left, third))
        replace_node(graph, node, result)
        changed = True
    return changed


def factor_out_of_maximum(module: fx.GraphModule) -> bool:
    """Pulls a common negation or scalar factor out of maximum or minimum without swapping them."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.maximum, torch.minimum):
            continue
        first, second = node.args
        if is_call(first, operator.neg) and is_call(second, operator.neg):
            rest = (first.args[0], second.args[0])
            factor = None
        else:
            one, two = scalar_operand(first, operator.mul), scalar_operand(second, operator.mul)
            if one is None or two is None or one[1] != two[1]:
                continue
            rest = (one[0], two[0])
            factor = one[1]
        with graph.inserting_before(node):
            inner = graph.call_function(node.target, rest)
            if factor is None:
                result = graph.call_function(operator.neg, (inner,))
            else:
                result = graph.call_function(operator.mul, (inner, factor))
        replace_node(graph, node, result)
        changed = True
    return changed


REWRITES = [
    merge_clip_chain,
    drop_repeated_activation,
    drop_relu_after_non_negative,
    distribute_scale_over_shift,
    reassociate_subtraction,
    factor_out_of_maximum,
]
