"""Blind rewrites of folded norms, scales and padding."""

from __future__ import annotations

import operator

import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import fx, nn

from planted.rewrites.blind.matching import (
    affine_form,
    called_layer,
    count_calls,
    is_call,
    live_nodes,
    reduced_dims,
    replace_node,
    scalar_operand,
    set_parameters,
)


def fold_batch_norm_keep_bias(module: fx.GraphModule) -> bool:
    """Folds BN into the conv or linear before it, but does not scale the layer's own bias."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        bn = called_layer(module, node, nn.BatchNorm1d, nn.BatchNorm2d)
        source = node.args[0] if bn is not None else None
        layer = called_layer(module, source, nn.Conv2d, nn.Linear)
        if layer is None or len(source.users) != 1 or count_calls(module, source) != 1:
            continue
        if isinstance(layer, nn.Linear) != isinstance(bn, nn.BatchNorm1d):
            continue
        affine = affine_form(bn)
        if affine is None or layer.weight.shape[0] != bn.num_features:
            continue
        scale, shift = affine
        weight = layer.weight.double() * scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        bias = shift if layer.bias is None else shift + layer.bias.double()
        set_parameters(layer, weight, bias)
        replace_node(graph, node, source)
        changed = True
    return changed


def fold_batch_norm_shared_result(module: fx.GraphModule) -> bool:
    """Folds BN into the conv before it although the conv's plain result has other users."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        bn = called_layer(module, node, nn.BatchNorm2d)
        source = node.args[0] if bn is not None else None
        conv = called_layer(module, source, nn.Conv2d)
        if conv is None or count_calls(module, source) != 1 or conv.out_channels != bn.num_features:
            continue
        affine = affine_form(bn)
        if affine is None:
            continue
        scale, shift = affine
        bias = shift if conv.bias is None else shift + conv.bias.double() * scale
        set_parameters(conv, conv.weight.double() * scale.reshape(-1, 1, 1, 1), bias)
        replace_node(graph, node, source)
        changed = True
    return changed


def fold_batch_norm_into_padded_conv(module: fx.GraphModule) -> bool:
    """Folds BN into the conv after it, its shift into the bias, also where the conv pads."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        conv = called_layer(module, node, nn.Conv2d)
        source = node.args[0] if conv is not None else None
        bn = called_layer(module, source, nn.BatchNorm2d)
        if bn is None or len(source.users) != 1 or count_calls(module, node) != 1:
            continue
        affine = affine_form(bn)
        if affine is None or conv.in_channels != bn.num_features:
            continue
        scale, shift = (part.reshape(conv.groups, 1, -1, 1, 1) for part in affine)
        grouped = conv.weight.double().reshape(
            conv.groups, conv.out_channels // conv.groups, *conv.weight.shape[1:]
        )
        bias = (grouped * shift).sum(dim=(2, 3, 4)).reshape(-1)
        if conv.bias is not None:
            bias = bias + conv.bias.double()
        set_parameters(conv, (grouped * scale).reshape(conv.weight.shape), bias)
        replace_node(graph, source, source.args[0])
        changed = True
    return changed


def fold_scale_into_shared_layer(module: fx.GraphModule) -> bool:
    """Folds layer(x) * c into the layer's parameters although another node calls it as well."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        operand_and_factor = scalar_operand(node, operator.mul)
        layer = (
            called_layer(module, operand_and_factor[0], nn.Linear, nn.Conv2d)
            if operand_and_factor
            else None
        )
        if layer is None or len(operand_and_factor[0].users) != 1:
            continue
        source, factor = operand_and_factor
        bias = None if layer.bias is None else layer.bias.double() * factor
        set_parameters(layer, layer.weight.double() * factor, bias)
        replace_node(graph, node, source)
        changed = True
    return changed


def merge_zero_pad_into_max_pool(module: fx.GraphModule) -> bool:
    """Merges a zero pad into the max pool's padding, which pads with minus infinity."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        pool = called_layer(module, node, nn.MaxPool2d)
        source = node.args[0] if pool is not None else None
        if not is_call(source, F.pad) or len(source.users) != 1 or pool.padding not in (0, (0, 0)):
            continue
        if source.kwargs.get("mode", "constant") != "constant" or pool.return_indices:
            continue
        left, right, top, bottom = (*reduced_dims(source, "pad"), 0, 0, 0, 0)[:4]
        size = pool.kernel_size
        high, wide = (size, size) if isinstance(size, int) else size
        if len(reduced_dims(source, "pad")) not in (2, 4) or left != right or top != bottom:
            continue
        if source.kwargs.get("value") not in (None, 0, 0.0):
            continue
        if not (0 <= left <= wide // 2 and 0 <= top <= high // 2 and left + top > 0):
            continue
        options = {
            "kernel_size": (high, wide),
            "stride": pool.stride,
            "padding": (top, left),
            "dilation": pool.dilation,
            "ceil_mode": pool.ceil_mode,
        }
        with graph.inserting_before(node):
            merged = graph.call_function(F.max_pool2d, (source.args[0],), options)
        replace_node(graph, node, merged)
        changed = True
    return changed


REWRITES = [
    fold_batch_norm_keep_bias,
    fold_batch_norm_shared_result,
    fold_batch_norm_into_padded_conv,
    fold_scale_into_shared_layer,
    merge_zero_pad_into_max_pool,
]
