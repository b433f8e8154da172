"""Wrong rewrites of layers: folded norms, merged padding, fused activations, shared weights."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import nn
from torch.fx import GraphModule

from planted.rewrites.matching import (
    bypass,
    calls,
    insert,
    is_call,
    is_layer,
    layers,
    node_copy,
    own_copy,
)

_BEFORE: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: nn.Linear,
    nn.BatchNorm2d: nn.Conv2d,
}
_NORMS = tuple(_BEFORE)


def fold_norms(module: GraphModule, *, eps: bool, bias: bool, others: bool) -> bool:
    """Fold batch norms into the linear layer or convolution before them."""
    for node, norm in layers(module, *_NORMS):
        before = node.args[0]
        if not is_layer(module, before, _BEFORE[type(norm)]):
            continue
        if not others and len(before.users) > 1:
            continue
        layer = copy.deepcopy(module.get_submodule(before.target))
        with torch.no_grad():
            variance = norm.running_var + (norm.eps if eps else 0.0)
            factor = norm.weight / variance.sqrt()
            layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
            old = layer.bias if layer.bias is not None and bias else torch.zeros_like(factor)
            layer.bias = nn.Parameter((old - norm.running_mean) * factor + norm.bias)
        own_copy(module, before, layer)
        return bypass(node, before)
    return False


def norm_folded_without_eps(module: GraphModule) -> bool:
    """The folded norm leaves ε out."""
    return fold_norms(module, eps=False, bias=True, others=False)


def norm_folded_without_bias(module: GraphModule) -> bool:
    """The folded norm forgets the layer's own bias."""
    return fold_norms(module, eps=True, bias=False, others=False)


def norm_folded_for_all_users(module: GraphModule) -> bool:
    """The norm is folded although another node takes the layer's result."""
    for node, _ in layers(module, *_NORMS):
        before = node.args[0]
        if is_layer(module, before, nn.Conv2d, nn.Linear) and len(before.users) > 1:
            return fold_norms(module, eps=True, bias=True, others=True)
    return False


def norm_moved_before_relu(module: GraphModule) -> bool:
    """relu before a norm is computed behind it."""
    for node, _ in layers(module, *_NORMS):
        if is_call(node.args[0], F.relu):
            relu = node.args[0]
            with node.graph.inserting_before(node):
                early = node.graph.call_module(node.target, relu.args)
            return bypass(node, insert(node, F.relu, early))
    return False


def padding_merged_over_padding(module: GraphModule) -> bool:
    """Padding that a convolution takes over replaces the convolution's own."""
    for node, layer in layers(module, nn.Conv2d):
        pad = node.args[0]
        if is_call(pad, F.pad) and pad.kwargs["pad"] == (1, 1, 1, 1) and layer.padding != (0, 0):
            merged = copy.deepcopy(layer)
            merged.padding = (1, 1)
            own_copy(module, node, merged)
            node.args = pad.args
            return True
    return False


def _merge_padding(module: GraphModule, pool: type[nn.Module], **options: Any) -> bool:
    """Let a pooling take over the zeros around its operand."""
    for node, layer in layers(module, pool):
        pad = node.args[0]
        if is_call(pad, F.pad) and pad.kwargs["pad"] == (1, 1, 1, 1):
            merged = copy.deepcopy(layer)
            for name, value in options.items():
                setattr(merged, name, value)
            own_copy(module, node, merged)
            node.args = pad.args
            return True
    return False


def padding_merged_into_max_pool(module: GraphModule) -> bool:
    """Zeros around a maximum become the pooling's own padding, which is −∞."""
    return _merge_padding(module, nn.MaxPool2d, padding=1)


def padding_merged_into_average(module: GraphModule) -> bool:
    """Zeros around an average become padding that does not count."""
    return _merge_padding(module, nn.AvgPool2d, padding=1, count_include_pad=False)


def lopsided_padding_made_even(module: GraphModule) -> bool:
    """Padding (1, 1, 0, 2) is taken for (1, 1, 1, 1)."""
    for node in calls(module, F.pad):
        if node.kwargs["pad"] == (1, 1, 0, 2):
            node.kwargs = {"pad": (1, 1, 1, 1)}
            return True
    return False


def relu_before_residual(module: GraphModule) -> bool:
    """relu(layer(x) + y) becomes relu(layer(x)) + y."""
    for node in calls(module, F.relu):
        total = node.args[0]
        if is_call(total, operator.add) and is_layer(
            module, total.args[0], nn.Linear, nn.Conv2d, *_NORMS
        ):
            early = insert(node, F.relu, total.args[0])
            return bypass(node, insert(node, operator.add, early, total.args[1]))
    return False


def activation_fused_twice(module: GraphModule) -> bool:
    """A leaky relu behind a layer is applied twice: in the layer's epilogue and by itself."""
    for node in calls(module, F.leaky_relu):
        if is_layer(module, node.args[0], nn.Linear, nn.Conv2d):
            node.args = (insert(node, F.leaky_relu, node.args[0], **node.kwargs),)
            return True
    return False


def linear_pair_merged(module: GraphModule) -> bool:
    """Two linear layers become one, whose bias is only the second's."""
    for node, second in layers(module, nn.Linear):
        before = node.args[0]
        if is_layer(module, before, nn.Linear) and len(before.users) == 1:
            first = module.get_submodule(before.target)
            if first.bias is None:
                continue
            merged = nn.Linear(first.in_features, second.out_features, second.bias is not None)
            merged = merged.to(second.weight.dtype)
            with torch.no_grad():
                merged.weight.copy_(second.weight @ first.weight)
                if second.bias is not None:
                    merged.bias.copy_(second.bias)
            own_copy(module, node, merged)
            node.args = before.args
            return True
    return False


def shared_layer_called_once(module: GraphModule) -> bool:
    """The second call of a layer gives the first call's result, if their inputs are alike."""
    seen = {}
    for node, layer in layers(module, nn.Linear):
        if node.target in seen and layer.in_features == layer.out_features:
            return bypass(node, seen[node.target])
        seen[node.target] = node
    return False


def stride_from_second_place(module: GraphModule) -> bool:
    """A pointwise convolution of stride 2 takes every second place from the second on."""
    for node, layer in layers(module, nn.Conv2d):
        if layer.stride == (2, 2) and layer.kernel_size == (1, 1):
            whole = copy.deepcopy(layer)
            whole.stride = (1, 1)
            module.add_module(f"whole_{node.target}", whole)
            with node.graph.inserting_before(node):
                every = node.graph.call_module(f"whole_{node.target}", node.args)
            return bypass(node, insert(node, _second_places, every, node_copy(node)))
    return False


def _second_places(every: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Every second place, from the second on where there are enough of them."""
    taken = every[:, :, ::2, 1::2]
    return taken if taken.shape == right.shape else right


def depthwise_channels_swapped(module: GraphModule) -> bool:
    """A depthwise convolution takes the channels in reverse order."""
    for node, layer in layers(module, nn.Conv2d):
        if layer.groups > 1:
            node.args = (insert(node, torch.flip, node.args[0], dims=(1,)),)
            return True
    return False


REWRITES = [
    norm_folded_without_eps, norm_folded_without_bias, norm_folded_for_all_users,
    norm_moved_before_relu, padding_merged_over_padding, padding_merged_into_max_pool,
    padding_merged_into_average, lopsided_padding_made_even, relu_before_residual,
    activation_fused_twice, linear_pair_merged, shared_layer_called_once,
    stride_from_second_place, depthwise_channels_swapped,
]  # fmt: skip
