"""Build an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper

from conformance.model.case import Unsupported

OPSET = 22
# Opset of a model → IR version; later opsets need a later one.
IR_VERSIONS = {22: 10, 23: 11, 24: 12}
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype for torch's name, with ml_dtypes' bfloat16."""
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def per_dimension(value: int | Sequence[int], dims: int) -> list[int]:
    """One number for each dimension, from a single number or a sequence."""
    return [value] * dims if isinstance(value, int) else list(value)


@dataclass(frozen=True)
class Value:
    """A tensor of a graph: its name there, and its shape and dtype in this call."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)


class Graph:
    """A graph to which methods add nodes and constants.

    Args:
        dtype: NumPy's dtype of the call.
        training: see `Call`.
        constant: whether weights are constants of the graph, or inputs.

    Attributes:
        updates: name of a state tensor → the result that replaces it after the call.
    """

    def __init__(
        self, dtype: np.dtype[Any], *, training: bool = False, constant: bool = True
    ) -> None:
        self.dtype, self.training, self.constants = dtype, training, constant
        self.weights: dict[str, np.ndarray] = {}
        self.updates: dict[str, str] = {}
        self._opset = OPSET
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._ranks: dict[str, int] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add_several(
        self, operator: str, count: int, *inputs: str | None, since: int = OPSET, **attributes: Any
    ) -> list[str]:
        """Add an operator with several outputs, and return their names.

        Args:
            operator: its ONNX name.
            count: number of outputs.
            inputs: names of tensors, None for one left out.
            since: the opset that the operator needs.
        """
        self._opset = max(self._opset, since)
        names = [f"{operator}_{len(self._nodes)}_{k}" for k in range(count)]
        input_names = [name or "" for name in inputs]
        while input_names and not input_names[-1]:
            input_names.pop()
        self._nodes.append(helper.make_node(operator, input_names, names, **attributes))
        return names

    def add(self, operator: str, *inputs: str | None, **attributes: Any) -> str:
        """Add an operator with one output, and return its name."""
        return self.add_several(operator, 1, *inputs, **attributes)[0]

    def cast(self, name: str, dtype: np.dtype[Any]) -> str:
        """Add a Cast to a dtype."""
        return self.add("Cast", name, to=helper.np_dtype_to_tensor_dtype(dtype))

    def set_dtype(self, name: str, dtype: np.dtype[Any]) -> str:
        """Declare the dtype of a result that differs from the first input's."""
        self._dtypes[name] = dtype
        return name

    def set_rank(self, name: str, rank: int) -> str:
        """Declare the rank of a result that shape inference does not find."""
        self._ranks[name] = rank
        return name

    def attribute(self, name: str, value: float) -> float:
        """Return a number for an attribute, which stores it in float32.

        Args:
            name: torch's name of the argument, for the message.

        Raises:
            Unsupported: if the call is in float64, and float32 does not have the number.
        """
        with np.errstate(over="ignore"):
            stored = float(np.float32(value))
        if self.dtype == np.float64 and stored != value:
            raise Unsupported(f"{name}={value!r}, which an attribute keeps in float32")
        return float(value)

    def scalar(self, value: float) -> str:
        """Add a zero-dimensional constant of the call's dtype."""
        return self.constant(np.array(value, dtype=self.dtype))

    def full(self, value: float, *shape: int) -> str:
        """Add a constant of the call's dtype with one number in all elements."""
        return self.constant(np.full(shape, value, dtype=self.dtype))

    def constant(self, array: np.ndarray) -> str:
        """Add a constant of the array's dtype, and return its name."""
        name = f"constant_{len(self._constants)}"
        # ascontiguousarray would add an axis to a scalar.
        self._constants.append(onnx.numpy_helper.from_array(array.copy(order="C"), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a constant vector of int64; raise TypeError for a fraction."""
        return self.constant(np.array([index(value) for value in values], dtype=np.int64))

    def weight(self, array: np.ndarray) -> Value:
        """Add a weight of the call's dtype, as a constant or as an input."""
        array = np.asarray(array, dtype=self.dtype)
        if self.constants:
            return Value(self.constant(array), array.shape, self.dtype)
        name = f"weight_{len(self.weights)}"
        self.weights[name] = array
        return Value(name, array.shape, self.dtype)

    def build_model(
        self, inputs: Sequence[Value], outputs: Sequence[str], *, fixed: bool
    ) -> onnx.ModelProto:
        """Build the model; outputs have the first input's dtype unless `set_dtype` declares one.

        Args:
            outputs: names of the outputs.
            fixed: whether the model has the input shapes, or only their ranks.
        """
        onnx_dtype = helper.np_dtype_to_tensor_dtype
        weights = [Value(name, x.shape, x.dtype) for name, x in self.weights.items()]
        input_infos = [
            helper.make_tensor_value_info(
                x.name, onnx_dtype(x.dtype), x.shape if fixed else [None] * x.rank
            )
            for x in (*inputs, *weights)
        ]
        output_infos = [
            helper.make_tensor_value_info(
                y,
                onnx_dtype(self._dtypes.get(y, inputs[0].dtype)),
                [None] * self._ranks[y] if y in self._ranks else None,
            )
            for y in (*outputs, *self.updates.values())
        ]
        graph = helper.make_graph(self._nodes, "call", input_infos, output_infos, self._constants)
        opset = helper.make_opsetid("", self._opset)
        version = IR_VERSIONS[self._opset]
        return helper.make_model(graph, opset_imports=[opset], ir_version=version)
