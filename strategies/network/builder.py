"""Build a network forwards: each node takes values that exist, so every draw is valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conformance.strategies.windows import Draw

Shape = tuple[int, ...]
Arguments = tuple[tuple[str, Any], ...]
DrawnNode = tuple[str | int, Arguments, tuple[int | float, ...]]
"""Target, arguments, operands; see `conformance.model.graph.Node`."""
ShapeOf = Callable[..., Shape]
"""Target, arguments, shapes and numbers of the operands → shape of the result."""

MAX_NODES = 12
MAX_ELEMENTS = 512
"""The most elements that one value has: a network is checked hundreds of times."""


class Builder:
    """Nodes drawn so far, and the shapes of their values.

    Args:
        exact: only operations that do not round integers and powers of two.
        shape_of: the shape of a node's result.
        inputs: shapes of the network's inputs.
    """

    def __init__(
        self, draw: Draw, shape_of: ShapeOf, inputs: tuple[Shape, ...], *, exact: bool
    ) -> None:
        self.draw, self.exact, self._shape_of = draw, exact, shape_of
        self.nodes: list[DrawnNode] = []
        self._shapes: dict[int, Shape] = {-1 - k: shape for k, shape in enumerate(inputs)}

    @property
    def nodes_left(self) -> int:
        """The number of nodes that may still be added."""
        return MAX_NODES - len(self.nodes)

    def shape(self, value: int) -> Shape:
        """The shape of an input or of a node's result."""
        return self._shapes[value]

    def add(self, target: str, *operands: int | float, **arguments: Any) -> int:
        """Add a node that calls a layer, a function or an operator; returns its number."""
        pairs = tuple(arguments.items())
        return self._append((target, pairs, operands), target, pairs)

    def again(self, number: int, operand: int) -> int:
        """Add a node that calls the layer of an earlier node once more."""
        target, arguments, _ = self.nodes[number]
        if isinstance(target, int):
            return self.again(target, operand)
        return self._append((number, (), (operand,)), target, arguments)

    def values(self, fits: Callable[[Shape], bool]) -> list[int]:
        """The inputs and results whose shape fits, the latest first."""
        return [value for value in reversed(self._shapes) if fits(self._shapes[value])]

    def input_count(self) -> int:
        """How many inputs the nodes take, at least one."""
        operands = [x for _, _, operands in self.nodes for x in operands if isinstance(x, int)]
        return -min([-1, *operands])

    def _append(self, node: DrawnNode, called: str, arguments: Arguments) -> int:
        """Add a node; `called` and `arguments` are those of the layer that it calls."""
        shapes = [x if isinstance(x, float) else self._shapes[x] for x in node[2]]
        number = len(self.nodes)
        self._shapes[number] = self._shape_of(called, arguments, *shapes)
        self.nodes.append(node)
        return number


def value_or(value: int | None, default: int) -> int:
    """A new value, or the default where nothing fits; a value may be the node 0."""
    return default if value is None else value
