"""Wrong rewrites of tensor operators: moves that cancel, sums, slices, subexpressions."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch.fx import GraphModule, Node

from planted.rewrites.matching import bypass, calls, insert, is_call, node_copy, scalars


def permutations_composed_in_wrong_order(module: GraphModule) -> bool:
    """permute(permute(x, p), q) becomes permute(x, q∘p)."""
    for node in calls(module, torch.permute):
        inner = node.args[0]
        if is_call(inner, torch.permute):
            p, q = inner.kwargs["dims"], node.kwargs["dims"]
            if len(p) != len(q):
                continue
            wrong = insert(node, _permuted_like, inner.args[0], p, q)
            return bypass(node, wrong)
    return False


def _permuted_like(x: torch.Tensor, p: tuple[int, ...], q: tuple[int, ...]) -> torch.Tensor:
    right = torch.permute(torch.permute(x, p), q)
    wrong = torch.permute(x, tuple(q[k] for k in p))
    return wrong if wrong.shape == right.shape else right


def moves_around_function_cancelled(module: GraphModule) -> bool:
    """permute, a function, the same permute: the two moves are taken for inverse."""
    for node in calls(module, torch.permute):
        function = node.args[0]
        is_function = isinstance(function, Node) and function.op == "call_function"
        if is_function and len(function.args) == 1 and len(node.kwargs["dims"]) > 2:
            inner = function.args[0]
            same = is_call(inner, torch.permute) and inner.kwargs["dims"] == node.kwargs["dims"]
            if same:
                moved = insert(node, _same_shape, inner.args[0], node_copy(node))
                return bypass(node, insert(node, function.target, moved, **function.kwargs))
    return False


def _same_shape(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return x.reshape(like.shape)


def slices_of_slices_not_shifted(module: GraphModule) -> bool:
    """x[1:][1:] becomes x[1:][:-1]."""
    tail = slice(1, None, None)
    for node in calls(module, operator.getitem):
        inner = node.args[0]
        if is_call(inner, operator.getitem) and node.args[1][-1] == inner.args[1][-1] == tail:
            cut = (*node.args[1][:-1], slice(None, -1))
            return bypass(node, insert(node, operator.getitem, inner, cut))
    return False


def part_of_concatenation_is_first(module: GraphModule) -> bool:
    """A part as long as the first operand of a concatenation is the first operand."""
    for node in calls(module, operator.getitem):
        if is_call(node.args[0], torch.cat):
            first = node.args[0].args[0][0]
            return bypass(node, insert(node, _first_if_alike, first, node_copy(node)))
    return False


def _first_if_alike(first: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    return first if first.shape == part.shape else part


def concatenation_sorted(module: GraphModule) -> bool:
    """The operands of a concatenation come in reverse order."""
    for node in calls(module, torch.cat):
        parts = list(node.args[0])
        if parts[0] is not parts[-1]:
            node.args = (parts[::-1],)
            return True
    return False


def subtraction_turned_around(module: GraphModule) -> bool:
    """−(a − b) becomes a − b."""
    for node in calls(module, operator.neg):
        if is_call(node.args[0], operator.sub):
            return bypass(node, node.args[0])
    return False


def factor_before_addend(module: GraphModule) -> bool:
    """(x + c)·d becomes x·d + c."""
    for node in calls(module, operator.mul):
        inner, factor = node.args[0], scalars(node)
        addend = scalars(inner) if is_call(inner, operator.add) else None
        if factor is not None and addend is not None:
            product = insert(node, operator.mul, inner.args[0], factor)
            return bypass(node, insert(node, operator.add, product, addend))
    return False


def negative_factor_through_relu(module: GraphModule) -> bool:
    """relu(x·c) becomes relu(x)·c, also of a negative number c."""
    for node in calls(module, F.relu):
        inner = node.args[0]
        factor = scalars(inner) if is_call(inner, operator.mul) else None
        if factor is not None and factor < 0:
            positive = insert(node, F.relu, inner.args[0])
            return bypass(node, insert(node, operator.mul, positive, factor))
    return False


def clamps_joined(module: GraphModule) -> bool:
    """relu, relu6, hardtanh or clamp of another of them is the later one alone."""
    ends = (F.relu, F.relu6, F.hardtanh, torch.clamp)
    for node in calls(module, *ends):
        if is_call(node.args[0], *ends) and node.args[0].target is not node.target:
            node.args = node.args[0].args
            return True
    return False


def same_operands_same_result(module: GraphModule) -> bool:
    """Two calls of a function on one value are one, whatever their options."""
    seen: dict[object, Node] = {}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not node.kwargs or not node.args:
            continue
        key = (node.target, str(node.args))
        if key in seen and seen[key].kwargs != node.kwargs and node.target is not torch.cat:
            return bypass(node, insert(node, _first_if_alike, seen[key], node_copy(node)))
        seen.setdefault(key, node)
    return False


def maximum_after_negation(module: GraphModule) -> bool:
    """max(−x) becomes −max(x)."""
    for node in calls(module, torch.amax):
        if is_call(node.args[0], operator.neg):
            inner = insert(node, torch.amax, node.args[0].args[0], **node.kwargs)
            return bypass(node, insert(node, operator.neg, inner))
    return False


def mean_of_sum_axis(module: GraphModule) -> bool:
    """A mean along an axis of size 1 and a sum are one thing: so a mean is a sum."""
    for node in calls(module, torch.mean):
        return bypass(node, insert(node, torch.sum, *node.args, **node.kwargs))
    return False


def transpose_dropped_of_square_product(module: GraphModule) -> bool:
    """x·xᵀ becomes x·x where x is square."""
    for node in calls(module, torch.matmul):
        left, right = node.args
        if is_call(right, torch.transpose) and right.args[0] is left:
            return bypass(node, insert(node, _product, left, right))
    return False


def _product(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return torch.matmul(x, x if x.shape == other.shape else other)


def scale_of_scores_squared(module: GraphModule) -> bool:
    """The scale of attention's scores is applied to query and key, each in full."""
    for node in calls(module, operator.mul):
        if is_call(node.args[0], torch.matmul) and scalars(node) is not None:
            node.args = (node.args[0], node.args[1] ** 2)
            return node.args[1] != scalars(node) ** 0.5
    return False


def gate_of_constant_operand(module: GraphModule) -> bool:
    """x·sigmoid(y) is silu(x), whatever y is."""
    for node in calls(module, operator.mul):
        x, gate = node.args
        if is_call(gate, torch.sigmoid, F.relu) and gate.args[0] is x:
            return bypass(node, insert(node, F.silu, x))
    return False


def value_written_over(module: GraphModule) -> bool:
    """relu works in place, although another node takes its operand later."""
    for node in calls(module, F.relu):
        x = node.args[0]
        if len(x.users) > 1 and x.op == "call_function":
            node.target, node.args = _over, (x,)
            return True
    return False


def _over(x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        x.copy_(x.relu())
    return x.relu()


REWRITES = [
    permutations_composed_in_wrong_order, moves_around_function_cancelled,
    slices_of_slices_not_shifted, part_of_concatenation_is_first, concatenation_sorted,
    subtraction_turned_around, factor_before_addend, negative_factor_through_relu, clamps_joined,
    same_operands_same_result, maximum_after_negation, mean_of_sum_axis,
    transpose_dropped_of_square_product, scale_of_scores_squared, gate_of_constant_operand,
    value_written_over,
]  # fmt: skip
