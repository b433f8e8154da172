"""What the blind rewrites share: none of this is wrong by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

REDUCTIONS = (torch.sum, torch.mean, torch.amax)


def live_nodes(module: fx.GraphModule) -> Iterator[fx.Node]:
    """The graph's nodes in order, skipping those erased while iterating."""
    for node in list(module.graph.nodes):
        if not node._erased:
            yield node


def is_call(value: Any, *targets: Any) -> bool:
    """Whether value is a call_function node of one of the targets."""
    return isinstance(value, fx.Node) and value.op == "call_function" and value.target in targets


def called_layer(module: fx.GraphModule, value: Any, *classes: type) -> Any:
    """The submodule that a call_module node of one of the classes calls, or None."""
    if not isinstance(value, fx.Node) or value.op != "call_module":
        return None
    layer = module.get_submodule(str(value.target))
    return layer if isinstance(layer, classes) else None


def count_calls(module: fx.GraphModule, node: fx.Node) -> int:
    """How many nodes call the submodule that node calls."""
    return sum(n.op == "call_module" and n.target == node.target for n in module.graph.nodes)


def scalar_operand(value: Any, *targets: Any) -> tuple[fx.Node, float] | None:
    """The tensor and the Python number of a binary node 'tensor op number', or None."""
    if not is_call(value, *targets) or len(value.args) != 2:
        return None
    tensor, number = value.args
    if isinstance(tensor, fx.Node) and type(number) in (int, float):
        return tensor, float(number)
    return None


def read_attribute(module: fx.GraphModule, value: Any) -> Tensor | None:
    """The tensor that a get_attr node reads, or None."""
    if not isinstance(value, fx.Node) or value.op != "get_attr":
        return None
    holder: Any = module
    for part in str(value.target).split("."):
        holder = getattr(holder, part)
    return holder if isinstance(holder, Tensor) else None


def reduced_dims(node: fx.Node, name: str = "dim") -> tuple[int, ...]:
    """The node's keyword argument of that name as a tuple of ints."""
    value = node.kwargs.get(name, ())
    return (value,) if isinstance(value, int) else tuple(value)


def erase_unused(graph: fx.Graph, node: Any) -> None:
    """Erases node and then its inputs, as far as they are unused."""
    if not isinstance(node, fx.Node) or node._erased or node.users:
        return
    if node.op in ("placeholder", "output"):
        return
    inputs = node.all_input_nodes
    graph.erase_node(node)
    for source in inputs:
        erase_unused(graph, source)


def replace_node(graph: fx.Graph, old: fx.Node, new: fx.Node) -> None:
    """Gives old's users new instead and erases what is dead then."""
    old.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    erase_unused(graph, old)


def affine_form(bn: nn.Module) -> tuple[Tensor, Tensor] | None:
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


def set_parameters(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Writes new weight and bias into a layer, in the layer's dtype."""
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.detach().to(dtype))
    layer.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype))


def reads_input(node: fx.Node) -> bool:
    """Whether node's value depends on a placeholder."""
    return node.op == "placeholder" or any(reads_input(n) for n in node.all_input_nodes)


def permutation_of(node: Any) -> tuple[int, ...] | None:
    """The dims of a torch.permute node, all of them made non-negative, or None."""
    if not is_call(node, torch.permute):
        return None
    dims = reduced_dims(node, "dims")
    return tuple(d % len(dims) for d in dims)
