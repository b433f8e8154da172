"""Blind rewrites of products, attention, merged calls and recognised blocks."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import Tensor, fx, nn

from planted.rewrites.blind.matching import (
    REDUCTIONS,
    called_layer,
    erase_unused,
    is_call,
    live_nodes,
    read_attribute,
    reads_input,
    reduced_dims,
    replace_node,
    scalar_operand,
)


def matmul_to_linear_by_shape(module: fx.GraphModule) -> bool:
    """Turns matmul with a square constant into linear, not transposing it as the shape fits."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.matmul):
            continue
        weight = read_attribute(module, node.args[1])
        if weight is None or weight.dim() != 2 or weight.shape[0] != weight.shape[1]:
            continue
        with graph.inserting_before(node):
            result = graph.call_function(F.linear, tuple(node.args))
        replace_node(graph, node, result)
        changed = True
    return changed


def _fused_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with the usual scale; key comes with its last two axes swapped already."""
    scores = torch.matmul(query, key) * query.shape[-1] ** -0.5
    return torch.matmul(torch.softmax(scores, dim=-1), value)


def fuse_attention_default_scale(module: fx.GraphModule) -> bool:
    """Fuses softmax(q @ k * c) @ v into attention that always scales by 1 / sqrt(width)."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.matmul) or not is_call(node.args[0], torch.softmax):
            continue
        weights, value = node.args
        scores = weights.args[0]
        scaled = scalar_operand(scores, operator.mul)
        product = scaled[0] if scaled else scores
        if not is_call(product, torch.matmul) or weights.kwargs.get("dim") != -1:
            continue
        with graph.inserting_before(node):
            result = graph.call_function(_fused_attention, (*product.args, value))
        replace_node(graph, node, result)
        changed = True
    return changed


def merge_equal_calls_ignoring_kwargs(module: fx.GraphModule) -> bool:
    """Common subexpression elimination whose key is target and inputs, without the kwargs."""
    pointwise = (F.relu, F.leaky_relu, F.hardtanh, torch.clamp, F.elu, F.softplus, F.gelu)
    pointwise += (torch.softmax, torch.flip, torch.sigmoid, torch.tanh)
    graph, changed = module.graph, False
    seen: dict[tuple[Any, fx.Node], fx.Node] = {}
    for node in live_nodes(module):
        if not is_call(node, *pointwise) or len(node.args) != 1:
            continue
        earlier = seen.setdefault((node.target, node.args[0]), node)
        if earlier is not node:
            replace_node(graph, node, earlier)
            changed = True
    return changed


def merge_equal_modules_by_repr(module: fx.GraphModule) -> bool:
    """Merges two layers of one input that have equal settings, without comparing the weights."""
    classes = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.RMSNorm)
    graph, changed = module.graph, False
    seen: dict[tuple[str, Any], fx.Node] = {}
    for node in live_nodes(module):
        layer = called_layer(module, node, *classes)
        if layer is None:
            continue
        earlier = seen.setdefault((repr(layer), node.args[0]), node)
        if earlier is not node:
            replace_node(graph, node, earlier)
            changed = True
    return changed


def fuse_activation_for_all_users(module: fx.GraphModule) -> bool:
    """Fuses an activation into the conv or linear before it, for the layer's other users too."""
    activations = (F.relu, F.relu6, F.hardtanh, F.leaky_relu, torch.clamp, torch.sigmoid)
    activations += (torch.tanh, F.silu, F.gelu, F.hardswish, F.elu)
    changed = False
    for node in live_nodes(module):
        if not is_call(node, *activations) or len(node.all_input_nodes) != 1:
            continue
        source = node.args[0]
        if called_layer(module, source, nn.Conv2d, nn.Linear) is None or len(source.users) < 2:
            continue
        source.append(node)
        source.replace_all_uses_with(node, delete_user_cb=lambda user, keep=node: user is not keep)
        changed = True
    return changed


def relu_in_place_through_view(module: fx.GraphModule) -> bool:
    """Runs relu in place on a view that has no other user, though the viewed tensor has."""
    views = (operator.getitem, torch.reshape, torch.permute, torch.transpose)
    fresh = (operator.add, operator.sub, operator.mul, operator.neg, torch.matmul)
    layers = (nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.BatchNorm1d, nn.BatchNorm2d)
    for node in live_nodes(module):
        if not is_call(node, F.relu, F.relu6) or node.kwargs.get("inplace"):
            continue
        base, depth = node.args[0], 0
        while len(base.users) == 1 and (
            is_call(base, *views) or called_layer(module, base, nn.Identity, nn.Dropout) is not None
        ):
            base, depth = base.args[0], depth + 1
        if not depth or len(base.users) < 2:
            continue
        if not is_call(base, *fresh) and called_layer(module, base, *layers) is None:
            continue
        # Whoever read the tensor before this point may have saved it for its backward.
        order = {n: place for place, n in enumerate(module.graph.nodes)}
        chain = node.args[0]
        while chain.args[0] is not base:
            chain = chain.args[0]
        if any(order[user] < order[node] for user in base.users if user is not chain):
            continue
        node.kwargs = {**node.kwargs, "inplace": True}
        return True
    return False


