"""Smaller networks made of a network: one output, fewer nodes, true values in place of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.layers.network.evaluation import true_values
from conformance.model.case import Case
from conformance.model.graph import OUTPUT, Node, nodes_of, own_state

Operand = int | float


def smaller_networks(case: Case) -> Iterator[Case]:
    """Networks with fewer nodes or outputs, those that leave out most first."""
    graph = nodes_of(case.call.arguments["nodes"])
    values = true_values(case, Precision.of(case.call.dtype))
    *nodes, output = graph
    used = _without_unused(case, graph, ())
    if used is not None and len(used.call.arguments["nodes"]) < len(graph):
        yield used
    # A part of the network: from some node on, up to some node.
    for end in range(len(nodes)):
        if output.operands != (end,):
            shorter = _without_unused(case, (*nodes, Node(OUTPUT, (), (end,))), ())
            if shorter is not None:
                yield shorter
    for start in reversed(range(len(nodes))):
        cut = _with_input(case, graph, start, values[start])
        if cut is not None:
            yield cut
    for number, node in enumerate(nodes):
        for operand in node.operands:
            if not isinstance(operand, float) and _value_of(case, values, operand).shape == (
                values[number].shape
            ):
                without = _without_unused(case, _replaced(graph, number, operand), ())
                if without is not None:
                    yield without


def _value_of(case: Case, values: Sequence[np.ndarray], operand: int) -> np.ndarray:
    value = case.inputs[-1 - operand] if operand < 0 else values[operand]
    assert value is not None
    return value


def _replaced(graph: Sequence[Node], number: int, operand: int) -> tuple[Node, ...]:
    """The graph with another value in place of a node's."""
    return tuple(
        node._replace(operands=tuple(_swapped(x, number, operand) for x in node.operands))
        for node in graph
    )


def _swapped(operand: Operand, number: int, other: int) -> Operand:
    return other if isinstance(operand, int) and operand == number else operand


def _with_input(case: Case, graph: Sequence[Node], number: int, value: np.ndarray) -> Case | None:
    """The network with a node's true value as a further input; None if it has two already."""
    place = -1 - len(case.inputs)
    return _without_unused(case, _replaced(graph, number, place), (value,))


def _without_unused(
    case: Case, graph: Sequence[Node], more_inputs: tuple[np.ndarray, ...]
) -> Case | None:
    """The network without nodes and inputs that reach no output; None if it would be no network."""
    needed: set[int] = set()
    waiting = [x for x in graph[-1].operands if not isinstance(x, float)]
    while waiting:
        value = waiting.pop()
        if value not in needed:
            needed.add(value)
            if value >= 0:
                waiting += [x for x in graph[value].operands if not isinstance(x, float)]
    kept_nodes = sorted(value for value in needed if value >= 0)
    # A layer that is called again stays with the first node that calls it.
    owners = {graph[k].target for k in kept_nodes if isinstance(graph[k].target, int)}
    inputs = sorted((value for value in needed if value < 0), reverse=True)
    returns_input = any(isinstance(x, int) and x < 0 for x in graph[-1].operands)
    has_layers = bool(kept_nodes) and owners <= set(kept_nodes)
    if returns_input or not has_layers or len(inputs) not in (1, 2):
        return None
    places: dict[Operand, Operand] = {value: k for k, value in enumerate(kept_nodes)}
    places |= {value: -1 - k for k, value in enumerate(inputs)}
    nodes = [
        (
            places[node.target] if isinstance(node.target, int) else node.target,
            node.arguments,
            tuple(x if isinstance(x, float) else places[x] for x in node.operands),
        )
        for node in (*(graph[k] for k in kept_nodes), graph[-1])
    ]
    state = {
        f"{place}.{name}": x
        for place, number in enumerate(kept_nodes)
        for name, x in own_state(case.call.state, number).items()
    }
    arrays = (*case.inputs, *more_inputs)
    call = replace(case.call, arguments={"nodes": tuple(nodes)}, state=state)
    return replace(case, call=call, inputs=tuple(arrays[-1 - k] for k in inputs), layouts=())
