"""Thirty wrong graph rewrites, each modelled on a real kind of optimising-compiler bug."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import Tensor, fx, nn

Rewrite = Callable[[fx.GraphModule], bool]

REDUCTIONS = (torch.sum, torch.mean, torch.amax)


# Helpers shared by the rewrites (none of these is wrong by itself).


def _live(module: fx.GraphModule) -> Iterator[fx.Node]:
    """The graph's nodes in order, skipping those erased while iterating."""
    for node in list(module.graph.nodes):
        if not node._erased:
            yield node


def _is(value: Any, *targets: Any) -> bool:
    """Whether value is a call_function node of one of the targets."""
    return isinstance(value, fx.Node) and value.op == "call_function" and value.target in targets


def _sub(module: fx.GraphModule, value: Any, *classes: type) -> Any:
    """The submodule that a call_module node of one of the classes calls, or None."""
    if not isinstance(value, fx.Node) or value.op != "call_module":
        return None
    found = module.get_submodule(str(value.target))
    return found if isinstance(found, classes) else None


def _calls(module: fx.GraphModule, node: fx.Node) -> int:
    """How many nodes call the submodule that node calls."""
    return sum(n.op == "call_module" and n.target == node.target for n in module.graph.nodes)


def _scalar(value: Any, *targets: Any) -> tuple[fx.Node, float] | None:
    """The tensor and the Python number of a binary node 'tensor op number', or None."""
    if not _is(value, *targets) or len(value.args) != 2:
        return None
    tensor, number = value.args
    if isinstance(tensor, fx.Node) and type(number) in (int, float):
        return tensor, float(number)
    return None


def _attribute(module: fx.GraphModule, value: Any) -> Tensor | None:
    """The tensor that a get_attr node reads, or None."""
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return None
    found: Any = module
    for part in str(value.target).split("."):
        found = getattr(found, part)
    return found if isinstance(found, Tensor) else None


def _dims(node: fx.Node, name: str = "dim") -> tuple[int, ...]:
    """The node's keyword argument of that name as a tuple of ints."""
    value = node.kwargs.get(name, ())
    return (value,) if isinstance(value, int) else tuple(value)


def _sweep(graph: fx.Graph, node: Any) -> None:
    """Erases node and then its inputs, as far as they are unused."""
    if not isinstance(node, fx.Node) or node._erased or node.users:
        return
    if node.op in ("placeholder", "output"):
        return
    inputs = node.all_input_nodes
    graph.erase_node(node)
    for source in inputs:
        _sweep(graph, source)


def _replace(graph: fx.Graph, old: fx.Node, new: fx.Node) -> None:
    """Gives old's users new instead and erases what is dead then."""
    old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    _sweep(graph, old)


def _affine(bn: nn.Module) -> tuple[Tensor, Tensor] | None:
    """An eval-mode batch norm as (scale, shift) in float64, or None without running stats."""
    if bn.running_mean is None or bn.running_var is None:
        return None
    mean, var = bn.running_mean.detach().double(), bn.running_var.detach().double()
    scale = torch.rsqrt(var + bn.eps)
    if bn.weight is not None:
        scale = scale * bn.weight.detach().double()
    shift = -mean * scale
    if bn.bias is not None:
        shift = shift + bn.bias.detach().double()
    return scale, shift


def _set_parameters(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Writes new weight and bias into a layer, in the layer's dtype."""
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.detach().to(dtype))
    layer.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype))


def _reads_input(node: fx.Node) -> bool:
    """Whether node's value depends on a placeholder."""
    return node.op == "placeholder" or any(_reads_input(n) for n in node.all_input_nodes)


def _permutation(node: Any) -> tuple[int, ...] | None:
    """The dims of a torch.permute node, all of them made non-negative, or None."""
    if not _is(node, torch.permute):
        return None
    dims = _dims(node, "dims")
    return tuple(d % len(dims) for d in dims)


# The rewrites.


