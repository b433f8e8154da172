"""A network of the catalogue as a torch module: a graph of `torch.fx`, which compilers can read."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Graph, GraphModule

from conformance.backends.torch_calls import construct_inner
from conformance.model.case import Call, find_by_layer_name, is_function
from conformance.model.graph import (
    PARAMETER,
    Node,
    evaluate_network,
    input_count,
    is_module,
)

_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "clamp": torch.clamp,
    "flip": torch.flip,
    "functional.softmax": torch.softmax,
}
"""Operators as users write them; the others are functions of `torch` with the same name."""


def build_network(
    nodes: Sequence[Any],
    make_module: Callable[[str, Mapping[str, Any]], torch.nn.Module],
) -> GraphModule:
    """Build the module of a network.

    Args:
        nodes: (target, (argument, value) pairs, operands) of each node, see
            `conformance.model.graph.Node`.
        make_module: name and arguments of a layer → its module.
    """
    root, graph = torch.nn.Module(), Graph()
    inputs = [graph.placeholder(f"input{k + 1}") for k in range(input_count(nodes))]

    def add_node(number: int, node: Node, operands: Sequence[Any]) -> Any:
        target, arguments, args = str(node.target), dict(node.arguments), tuple(operands)
        if target == PARAMETER:
            holder = torch.nn.Module()
            holder.register_parameter("value", torch.nn.Parameter(torch.zeros(arguments["shape"])))
            root.add_module(str(number), holder)
            return graph.get_attr(f"{number}.value")
        if not is_module(target):
            return _add_function(graph, target, args, arguments)
        if str(number) not in dict(root.named_children()):
            root.add_module(str(number), make_module(target, arguments))
        return graph.call_module(str(number), args)

    outputs = evaluate_network(nodes, inputs, add_node)
    graph.output(outputs[0] if len(outputs) == 1 else outputs)
    return GraphModule(root, graph)


def _add_function(graph: Graph, target: str, args: Any, arguments: dict[str, Any]) -> Any:
    if target == "index":
        slices = tuple(slice(*part) for part in arguments["slices"])
        return graph.call_function(operator.getitem, (*args, slices))
    if target == "expand":
        return graph.call_method(target, (*args, *arguments["size"]))
    if target == "cat":
        return graph.call_function(torch.cat, (list(args),), arguments)
    function = _OPERATORS.get(target)
    if function is None:
        is_operator = not is_function(target)
        function = (
            getattr(torch, target)
            if is_operator
            else find_by_layer_name(target, torch.nn, torch.nn.functional)
        )
    return graph.call_function(function, args, arguments)


def _construct_network(call: Call, nn: Any) -> torch.nn.Module:
    """The module of a network's call, on its device and in its dtype.

    That is the namespace's own container of the layer's name, or else a graph.
    """

    def make_module(layer: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
        return construct_inner(replace(call, layer=layer, arguments=arguments, state={}), nn)

    nodes = call.arguments["nodes"]
    container = find_by_layer_name(call.layer, nn, None)
    if container is None:
        module = build_network(nodes, make_module)
    else:
        module = container(*(make_module(name, dict(pairs)) for name, pairs, _ in nodes[:-1]))
    return module.to(device=torch.device(call.device), dtype=getattr(torch, call.dtype))


COMPOSED: Mapping[str, Callable[[Call, Any], torch.nn.Module]] = dict.fromkeys(
    ("Network", "Sequential"), _construct_network
)
"""Layer → what makes its module of a call, with the classes of a namespace."""
