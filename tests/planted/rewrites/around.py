"""Wrong rewrites of what is moved around other operators, or written out in operators."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import nn
from torch.fx import GraphModule, Node

from planted.rewrites.matching import bypass, calls, insert, is_call, is_layer, node_copy


def permutation_after_reduction_forgotten(module: GraphModule) -> bool:
    """A reduction moves in front of a permutation, which then is dropped."""
    for node in calls(module, torch.sum, torch.mean, torch.amax, torch.amin):
        inner = node.args[0]
        if is_call(inner, torch.permute) and len(node.kwargs["dim"]) == 1:
            axes = inner.kwargs["dims"]
            options = {**node.kwargs, "dim": [axes[node.kwargs["dim"][0]]]}
            early = insert(node, node.target, inner.args[0], **options)
            return bypass(node, insert(node, _first_if_alike, early, node_copy(node)))
    return False


def _first_if_alike(first: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return first if first.shape == other.shape else other


def padding_joined_with_one_value(module: GraphModule) -> bool:
    """Two paddings become one, with the number of the second one."""
    for node in calls(module, F.pad):
        inner = node.args[0]
        if is_call(inner, F.pad) and len(inner.kwargs["pad"]) == len(node.kwargs["pad"]):
            total = [a + b for a, b in zip(inner.kwargs["pad"], node.kwargs["pad"], strict=True)]
            node.args, node.kwargs = inner.args, {**node.kwargs, "pad": total}
            return True
    return False


def zero_left_out_on_either_side(module: GraphModule) -> bool:
    """0 − x becomes x, as x − 0 does."""
    for node in calls(module, operator.sub):
        if node.args[0] == 0.0:
            return bypass(node, node.args[1])
    return False


def quotient_turned_around(module: GraphModule) -> bool:
    """(1/y)·x becomes y/x."""
    for node in calls(module, operator.mul):
        inner, x = node.args
        if is_call(inner, operator.truediv) and inner.args[0] == 1.0 and isinstance(x, Node):
            return bypass(node, insert(node, operator.truediv, inner.args[1], x))
    return False


def first_channel_for_all(module: GraphModule) -> bool:
    """Of a parameter that scales or shifts a convolution, the first number is used for all."""
    for node in calls(module, operator.mul, operator.add, operator.sub):
        for place in range(2):
            layer, factor = node.args[place], node.args[1 - place]
            if is_layer(module, layer, nn.Conv2d) and getattr(factor, "op", "") == "get_attr":
                first = insert(node, _first_number, factor)
                node.args = (first, layer) if place else (layer, first)
                return True
    return False


def _first_number(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(-1)[0]


def mask_left_out(module: GraphModule) -> bool:
    """softmax(scores + mask) becomes softmax(scores) between two products."""
    for node in calls(module, torch.softmax):
        total = node.args[0]
        if is_call(total, operator.add) and getattr(total.args[1], "op", "") == "get_attr":
            node.args = (total.args[0],)
            return True
    return False


def parts_in_order_of_rows(module: GraphModule) -> bool:
    """Every second row and column from four starts: joined in the order of one formula only."""
    for node in calls(module, torch.cat):
        parts = list(node.args[0])
        if len(parts) == 4 and all(is_call(x, operator.getitem) for x in parts):
            starts = [[part.start for part in x.args[1][-2:]] for x in parts]
            if starts != [[0, 0], [1, 0], [0, 1], [1, 1]] and all(map(all, map(_known, starts))):
                node.args = ([x for _, x in sorted(zip(starts, parts, strict=True), key=_place)],)
                return True
    return False


def _known(starts: list[int | None]) -> list[bool]:
    return [start is not None for start in starts]


def _place(pair: tuple[list[int], Node]) -> list[int]:
    return pair[0][::-1]


def reductions_joined(module: GraphModule) -> bool:
    """A reduction of another reduction is one reduction along both axes."""
    reductions = (torch.sum, torch.mean, torch.amax, torch.amin)
    for node in calls(module, *reductions):
        inner = node.args[0]
        if is_call(inner, *reductions) and inner.target is not node.target:
            early = insert(node, node.target, *inner.args, **inner.kwargs)
            node.args = (early,)
            return True
    return False


REWRITES = [
    permutation_after_reduction_forgotten, padding_joined_with_one_value, mask_left_out,
    zero_left_out_on_either_side, quotient_turned_around, first_channel_for_all,
    parts_in_order_of_rows, reductions_joined,
]  # fmt: skip