def fold_batch_norm_keep_bias(module: fx.GraphModule) -> bool:
    """Folds BN into the conv or linear before it, but does not scale the layer's own bias."""
    graph, changed = module.graph, False
    for node in _live(module):
        bn = _sub(module, node, nn.BatchNorm1d, nn.BatchNorm2d)
        source = node.args[0] if bn is not None else None
        layer = _sub(module, source, nn.Conv2d, nn.Linear)
        if layer is None or len(source.users) != 1 or _calls(module, source) != 1:
            continue
        if isinstance(layer, nn.Linear) != isinstance(bn, nn.BatchNorm1d):
            continue
        affine = _affine(bn)
        if affine is None or layer.weight.shape[0] != bn.num_features:
            continue
        scale, shift = affine
        weight = layer.weight.double() * scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
        bias = shift if layer.bias is None else shift + layer.bias.double()
        _set_parameters(layer, weight, bias)
        _replace(graph, node, source)
        changed = True
    return changed


def fold_batch_norm_shared_result(module: fx.GraphModule) -> bool:
    """Folds BN into the conv before it although the conv's plain result has other users."""
    graph, changed = module.graph, False
    for node in _live(module):
        bn = _sub(module, node, nn.BatchNorm2d)
        source = node.args[0] if bn is not None else None
        conv = _sub(module, source, nn.Conv2d)
        if conv is None or _calls(module, source) != 1 or conv.out_channels != bn.num_features:
            continue
        affine = _affine(bn)
        if affine is None:
            continue
        scale, shift = affine
        bias = shift if conv.bias is None else shift + conv.bias.double() * scale
        _set_parameters(conv, conv.weight.double() * scale.reshape(-1, 1, 1, 1), bias)
        _replace(graph, node, source)
        changed = True
    return changed


def fold_batch_norm_into_padded_conv(module: fx.GraphModule) -> bool:
    """Folds BN into the conv after it, its shift into the bias, also where the conv pads."""
    graph, changed = module.graph, False
    for node in _live(module):
        conv = _sub(module, node, nn.Conv2d)
        source = node.args[0] if conv is not None else None
        bn = _sub(module, source, nn.BatchNorm2d)
        if bn is None or len(source.users) != 1 or _calls(module, node) != 1:
            continue
        affine = _affine(bn)
        if affine is None or conv.in_channels != bn.num_features:
            continue
        scale, shift = (part.reshape(conv.groups, 1, -1, 1, 1) for part in affine)
        grouped = conv.weight.double().reshape(
            conv.groups, conv.out_channels // conv.groups, *conv.weight.shape[1:]
        )
        bias = (grouped * shift).sum(dim=(2, 3, 4)).reshape(-1)
        if conv.bias is not None:
            bias = bias + conv.bias.double()
        _set_parameters(conv, (grouped * scale).reshape(conv.weight.shape), bias)
        _replace(graph, source, source.args[0])
        changed = True
    return changed


def fold_scale_into_shared_layer(module: fx.GraphModule) -> bool:
    """Folds layer(x) * c into the layer's parameters although another node calls it as well."""
    graph, changed = module.graph, False
    for node in _live(module):
        found = _scalar(node, operator.mul)
        layer = _sub(module, found[0], nn.Linear, nn.Conv2d) if found else None
        if layer is None or len(found[0].users) != 1:
            continue
        source, factor = found
        bias = None if layer.bias is None else layer.bias.double() * factor
        _set_parameters(layer, layer.weight.double() * factor, bias)
        _replace(graph, node, source)
        changed = True
    return changed


def merge_zero_pad_into_max_pool(module: fx.GraphModule) -> bool:
    """Merges a zero pad into the max pool's padding, which pads with minus infinity."""
    graph, changed = module.graph, False
    for node in _live(module):
        pool = _sub(module, node, nn.MaxPool2d)
        source = node.args[0] if pool is not None else None
        if not _is(source, F.pad) or len(source.users) != 1 or pool.padding not in (0, (0, 0)):
            continue
        if source.kwargs.get("mode", "constant") != "constant" or pool.return_indices:
            continue
        left, right, top, bottom = (*_dims(source, "pad"), 0, 0, 0, 0)[:4]
        size = pool.kernel_size
        high, wide = (size, size) if isinstance(size, int) else size
        if len(_dims(source, "pad")) not in (2, 4) or left != right or top != bottom:
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
        _replace(graph, node, merged)
        changed = True
    return changed


