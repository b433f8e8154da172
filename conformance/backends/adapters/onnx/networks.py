"""Networks in ONNX: layers, and the tensor operators between them, in one graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import Graph, Value
from conformance.layers.network.evaluation import node_shape
from conformance.model.case import Call, Unsupported
from conformance.model.graph import PARAMETER, Node, evaluate_network, is_layer, own_state

AddCall = Callable[[Graph, Call, Sequence[Any], Mapping[str, Any]], Any]
"""Graph, call, values of its inputs, keywords → the names of its results."""

LAYERS = ("Network", "Sequential")

_BEFORE_THE_FIRST = -np.iinfo(np.int64).max
"""The end of a slice that runs backwards to the first element."""


def network(
    graph: Graph,
    *inputs: Value,
    nodes: Sequence[Any],
    state: Mapping[str, np.ndarray],
    add_call: AddCall,
) -> list[str]:
    """Add a network's nodes; returns the names of its outputs.

    Args:
        nodes: see `conformance.model.graph.Node`.
        add_call: adds the nodes of one layer's call.
    """

    def add_node(number: int, node: Node, operands: Sequence[Any]) -> Value:
        target, arguments = str(node.target), dict(node.arguments)
        tensors = own_state(state, number)
        if target == PARAMETER:
            return graph.weight(tensors["value"])
        if is_layer(target):
            call = Call(target, arguments, tensors, str(graph.dtype), "cpu")
            result = add_call(graph, call, operands, {})
            name = result if isinstance(result, str) else result[0]
        else:
            name = _add_operator(graph, target, operands, arguments)
        shapes = [x if isinstance(x, float) else x.shape for x in operands]
        return Value(name, node_shape(target, node.arguments, *shapes), graph.dtype)

    # A graph's output is the result of a node of its own. Not all ranks can be inferred.
    outputs = evaluate_network(nodes, inputs, add_node)
    return [graph.set_rank(graph.add("Identity", x.name), x.rank) for x in outputs]


def _add_operator(
    graph: Graph, target: str, operands: Sequence[Any], arguments: Mapping[str, Any]
) -> str:
    if target in _MOVEMENTS:
        (x,) = operands
        return _MOVEMENTS[target](graph, x, **arguments)
    names = [graph.scalar(x) if isinstance(x, float) else x.name for x in operands]
    if target not in _OPERATORS:
        raise Unsupported(f"operator {target}")
    return _OPERATORS[target](graph, *names, **arguments)


def _plain(operator: str) -> Callable[..., str]:
    return lambda graph, *names: graph.add(operator, *names)


def _reduction(operator: str) -> Callable[..., str]:
    def add(graph: Graph, x: str, *, dim: Sequence[int], keepdim: bool = False) -> str:
        return graph.add(operator, x, graph.integers(*dim), keepdims=int(keepdim))

    return add


def _clamp(graph: Graph, x: str, *, min: float, max: float) -> str:
    return graph.add("Clip", x, graph.scalar(min), graph.scalar(max))


def _rsqrt(graph: Graph, x: str) -> str:
    return graph.add("Reciprocal", graph.add("Sqrt", x))


def _square(graph: Graph, x: str) -> str:
    return graph.add("Mul", x, x)


def _cat(graph: Graph, *names: str, dim: int) -> str:
    return graph.add("Concat", *names, axis=dim)


_OPERATORS: Mapping[str, Callable[..., str]] = {
    **{name: _plain(name.capitalize()) for name in ("add", "sub", "mul", "div", "neg", "abs")},
    **{name: _plain(name.capitalize()) for name in ("sigmoid", "tanh", "erf", "sqrt", "exp")},
    "matmul": _plain("MatMul"),
    "maximum": _plain("Max"),
    "minimum": _plain("Min"),
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "amax": _reduction("ReduceMax"),
    "amin": _reduction("ReduceMin"),
    "clamp": _clamp,
    "rsqrt": _rsqrt,
    "square": _square,
    "cat": _cat,
}


def _permute(graph: Graph, x: Value, *, dims: Sequence[int]) -> str:
    if not x.rank:
        return graph.add("Identity", x.name)  # an attribute has no empty list
    return graph.add("Transpose", x.name, perm=[d % x.rank for d in dims])


def _transpose(graph: Graph, x: Value, *, dim0: int, dim1: int) -> str:
    axes = list(range(x.rank))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return graph.add("Transpose", x.name, perm=axes)


def _reshape(graph: Graph, x: Value, *, shape: Sequence[int]) -> str:
    # Otherwise 0 stands for the input's size at the place.
    return graph.add("Reshape", x.name, graph.integers(*shape), allowzero=1)


def _expand(graph: Graph, x: Value, *, size: Sequence[int]) -> str:
    return graph.add("Expand", x.name, graph.integers(*size))


def _flip(graph: Graph, x: Value, *, dims: Sequence[int]) -> str:
    count = len(dims)
    ends = (-1,) * count, (_BEFORE_THE_FIRST,) * count, dims, (-1,) * count
    return graph.add("Slice", x.name, *(graph.integers(*numbers) for numbers in ends))


def _index(graph: Graph, x: Value, *, slices: Sequence[tuple[int | None, ...]]) -> str:
    bounds = [slice(*part).indices(size) for part, size in zip(slices, x.shape, strict=False)]
    starts, stops, steps = zip(*bounds, strict=True)
    numbers = (starts, stops, range(len(slices)), steps)
    return graph.add("Slice", x.name, *(graph.integers(*row) for row in numbers))


def _unsqueeze(graph: Graph, x: Value, *, dim: int) -> str:
    return graph.add("Unsqueeze", x.name, graph.integers(dim))


def _squeeze(graph: Graph, x: Value, *, dim: int) -> str:
    if x.shape[dim] != 1:
        return graph.add("Identity", x.name)
    return graph.add("Squeeze", x.name, graph.integers(dim))


def _select(graph: Graph, x: Value, *, dim: int, index: int) -> str:
    place = graph.constant(np.array(index, dtype=np.int64))
    return graph.add("Gather", x.name, place, axis=dim)


_MOVEMENTS: Mapping[str, Callable[..., str]] = {
    "permute": _permute,
    "transpose": _transpose,
    "reshape": _reshape,
    "expand": _expand,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "select": _select,
    "flip": _flip,
    "index": _index,
}
