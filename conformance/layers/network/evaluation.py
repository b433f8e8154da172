"""A network's nodes as calls of the catalogue's layers: values, shapes, state and parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from conformance.arithmetic.half_precision import with_stored_product
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model import graph as form
from conformance.model.case import Case
from conformance.model.formats import round_to
from conformance.model.graph import OUTPUT, PARAMETER, Node, is_layer, nodes_of, operands_of
from conformance.oracles import network as oracle
from conformance.spec.parts import no_product
from conformance.spec.state import Shape, StateTensor


def _spec_of(target: str) -> Any:
    # Imported here: the catalogue imports this module.
    from conformance.layers import CATALOGUE

    return CATALOGUE[target]


def layer_values(
    layer: str,
    state: Mapping[str, Rounded],
    operands: Sequence[Rounded],
    arguments: Mapping[str, Any],
) -> Any:
    """What a layer of the catalogue returns in eval mode.

    In half precision a product may be stored before a bias is added, for an operand that lies in
    memory as earlier nodes left it.
    """
    spec = _spec_of(layer)
    modes = {"training": False} if spec.traits.train_and_eval_differ else {}
    result = spec.oracle.values(state, *operands, **arguments, **modes)
    stores_product = spec.traits.stored_product is not no_product and "bias" in state
    if not stores_product or not operands[0].precision.is_half:
        return result
    without_bias = {**state, "bias": state["bias"].map(np.zeros_like)}
    product = spec.oracle.values(without_bias, *operands, **arguments, **modes)
    return with_stored_product(result, product)


@lru_cache(maxsize=4096)
def node_shape(target: str, arguments: tuple[tuple[str, Any], ...], *operands: Any) -> Shape:
    """The shape of a node's result.

    Args:
        operands: shapes, and the numbers among the operands.
    """
    if target == PARAMETER:
        return tuple(dict(arguments)["shape"])
    if is_layer(target):
        shape = _spec_of(target).output_shapes_for(operands, dict(arguments))[0]
        assert shape is not None
        return tuple(shape)
    precision = Precision.of("float32")
    zeros = [x if isinstance(x, float) else exact_operand(np.zeros(x), precision) for x in operands]
    return oracle.operator_shape(Node(target, arguments, ()), zeros)


def network_shapes(*inputs: Shape | None, nodes: Sequence[Any]) -> tuple[Shape, ...]:
    """The shapes of the outputs."""

    def compute(_: int, node: Node, operands: Sequence[Any]) -> Shape:
        return node_shape(str(node.target), node.arguments, *operands)

    return form.evaluate_network(nodes, inputs, compute)


def node_tensors(node: Node) -> Iterator[StateTensor]:
    """The tensors of a node's own state, under their names in its layer."""
    arguments = dict(node.arguments)
    if node.target == PARAMETER:
        yield StateTensor("value", tuple(arguments["shape"]))
    elif form.is_module(node.target):
        yield from _spec_of(str(node.target)).state_tensors(arguments, ())


def true_values(case: Case, precision: Precision) -> list[np.ndarray]:
    """The value of each node but the last, rounded to the dtype, of the values before it."""
    values = list[np.ndarray]()

    def compute(number: int, node: Node, operands: Sequence[Any]) -> np.ndarray:
        exact = [x if isinstance(x, float) else exact_operand(x, precision) for x in operands]
        own = form.own_state(case.call.state, number)
        state = {k: exact_operand(x, precision) for k, x in own.items()}
        with np.errstate(all="ignore"):
            result = oracle.node_value(node, state, exact, layer_values)
        # A number of NumPy would be taken for a number of the graph.
        values.append(np.asarray(round_to(result.value, case.call.dtype)))
        return values[-1]

    form.evaluate_network(case.call.arguments["nodes"], case.inputs, compute)
    return values


def network_parts(case: Case, precision: Precision) -> Iterator[Case]:
    """Each node as a call of its own: of its layer, or of a network of this node only."""
    graph, values = nodes_of(case.call.arguments["nodes"]), true_values(case, precision)
    for number, node in enumerate(graph[:-1]):
        owner = node.target if isinstance(node.target, int) else number
        called, operands = graph[owner], operands_of(node, case.inputs, values)
        arrays = tuple(x for x in operands if not isinstance(x, float))
        if is_layer(called.target):
            call = replace(
                case.call,
                layer=str(called.target),
                arguments=dict(called.arguments),
                state=form.own_state(case.call.state, owner),
                layouts={},
            )
        elif 1 <= len(arrays) <= 2:
            places = iter((-1, -2))
            renumbered = tuple(x if isinstance(x, float) else next(places) for x in node.operands)
            nodes = ((called.target, called.arguments, renumbered), (OUTPUT, (), (0,)))
            call = replace(case.call, arguments={"nodes": nodes}, state={}, layouts={})
        else:
            continue
        yield Case(call, arrays, seed=case.seed)