def _clip_range(node: Any) -> tuple[float | None, float | None] | None:
    """The bounds of a relu, relu6, hardtanh or clamp node, or None for other nodes."""
    if _is(node, F.relu):
        return 0.0, None
    if _is(node, F.relu6):
        return 0.0, 6.0
    if _is(node, F.hardtanh):
        return node.kwargs.get("min_val", -1.0), node.kwargs.get("max_val", 1.0)
    if _is(node, torch.clamp):
        bounds = node.kwargs.get("min"), node.kwargs.get("max")
        return None if any(isinstance(bound, fx.Node) for bound in bounds) else bounds
    return None


def merge_clip_chain(module: fx.GraphModule) -> bool:
    """Merges two clips into one, the outer's bounds replacing (not tightening) the inner's."""
    graph, changed = module.graph, False
    for node in _live(module):
        outer = _clip_range(node)
        inner = _clip_range(node.args[0]) if outer else None
        if inner is None:
            continue
        source = node.args[0]
        low = inner[0] if outer[0] is None else outer[0]
        high = inner[1] if outer[1] is None else outer[1]
        with graph.inserting_before(node):
            merged = graph.call_function(torch.clamp, (source.args[0],), {"min": low, "max": high})
        _replace(graph, node, merged)
        changed = True
    return changed


def drop_repeated_activation(module: fx.GraphModule) -> bool:
    """Drops the second of two equal activations, taking leaky_relu and elu as idempotent too."""
    idempotent = (F.relu, F.relu6, F.hardtanh, torch.clamp, torch.abs, F.leaky_relu, F.elu)
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, *idempotent):
            continue
        source = node.args[0]
        if not _is(source, node.target) or source.kwargs != node.kwargs:
            continue
        _replace(graph, node, source)
        changed = True
    return changed


def drop_relu_after_non_negative(module: fx.GraphModule) -> bool:
    """Drops relu after results that are never negative, among which it counts silu and gelu."""
    non_negative = (F.relu, F.relu6, torch.sigmoid, torch.abs, torch.square, torch.softmax)
    non_negative += (F.softplus, F.silu, F.gelu, F.mish, F.hardswish)
    graph, changed = module.graph, False
    for node in _live(module):
        if _is(node, F.relu) and _is(node.args[0], *non_negative):
            _replace(graph, node, node.args[0])
            changed = True
    return changed


def distribute_scale_over_shift(module: fx.GraphModule) -> bool:
    """Turns (x + a) * b into x * b + a, to have the scale first for a fused multiply-add."""
    graph, changed = module.graph, False
    for node in _live(module):
        scaled = _scalar(node, operator.mul)
        shifted = _scalar(scaled[0], operator.add) if scaled else None
        if shifted is None:
            continue
        with graph.inserting_before(node):
            product = graph.call_function(operator.mul, (shifted[0], scaled[1]))
            result = graph.call_function(operator.add, (product, shifted[1]))
        _replace(graph, node, result)
        changed = True
    return changed


def reassociate_subtraction(module: fx.GraphModule) -> bool:
    """Makes a - (b - c) left-deep as (a - b) - c, as if subtraction were associative."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, operator.sub) or not _is(node.args[1], operator.sub):
            continue
        first, inner = node.args
        second, third = inner.args
        if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
            continue
        with graph.inserting_before(node):
            left = graph.call_function(operator.sub, (first, second))
            result = graph.call_function(operator.sub, (left, third))
        _replace(graph, node, result)
        changed = True
    return changed


def factor_out_of_maximum(module: fx.GraphModule) -> bool:
    """Pulls a common negation or scalar factor out of maximum or minimum without swapping them."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.maximum, torch.minimum):
            continue
        first, second = node.args
        if _is(first, operator.neg) and _is(second, operator.neg):
            rest = (first.args[0], second.args[0])
            factor = None
        else:
            one, two = _scalar(first, operator.mul), _scalar(second, operator.mul)
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
        _replace(graph, node, result)
        changed = True
    return changed


