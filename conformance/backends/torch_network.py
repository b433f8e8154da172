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
from conformance.oracles.network import OUTPUT, PARAMETER, input_count, is_module

_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
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
            `conformance.oracles.network.Node`.
        make_module: name and arguments of a layer → its module.
    """
    root, graph = torch.nn.Module(), Graph()
    values: dict[int, Any] = {
        -1 - k: graph.placeholder(f"input{k + 1}") for k in range(input_count(nodes))
    }
    for number, (target, pairs, operands) in enumerate(nodes):
        arguments = dict(pairs)
        args = tuple(x if isinstance(x, float) else values[x] for x in operands)
        if target == OUTPUT:
            graph.output(args[0] if len(args) == 1 else args)
        elif target == PARAMETER:
            holder = torch.nn.Module()
            holder.register_parameter("value", torch.nn.Parameter(torch.zeros(arguments["shape"])))
            root.add_module(str(number), holder)
            values[number] = graph.get_attr(f"{number}.value")
        elif isinstance(target, int):
            values[number] = graph.call_module(str(target), args)
        elif is_module(target):
            root.add_module(str(number), make_module(target, arguments))
            values[number] = graph.call_module(str(number), args)
        else:
            values[number] = _add_function(graph, target, args, arguments)
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
    """The module of a network's call, on its device and in its dtype."""

    def make_module(layer: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
        return construct_inner(replace(call, layer=layer, arguments=arguments, state={}), nn)

    module = build_network(call.arguments["nodes"], make_module)
    return module.to(device=torch.device(call.device), dtype=getattr(torch, call.dtype))


COMPOSED: Mapping[str, Callable[[Call, Any], torch.nn.Module]] = {"Network": _construct_network}
"""Layer → what makes its module of a call, with the classes of a namespace."""
