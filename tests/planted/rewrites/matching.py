"""What several rewrites share: find nodes of a graph, and replace them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node


def calls(module: GraphModule, *targets: Any) -> Iterator[Node]:
    """The nodes that call one of these functions or methods."""
    return (node for node in list(module.graph.nodes) if node.target in targets)


def layers(module: GraphModule, *classes: type[nn.Module]) -> Iterator[tuple[Node, Any]]:
    """The nodes that call a submodule of one of these classes, and the submodules."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            layer = module.get_submodule(node.target)
            if isinstance(layer, classes):
                yield node, layer


def is_call(value: Any, *targets: Any) -> bool:
    """Whether a value is the result of one of these functions or methods."""
    return isinstance(value, Node) and value.target in targets


def is_layer(module: GraphModule, value: Any, *classes: type[nn.Module]) -> bool:
    """Whether a value is the result of a submodule of one of these classes."""
    return (
        isinstance(value, Node)
        and value.op == "call_module"
        and isinstance(module.get_submodule(value.target), classes)
    )


def bypass(node: Node, value: Any) -> bool:
    """Use another value in place of a node's result."""
    node.replace_all_uses_with(value)
    node.graph.erase_node(node)
    return True


def insert(node: Node, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Node:
    """A call before a node."""
    with node.graph.inserting_before(node):
        return node.graph.call_function(function, args, kwargs)


def node_copy(node: Node) -> Node:
    """The same call once more, before the node."""
    with node.graph.inserting_before(node):
        return node.graph.node_copy(node)


def own_copy(module: GraphModule, node: Node, layer: nn.Module) -> None:
    """Let a node call a layer of its own."""
    name = f"copy_for_{node.name}"
    module.add_module(name, layer)
    node.target = name


def scalars(node: Node) -> Any:
    """The float of `x + 1.0` or `x * 2.0`; None where both operands are tensors."""
    is_scalar = node.target in (operator.add, operator.mul) and isinstance(node.args[1], float)
    return node.args[1] if is_scalar else None