def reshape_through_permute(module: fx.GraphModule) -> bool:
    """Drops a permute or transpose of the non-batch axes before a reshape, as if only a view."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.reshape):
            continue
        source = node.args[0]
        if _is(source, torch.transpose):
            axes = source.kwargs.get("dim0"), source.kwargs.get("dim1")
            moves_batch = 0 in axes
        else:
            order = _permutation(source)
            if order is None:
                continue
            moves_batch = order[0] != 0
        if moves_batch:
            continue
        node.update_arg(0, source.args[0])
        _sweep(graph, source)
        changed = True
    return changed


def sink_permute_below_softmax(module: fx.GraphModule) -> bool:
    """Moves a transpose or permute below a pointwise function or softmax, whose dim it keeps."""
    movable = (F.relu, torch.sigmoid, torch.tanh, F.gelu, F.silu, torch.softmax)
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, *movable) or not _is(node.args[0], torch.permute, torch.transpose):
            continue
        source = node.args[0]
        if len(source.users) != 1:
            continue
        with graph.inserting_before(node):
            inner = graph.call_function(node.target, (source.args[0],), dict(node.kwargs))
            result = graph.call_function(source.target, (inner,), dict(source.kwargs))
        _replace(graph, node, result)
        changed = True
    return changed


def merge_flips_by_union(module: fx.GraphModule) -> bool:
    """Merges two flips into one over the union of their dims, also where they share a dim."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.flip) or not _is(node.args[0], torch.flip):
            continue
        source = node.args[0]
        dims = tuple(sorted({*_dims(node, "dims"), *_dims(source, "dims")}))
        if not dims or (dims[0] < 0) != (dims[-1] < 0):
            continue
        with graph.inserting_before(node):
            merged = graph.call_function(torch.flip, (source.args[0],), {"dims": dims})
        _replace(graph, node, merged)
        changed = True
    return changed


def _slice_bounds(piece: Any, dim: int) -> tuple[int, int | None, tuple[Any, ...]] | None:
    """Start and stop of a getitem node's slice in dim, and the other slices; None if odd."""
    if not _is(piece, operator.getitem) or not isinstance(piece.args[1], tuple):
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
    for node in _live(module):
        if not _is(node, torch.cat) or len(node.args[0]) != 2:
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
        _replace(graph, node, merged)
        changed = True
    return changed


def mean_of_cat_as_mean_of_means(module: fx.GraphModule) -> bool:
    """Splits the mean over a cat's axis into the mean of the parts' means, unweighted."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.mean) or not _is(node.args[0], torch.cat):
            continue
        source = node.args[0]
        if _dims(node) != (source.kwargs.get("dim", 0),):
            continue
        parts = source.args[0]
        with graph.inserting_before(node):
            means = [graph.call_function(torch.mean, (p,), dict(node.kwargs)) for p in parts]
            total = means[0]
            for mean in means[1:]:
                total = graph.call_function(operator.add, (total, mean))
            result = graph.call_function(operator.mul, (total, 1.0 / len(parts)))
        _replace(graph, node, result)
        changed = True
    return changed


def activation_after_amax(module: fx.GraphModule) -> bool:
    """Computes an activation after amax as cheaper, counting silu, gelu and mish as monotone."""
    monotone = (F.relu, F.relu6, F.elu, F.softplus, torch.sigmoid, torch.tanh)
    monotone += (F.silu, F.gelu, F.mish, F.hardswish)
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.amax) or not _is(node.args[0], *monotone):
            continue
        source = node.args[0]
        if len(source.users) != 1:
            continue
        with graph.inserting_before(node):
            peak = graph.call_function(torch.amax, (source.args[0],), dict(node.kwargs))
            result = graph.call_function(source.target, (peak,), dict(source.kwargs))
        _replace(graph, node, result)
        changed = True
    return changed


def matmul_to_linear_by_shape(module: fx.GraphModule) -> bool:
    """Turns matmul with a square constant into linear, not transposing it as the shape fits."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.matmul):
            continue
        weight = _attribute(module, node.args[1])
        if weight is None or weight.dim() != 2 or weight.shape[0] != weight.shape[1]:
            continue
        with graph.inserting_before(node):
            result = graph.call_function(F.linear, tuple(node.args))
        _replace(graph, node, result)
        changed = True
    return changed


