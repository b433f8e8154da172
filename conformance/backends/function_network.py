"""Networks of a `FunctionBackend`: its own layers and operators, called one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported, Updated
from conformance.model.graph import PARAMETER, Node, evaluate_network, is_layer, own_state

Operators = Mapping[str, Callable[..., Any]]
"""Name of an operator → its function of natives and numbers, with torch's arguments by name."""


class NetworkFunctions(FunctionBackend):
    """The part of a backend for drawn networks; a subclass may override `network` to compile it."""

    operators: ClassVar[Operators]

    @implements("Network", "Sequential")
    def network(
        self, state: Mapping[str, Any], *inputs: Any, nodes: Sequence[Any], call: Any
    ) -> Any:
        """The outputs of a network; `nodes` is as in `conformance.model.graph.Node`.

        Raises:
            Unsupported: for a node that the backend does not have.
        """

        def compute(number: int, node: Node, operands: Sequence[Any]) -> Any:
            target, arguments = str(node.target), dict(node.arguments)
            tensors = own_state(state, number)
            if target == PARAMETER:
                return tensors["value"]
            if is_layer(target):
                inner = Call(target, arguments, {}, call.dtype, call.device)
                result = self.build(inner).compute(tensors, operands, {})
                result = result.outputs if isinstance(result, Updated) else result
                return result[0] if isinstance(result, tuple) else result
            if target not in self.operators:
                raise Unsupported(f"operator {target}")
            return self.operators[target](*operands, **arguments)

        outputs = evaluate_network(nodes, inputs, compute)
        return outputs if len(outputs) > 1 else outputs[0]


def array_operators(namespace: Any, **others: Callable[..., Any]) -> Operators:
    """Operators of a namespace with NumPy's functions.

    Args:
        others: functions that NumPy does not have, or that the namespace calls otherwise.
    """
    xp = namespace
    return {
        "add": xp.add,
        "sub": xp.subtract,
        "mul": xp.multiply,
        "div": xp.divide,
        "neg": xp.negative,
        "abs": xp.abs,
        "maximum": xp.maximum,
        "minimum": xp.minimum,
        "square": xp.square,
        "sqrt": xp.sqrt,
        "exp": xp.exp,
        "tanh": xp.tanh,
        "matmul": xp.matmul,
        "permute": lambda x, dims: xp.transpose(x, dims),
        "transpose": lambda x, dim0, dim1: xp.swapaxes(x, dim0, dim1),
        "reshape": lambda x, shape: xp.reshape(x, shape),
        "expand": lambda x, size: xp.broadcast_to(x, size),
        "index": lambda x, slices: x[tuple(slice(*part) for part in slices)],
        "squeeze": lambda x, dim: xp.squeeze(x, dim) if x.shape[dim] == 1 else x,
        "unsqueeze": lambda x, dim: xp.expand_dims(x, dim),
        "select": lambda x, dim, index: x[(slice(None),) * (dim % x.ndim) + (index,)],
        "flip": lambda x, dims: x[_reversed(x.ndim, dims)],
        "cat": lambda *parts, dim: xp.concatenate(list(parts), axis=dim),
        "sum": lambda x, dim, keepdim=False: xp.sum(x, axis=dim, keepdims=keepdim),
        "mean": lambda x, dim, keepdim=False: xp.mean(x, axis=dim, keepdims=keepdim),
        "amax": lambda x, dim, keepdim=False: xp.max(x, axis=dim, keepdims=keepdim),
        "amin": lambda x, dim, keepdim=False: xp.min(x, axis=dim, keepdims=keepdim),
        "clamp": lambda x, **ends: xp.clip(x, ends["min"], ends["max"]),
        **others,
    }


def _reversed(rank: int, dims: Sequence[int]) -> tuple[slice, ...]:
    axes = {d % rank for d in dims}
    return tuple(slice(None, None, -1) if axis in axes else slice(None) for axis in range(rank))