def add_inputs_of_shared_linear(module: fx.GraphModule) -> bool:
    """Turns f(a) + f(b) for one linear layer f into f(a + b), which has its bias just once."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, operator.add):
            continue
        first, second = node.args
        if (
            called_layer(module, first, nn.Linear) is None
            or called_layer(module, second, nn.Linear) is None
        ):
            continue
        if first.target != second.target:
            continue
        with graph.inserting_before(node):
            total = graph.call_function(operator.add, (first.args[0], second.args[0]))
            result = graph.call_module(str(first.target), (total,))
        replace_node(graph, node, result)
        changed = True
    return changed


def fold_parameter_to_constant(module: fx.GraphModule) -> bool:
    """Folds a function of one parameter into a constant buffer, so the parameter gets no grad."""
    binary = (operator.add, operator.sub, operator.mul)
    unary = (operator.neg, torch.abs, torch.square, torch.sigmoid, torch.tanh, F.relu)
    unary += (torch.permute, torch.transpose, torch.reshape, torch.flip, F.softplus)
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, *binary, *unary):
            continue
        if is_call(node, *binary) and scalar_operand(node, *binary) is None:
            continue
        source = node.args[0]
        value = read_attribute(module, source)
        if value is None:
            continue
        # A user of nothing but constants would be a result without any backward.
        if not all(user.op != "output" and reads_input(user) for user in node.users):
            continue
        folded = node.target(value.detach(), *node.args[1:], **node.kwargs).clone()
        name = f"folded_{node.name}"
        module.register_buffer(name, folded)
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        replace_node(graph, node, constant)
        changed = True
    return changed


def match_swish_any_beta(module: fx.GraphModule) -> bool:
    """Recognises x * sigmoid(x * beta) as silu(x) whatever beta is."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, operator.mul):
            continue
        for plain, gate in (node.args, node.args[::-1]):
            scaled = (
                scalar_operand(gate.args[0], operator.mul) if is_call(gate, torch.sigmoid) else None
            )
            if scaled is None or scaled[0] is not plain:
                continue
            with graph.inserting_before(node):
                result = graph.call_function(F.silu, (plain,))
            replace_node(graph, node, result)
            changed = True
            break
    return changed


def normalise_with_saved_statistics(module: fx.GraphModule) -> bool:
    """Treats the statistics of a hand-written layer or RMS norm as constants in the backward."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if is_call(node, operator.sub):
            statistic = node.args[1]
            if not is_call(statistic, torch.mean) or not statistic.kwargs.get("keepdim"):
                continue
            if statistic.args[0] is not node.args[0]:
                continue
        elif is_call(node, operator.mul):
            statistic = node.args[1]
            shifted = statistic.args[0] if is_call(statistic, torch.rsqrt) else None
            power = scalar_operand(shifted, operator.add) if shifted is not None else None
            if power is None or not is_call(power[0], torch.mean):
                continue
        else:
            continue
        with graph.inserting_before(node):
            saved = graph.call_method("detach", (statistic,))
        node.update_arg(1, saved)
        changed = True
    return changed


def drop_identity_rebuild_inputs(module: fx.GraphModule) -> bool:
    """Drops Identity and Dropout, giving binary users their new input always as the first one."""
    binary = (operator.add, operator.sub, operator.mul, torch.maximum, torch.minimum)
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if called_layer(module, node, nn.Identity, nn.Dropout) is None:
            continue
        if not any(is_call(user, *binary, torch.cat) for user in node.users):
            continue
        source = node.args[0]
        for user in list(node.users):
            if is_call(user, *binary) and user.args.count(node) == 1:
                user.args = (source, *[arg for arg in user.args if arg is not node])
            elif is_call(user, torch.cat) and user.args[0].count(node) == 1:
                user.args = ([source, *[part for part in user.args[0] if part is not node]],)
            else:
                user.replace_input_with(node, source)
        erase_unused(graph, node)
        changed = True
    return changed


def normalisation_absorbs_scalars(module: fx.GraphModule) -> bool:
    """Drops a scalar shift or scale before layer norm, which cancels it, and before RMS norm."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if called_layer(module, node, nn.LayerNorm, nn.RMSNorm) is None:
            continue
        source = node.args[0]
        operand_and_factor = scalar_operand(source, operator.add, operator.sub, operator.mul)
        if operand_and_factor is None or (
            is_call(source, operator.mul) and operand_and_factor[1] == 0
        ):
            continue
        node.update_arg(0, operand_and_factor[0])
        erase_unused(graph, source)
        changed = True
    return changed


def compute_before_expand(module: fx.GraphModule) -> bool:
    """Moves a softmax or reduction above an expand, also along the axis that it expands."""
    graph, changed = module.graph, False
    for node in live_nodes(module):
        if not is_call(node, torch.softmax, *REDUCTIONS):
            continue
        source = node.args[0]
        if source.op != "call_method" or source.target != "expand":
            continue
        inner, *sizes = source.args
        if not all(isinstance(size, int) for size in sizes):
            continue
        options = dict(node.kwargs)
        if node.target is torch.softmax:
            if options.get("dim") != -1:
                continue
        else:
            dims = reduced_dims(node)
            if len(dims) != 1 or not options.get("keepdim"):
                continue
            axis = dims[0] % len(sizes)
            same_rank = is_call(inner, *REDUCTIONS) and inner.kwargs.get("keepdim")
            if not same_rank and -1 not in sizes[: axis + 1]:
                continue
            options["dim"] = (axis - len(sizes),)
            sizes[axis] = 1
        with graph.inserting_before(node):
            small = graph.call_function(node.target, (inner,), options)
            result = graph.call_method("expand", (small, *sizes))
        replace_node(graph, node, result)
        changed = True
    return changed


REWRITES = [
    matmul_to_linear_by_shape,
    fuse_attention_default_scale,
    merge_equal_calls_ignoring_kwargs,
    merge_equal_modules_by_repr,
    fuse_activation_for_all_users,
    relu_in_place_through_view,
    add_inputs_of_shared_linear,
    fold_parameter_to_constant,
    match_swish_any_beta,
    normalise_with_saved_statistics,
    drop_identity_rebuild_inputs,
    normalisation_absorbs_scalars,
    compute_before_expand,
]