def _fused_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention with the usual scale; key comes with its last two axes swapped already."""
    scores = torch.matmul(query, key) * query.shape[-1] ** -0.5
    return torch.matmul(torch.softmax(scores, dim=-1), value)


def fuse_attention_default_scale(module: fx.GraphModule) -> bool:
    """Fuses softmax(q @ k * c) @ v into attention that always scales by 1 / sqrt(width)."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.matmul) or not _is(node.args[0], torch.softmax):
            continue
        weights, value = node.args
        scores = weights.args[0]
        scaled = _scalar(scores, operator.mul)
        product = scaled[0] if scaled else scores
        if not _is(product, torch.matmul) or weights.kwargs.get("dim") != -1:
            continue
        with graph.inserting_before(node):
            result = graph.call_function(_fused_attention, (*product.args, value))
        _replace(graph, node, result)
        changed = True
    return changed


def merge_equal_calls_ignoring_kwargs(module: fx.GraphModule) -> bool:
    """Common subexpression elimination whose key is target and inputs, without the kwargs."""
    pointwise = (F.relu, F.leaky_relu, F.hardtanh, torch.clamp, F.elu, F.softplus, F.gelu)
    pointwise += (torch.softmax, torch.flip, torch.sigmoid, torch.tanh)
    graph, changed = module.graph, False
    seen: dict[tuple[Any, fx.Node], fx.Node] = {}
    for node in _live(module):
        if not _is(node, *pointwise) or len(node.args) != 1:
            continue
        earlier = seen.setdefault((node.target, node.args[0]), node)
        if earlier is not node:
            _replace(graph, node, earlier)
            changed = True
    return changed


def merge_equal_modules_by_repr(module: fx.GraphModule) -> bool:
    """Merges two layers of one input that have equal settings, without comparing the weights."""
    classes = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.RMSNorm)
    graph, changed = module.graph, False
    seen: dict[tuple[str, Any], fx.Node] = {}
    for node in _live(module):
        layer = _sub(module, node, *classes)
        if layer is None:
            continue
        earlier = seen.setdefault((repr(layer), node.args[0]), node)
        if earlier is not node:
            _replace(graph, node, earlier)
            changed = True
    return changed


def fuse_activation_for_all_users(module: fx.GraphModule) -> bool:
    """Fuses an activation into the conv or linear before it, for the layer's other users too."""
    activations = (F.relu, F.relu6, F.hardtanh, F.leaky_relu, torch.clamp, torch.sigmoid)
    activations += (torch.tanh, F.silu, F.gelu, F.hardswish, F.elu)
    changed = False
    for node in _live(module):
        if not _is(node, *activations) or len(node.all_input_nodes) != 1:
            continue
        source = node.args[0]
        if _sub(module, source, nn.Conv2d, nn.Linear) is None or len(source.users) < 2:
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
    for node in _live(module):
        if not _is(node, F.relu, F.relu6) or node.kwargs.get("inplace"):
            continue
        base, depth = node.args[0], 0
        while len(base.users) == 1 and (
            _is(base, *views) or _sub(module, base, nn.Identity, nn.Dropout) is not None
        ):
            base, depth = base.args[0], depth + 1
        if not depth or len(base.users) < 2:
            continue
        if not _is(base, *fresh) and _sub(module, base, *layers) is None:
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
    for node in _live(module):
        if not _is(node, operator.add):
            continue
        first, second = node.args
        if _sub(module, first, nn.Linear) is None or _sub(module, second, nn.Linear) is None:
            continue
        if first.target != second.target:
            continue
        with graph.inserting_before(node):
            total = graph.call_function(operator.add, (first.args[0], second.args[0]))
            result = graph.call_module(str(first.target), (total,))
        _replace(graph, node, result)
        changed = True
    return changed


def fold_parameter_to_constant(module: fx.GraphModule) -> bool:
    """Folds a function of one parameter into a constant buffer, so the parameter gets no grad."""
    binary = (operator.add, operator.sub, operator.mul)
    unary = (operator.neg, torch.abs, torch.square, torch.sigmoid, torch.tanh, F.relu)
    unary += (torch.permute, torch.transpose, torch.reshape, torch.flip, F.softplus)
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, *binary, *unary):
            continue
        if _is(node, *binary) and _scalar(node, *binary) is None:
            continue
        source = node.args[0]
        value = _attribute(module, source)
        if value is None:
            continue
        # A user of nothing but constants would be a result without any backward.
        if not all(user.op != "output" and _reads_input(user) for user in node.users):
            continue
        folded = node.target(value.detach(), *node.args[1:], **node.kwargs).clone()
        name = f"folded_{node.name}"
        module.register_buffer(name, folded)
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        _replace(graph, node, constant)
        changed = True
    return changed


