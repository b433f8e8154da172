"""The form of a network: a graph of layers and operators, as a call's argument holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from conformance.model.case import is_function

T = TypeVar("T")

OUTPUT, PARAMETER = "output", "parameter"
"""Targets of the last node, and of a node that gives a tensor of the network's own."""


class Node(NamedTuple):
    """One node of a network.

    Args:
        target: name of a layer or function of the catalogue, `"Linear"`, `"functional.relu"`, or of
            an operator, `"add"`. A number is that of an earlier node, whose layer is called again.
            `"output"` is the last node: its operands are what the network returns.
        arguments: (argument, value) pairs.
        operands: numbers of earlier nodes; −1 is the first input, −2 the second. A float is itself.
    """

    target: str | int
    arguments: tuple[tuple[str, Any], ...]
    operands: tuple[int | float, ...]


def nodes_of(nodes: Sequence[Any]) -> tuple[Node, ...]:
    """The nodes in the form of a call's argument."""
    return tuple(Node(*node) for node in nodes)


def input_count(nodes: Sequence[Any]) -> int:
    """How many inputs a network takes, at least one."""
    operands = [x for node in nodes for x in Node(*node).operands if not isinstance(x, float)]
    return -min([-1, *operands])


def is_module(target: str | int) -> bool:
    """Whether a node's target is a layer that may have a state of its own."""
    return isinstance(target, str) and target[:1].isupper()


def is_layer(target: str | int) -> bool:
    """Whether a node's target is a layer or function of the catalogue."""
    return is_module(target) or (isinstance(target, str) and is_function(target))


def evaluate_network(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    compute: Callable[[int, Node, Sequence[Any]], Any],
) -> tuple[Any, ...]:
    """What a network returns, its nodes computed in their order.

    Args:
        nodes: see `Node`.
        compute: number of a node, the node, and its operands → its value. For a layer that is
            called again, number and node are those of the first call.
    """
    graph, values = nodes_of(nodes), list[Any]()
    for number, node in enumerate(graph):
        operands = operands_of(node, inputs, values)
        if node.target == OUTPUT:
            return tuple(operands)
        owner = node.target if isinstance(node.target, int) else number
        values.append(compute(owner, graph[owner], operands))
    raise ValueError("the network has no output")


def operands_of(node: Node, inputs: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """A node's operands: inputs, values of earlier nodes, and numbers."""
    return [
        x if isinstance(x, float) else (inputs[-1 - x] if x < 0 else values[x])
        for x in node.operands
    ]


def own_state(state: Mapping[str, T], number: int) -> dict[str, T]:
    """The tensors of a node's layer, under their names in it."""
    prefix = f"{number}."
    return {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}
