"""Networks: the oracles of the nodes, one after another.

Each oracle takes the numbers and bounds of the one before. So a bound holds whether an
implementation stores an intermediate result or keeps it wide, and equality holds where no node
rounds. Source: N. J. Higham, *Accuracy and Stability of Numerical Algorithms* (2002), §3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices, enclose
from conformance.arithmetic.rounded import Rounded
from conformance.model.graph import (
    PARAMETER,
    Node,
    evaluate_network,
    is_layer,
    nodes_of,
    own_state,
)
from conformance.oracles.operators import movements
from conformance.oracles.operators.table import OPERATORS

State = Mapping[str, Rounded]
LayerValues = Callable[[str, State, Sequence[Any], Mapping[str, Any]], Any]
"""Name of a layer, state, operands, arguments → what it returns."""

MOVEMENTS: Mapping[str, Callable[..., Rounded]] = {
    function.__name__: function
    for function in (
        *(movements.permute, movements.transpose, movements.reshape, movements.flip),
        *(movements.expand, movements.index, movements.cat, movements.select),
        *(movements.squeeze, movements.unsqueeze),
    )
}
"""Operators whose results are elements of their operands."""


_BROADCASTING = frozenset(("add", "sub", "mul", "div", "maximum", "minimum"))


def network_values(
    state: State,
    *inputs: Rounded | None,
    nodes: Sequence[Any],
    layer_values: LayerValues,
    training: bool = False,
) -> tuple[Rounded, ...]:
    """What a network returns.

    Args:
        nodes: see `Node`.
        layer_values: the oracle of a layer.
        training: train mode, only of networks that compute the same in it.
    """
    graph = nodes_of(nodes)

    def compute(number: int, node: Node, operands: Sequence[Any]) -> Rounded:
        result = node_value(node, own_state(state, number), operands, layer_values)
        return _in_any_order(result, _inner_products(graph, number))

    return evaluate_network(nodes, inputs, compute)


def _inner_products(graph: Sequence[Node], number: int) -> int:
    """How many products are factors, at any depth, of the product that a node computes."""
    node = graph[number]
    if node.target != "mul":
        return 0
    inner = [x for x in node.operands if isinstance(x, int) and x >= 0 and graph[x].target == "mul"]
    return sum(1 + _inner_products(graph, x) for x in inner)


def _in_any_order(product: Rounded, inner: int) -> Rounded:
    """The bound of a product for any order of its factors.

    A compiler may compute (x·3)·y as (x·y)·3. Where x·3 is exact and the whole is not, x·y rounds,
    too. If the whole is exact, so are its partial products: they have no more significant bits.
    """
    if not inner:
        return product
    unit = product.precision.unit
    extra = np.where(product.error > 0, inner * unit * np.abs(product.value), 0.0)
    return product.with_error(product.error + extra)


def node_value(
    node: Node, state: State, operands: Sequence[Any], layer_values: LayerValues
) -> Rounded:
    """The first result of a node that owns its layer."""
    arguments = dict(node.arguments)
    if node.target == PARAMETER:
        return state["value"]
    if is_layer(node.target):
        result = layer_values(str(node.target), state, operands, arguments)
    else:
        operator = str(node.target)
        operands = _expanded(operands) if operator in _BROADCASTING else operands
        result = (MOVEMENTS.get(operator) or OPERATORS[operator])(*operands, **arguments)
    result = result[0] if isinstance(result, tuple) else result
    result = enclose(result) if isinstance(result, Choices) else result
    assert isinstance(result, Rounded)
    return result


def _expanded(operands: Sequence[Rounded | float]) -> list[Rounded | float]:
    """The operands in one shape: in half precision a gradient is stored before it is summed."""
    shape = np.broadcast_shapes(*(x.shape for x in operands if isinstance(x, Rounded)))
    return [
        movements.expand(x, size=shape) if isinstance(x, Rounded) and x.shape != shape else x
        for x in operands
    ]


def operator_shape(node: Node, operands: Sequence[Rounded | float]) -> tuple[int, ...]:
    """The shape of an operator's result, for operands of zeros."""
    with np.errstate(all="ignore"):
        return node_value(node, {}, operands, lambda *_: None).shape