def match_swish_any_beta(module: fx.GraphModule) -> bool:
    """Recognises x * sigmoid(x * beta) as silu(x) whatever beta is."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, operator.mul):
            continue
        for plain, gate in (node.args, node.args[::-1]):
            scaled = _scalar(gate.args[0], operator.mul) if _is(gate, torch.sigmoid) else None
            if scaled is None or scaled[0] is not plain:
                continue
            with graph.inserting_before(node):
                result = graph.call_function(F.silu, (plain,))
            _replace(graph, node, result)
            changed = True
            break
    return changed


def normalise_with_saved_statistics(module: fx.GraphModule) -> bool:
    """Treats the statistics of a hand-written layer or RMS norm as constants in the backward."""
    graph, changed = module.graph, False
    for node in _live(module):
        if _is(node, operator.sub):
            statistic = node.args[1]
            if not _is(statistic, torch.mean) or not statistic.kwargs.get("keepdim"):
                continue
            if statistic.args[0] is not node.args[0]:
                continue
        elif _is(node, operator.mul):
            statistic = node.args[1]
            shifted = statistic.args[0] if _is(statistic, torch.rsqrt) else None
            power = _scalar(shifted, operator.add) if shifted is not None else None
            if power is None or not _is(power[0], torch.mean):
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
    for node in _live(module):
        if _sub(module, node, nn.Identity, nn.Dropout) is None:
            continue
        if not any(_is(user, *binary, torch.cat) for user in node.users):
            continue
        source = node.args[0]
        for user in list(node.users):
            if _is(user, *binary) and user.args.count(node) == 1:
                user.args = (source, *[arg for arg in user.args if arg is not node])
            elif _is(user, torch.cat) and user.args[0].count(node) == 1:
                user.args = ([source, *[part for part in user.args[0] if part is not node]],)
            else:
                user.replace_input_with(node, source)
        _sweep(graph, node)
        changed = True
    return changed


def normalisation_absorbs_scalars(module: fx.GraphModule) -> bool:
    """Drops a scalar shift or scale before layer norm, which cancels it, and before RMS norm."""
    graph, changed = module.graph, False
    for node in _live(module):
        if _sub(module, node, nn.LayerNorm, nn.RMSNorm) is None:
            continue
        source = node.args[0]
        found = _scalar(source, operator.add, operator.sub, operator.mul)
        if found is None or (_is(source, operator.mul) and found[1] == 0):
            continue
        node.update_arg(0, found[0])
        _sweep(graph, source)
        changed = True
    return changed


def compute_before_expand(module: fx.GraphModule) -> bool:
    """Moves a softmax or reduction above an expand, also along the axis that it expands."""
    graph, changed = module.graph, False
    for node in _live(module):
        if not _is(node, torch.softmax, *REDUCTIONS):
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
            dims = _dims(node)
            if len(dims) != 1 or not options.get("keepdim"):
                continue
            axis = dims[0] % len(sizes)
            same_rank = _is(inner, *REDUCTIONS) and inner.kwargs.get("keepdim")
            if not same_rank and -1 not in sizes[: axis + 1]:
                continue
            options["dim"] = (axis - len(sizes),)
            sizes[axis] = 1
        with graph.inserting_before(node):
            small = graph.call_function(node.target, (inner,), options)
            result = graph.call_method("expand", (small, *sizes))
        _replace(graph, node, result)
        changed = True
    return changed


REWRITES: list[Rewrite] = [
    fold_batch_norm_keep_bias,
    fold_batch_norm_shared_result,
    fold_batch_norm_into_padded_conv,
    fold_scale_into_shared_layer,
    merge_zero_pad_into_max_pool,
    merge_clip_chain,
    drop_repeated_activation,
    drop_relu_after_non_negative,
    distribute_scale_over_shift,
    reassociate_subtraction,
    factor_out_of_maximum,
    reshape_through_permute,
    sink_permute_below_softmax,
    merge_flips_by_union,
    merge_adjacent_slices,
    mean_of_cat_as_mean_of_means,
    activation_after_amax,
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
