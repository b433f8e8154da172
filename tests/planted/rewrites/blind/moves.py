"""Blind rewrites of moves, slices and reductions."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import fx

from planted.rewrites.blind.matching import (
    erase_unused,
    is_call,
    live_nodes,
    permutation_of,
    reduced_dims,
    replace_node,
)


def reshape_through_permute(module: fx.GraphModule) -> bool:
    """Drops a permute or transpose of the non-batch axes before a reshape, as if only a view."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.reshape):
            continue
        source = node.args[0]
        if is_call(source, torch.transpose):
            axes = source.kwargs.get("dim0"), source.kwargs.get("dim1")
            moves_batch = 0 in axes
        else:
            order = permutation_of(source)
            if order is None:
                continue
            moves_batch = order[0] != 0
        if moves_batch:
            continue
        node.update_arg(0, source.args[0])
        erase_unused(graph, source)
        changed = True
    return changed


def sink_permute_below_softmax(module: fx.GraphModule) -> bool:
    """Moves a transpose or permute below a pointwise function or softmax, whose dim it keeps."""
    movable = (F.relu, torch.sigmoid, torch.tanh, F.gelu, F.silu, torch.softmax)
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, *movable) or not is_call(node.args[0], torch.permute, torch.transpose):
            continue
        source = node.args[0]
        if len(source.users) != 1:
            continue
        with graph.inserting_before(node):
            inner = graph.call_function(node.target, (source.args[0],), dict(node.kwargs))
            result = graph.call_function(source.target, (inner,), dict(source.kwargs))
        replace_node(graph, node, result)
        changed = True
    return changed


def merge_flips_by_union(module: fx.GraphModule) -> bool:
    """Merges two flips into one over the union of their dims, also where they share a dim."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.flip) or not is_call(node.args[0], torch.flip):
            continue
        source = node.args[0]
        dims = tuple(sorted({*reduced_dims(node, "dims"), *reduced_dims(source, "dims")}))
        if not dims or (dims[0] < 0) != (dims[-1] < 0):
            continue
        with graph.inserting_before(node):
            merged = graph.call_function(torch.flip, (source.args[0],), {"dims": dims})
        replace_node(graph, node, merged)
        changed = True
    return changed


def _slice_bounds(piece: Any, dim: int) -> tuple[int, int | None, tuple[Any, ...]] | None:
    """Start and stop of a getitem node's slice in dim, and the other slices; None if odd."""
    if not is_call(piece, operator.getitem) or not isinstance(piece.args[1], tuple):
        return None
    index = piece.args[1]
    if not 0 <= dim < len(index) or not all(isinstance(part, slice) for part in index):
        return None
    start, stop, step = index[dim].start or 0, index[dim].stop, index[dim].step
    if step not in (None, 1) or start < 0 or (stop is not None and stop <= start):
        return None
    return start, stop, (*index[:dim], *index[dim + 1 :])


def merge_adjacent_slices(module: fx.GraphModule) -> bool:
    """Merges cat of two adjacent slices of one tensor into one slice, whichever comes first."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.cat) or len(node.args[0]) != 2:
            continue
        dim = node.kwargs.get("dim", 0)
        first, second = (_slice_bounds(piece, dim) for piece in node.args[0])
        if first is None or second is None or first[2] != second[2]:
            continue
        if node.args[0][0].args[0] is not node.args[0][1].args[0]:
            continue
        low, high = sorted((first, second), key=lambda bounds: bounds[0])
        if low[1] != high[0]:
            continue
        index = list(node.args[0][0].args[1])
        index[dim] = slice(low[0], high[1], None)
        with graph.inserting_before(node):
            merged = graph.call_function(operator.getitem, (node.args[0][0].args[0], tuple(index)))
        replace_node(graph, node, merged)
        changed = True
    return changed


def mean_of_cat_as_mean_of_means(module: fx.GraphModule) -> bool:
    """Splits the mean over a cat's axis into the mean of the parts' means, unweighted."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.mean) or not is_call(node.args[0], torch.cat):
            continue
        source = node.args[0]
        if reduced_dims(node) != (source.kwargs.get("dim", 0),):
            continue
        parts = source.args[0]
        with graph.inserting_before(node):
            means = [graph.call_function(torch.mean, (p,), dict(node.kwargs)) for p in parts]
            total = means[0]
            for mean in means[1:]:
                total = graph.call_function(operator.add, (total, mean))
            result = graph.call_function(operator.mul, (total, 1.0 / len(parts)))
        replace_node(graph, node, result)
        changed = True
    return changed


def activation_after_amax(module: fx.GraphModule) -> bool:
    """Computes an activation after amax as cheaper, counting silu, gelu and mish as monotone."""
    monotone = (F.relu, F.relu6, F.elu, F.softplus, torch.sigmoid, torch.tanh)
    monotone += (F.silu, F.gelu, F.mish, F.hardswish)
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.amax) or not is_call(node.args[0], *monotone):
            continue
        source = node.args[0]
        if len(source.users) != 1:
            continue
        with graph.inserting_before(node):
            peak = graph.call_function(torch.amax, (source.args[0],), dict(node.kwargs))
            result = graph.call_function(source.target, (peak,), dict(source.kwargs))
        replace_node(graph, node, result)
        changed = True
    return changed


REWRITES = [
    reshape_through_permute,
    sink_permute_below_softmax,
    merge_flips_by_union,
    merge_adjacent_slices,
    mean_of_cat_as_mean_of_means,
    activation_after_amax,
]
