"""Write steps of a check as code that needs only onnx, a framework that runs it, and NumPy."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from conformance.backends.adapters.onnx.nodes import BFLOAT16, numpy_dtype
from conformance.diagnosis.literals import literal, number_list_literal
from conformance.diagnosis.script_program import ProgramPrinter
from conformance.diagnosis.transcript import Step
from conformance.model.case import Call, Unsupported

_NUMBERS_HELPER = '''
def numbers(x):
    """An array's numbers in a wide dtype."""
    return np.array(x, {"i": np.int64, "b": np.bool_}.get(x.dtype.kind, np.float64))
'''
_GRAPH_HELPER = '''
def make_model(nodes, inputs, outputs, constants, opset, ir_version):
    """A model; inputs and outputs are (name, dtype, shape)."""
    places = [
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
            )
            for name, dtype, shape in given
        ]
        for given in (inputs, outputs)
    ]
    tensors = [onnx.numpy_helper.from_array(x, name) for name, x in constants.items()]
    graph = onnx.helper.make_graph(nodes, "call", *places, tensors)
    imports = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
'''


class OnnxPrinter(ProgramPrinter):
    """Writes each call as a model that a framework runs.

    Args:
        backend: a `GraphBackend`; `script_compiled` is the source of a function `compiled(model)`,
            which returns a function: inputs by name → a list of arrays.
        call, seed: as of the other printers; not used.

    Raises:
        Unsupported: if the backend's class changes another one, and may run models in its own way.
    """

    def __init__(self, backend: Any, call: Call, seed: int | None = None) -> None:
        super().__init__()
        if "script_compiled" not in vars(type(backend)):
            raise Unsupported("a changed adapter")
        self._backend = backend
        self.helpers: Mapping[str, str] = {
            "numbers": _NUMBERS_HELPER,
            "make_model": _GRAPH_HELPER,
            "compiled": backend.script_compiled,
        }
        self._models: dict[tuple[int, bytes], str] = {}

    def header_lines(self) -> Sequence[str]:
        """The imports."""
        return ["import numpy as np", "import onnx", *self._backend.script_imports]

    def step_lines(self, step: Step) -> Sequence[str]:
        """The lines of one step.

        Raises:
            Unsupported: if the step needs the adapter.
        """
        if step.member == "aliases":
            return [f"{step.name} = np.may_share_memory({', '.join(map(literal, step.arguments))})"]
        return super().step_lines(step)

    def _put(self, step: Step, value: np.ndarray, dtype: str) -> str:
        with np.errstate(over="ignore"):
            self._arrays[step.name] = value.astype(numpy_dtype(dtype))
        return _array_text(self._arrays[step.name])

    def _call_lines(self, step: Step) -> Sequence[str]:
        names, arrays = self._operands(step)
        translated = self._backend.call_model(self._calls[step.layer], arrays, step.keywords)
        if translated.updates:
            raise Unsupported("updates of the state")
        key, lines = (step.layer, translated.model.SerializeToString()), list[str]()
        if key not in self._models:
            self._models[key] = name = f"model{len(self._models) + 1}"
            lines += [f"{name} = compiled(make_model(", *_model_lines(translated.model), "))"]
        inputs = [
            *(f"input_{place}={name}" for place, name in enumerate(names) if name),
            *(f"{name}={_array_text(x)}" for name, x in translated.weights.items()),
        ]
        has_one = len(translated.model.graph.output) == 1
        results = f"({step.name},)" if has_one else step.name
        lines.append(f"{results} = {self._models[key]}({', '.join(inputs)})")
        return lines


def _array_text(x: np.ndarray) -> str:
    """An array with its dtype and shape.

    Raises:
        Unsupported: for bfloat16, which frameworks take in ways of their own.
    """
    if x.dtype == BFLOAT16:
        raise Unsupported("bfloat16")
    text = f'np.array({number_list_literal(x)}, "{x.dtype}")'
    return text if x.ndim == 1 else f"{text}.reshape({x.shape})"


def _model_lines(model: onnx.ModelProto) -> Sequence[str]:
    """The arguments of `make_model`."""
    graph = model.graph
    nodes = [f"{_node_text(node)}," for node in graph.node]
    constants = [f'"{x.name}": {_array_text(numpy_helper.to_array(x))},' for x in graph.initializer]
    inputs = ", ".join(map(_place_text, graph.input))
    outputs = ", ".join(map(_place_text, graph.output))
    lines = ["[", *_indented(nodes), "],", f"[{inputs}],", f"[{outputs}],"]
    lines += ["{", *_indented(constants), "},"] if constants else ["{},"]
    versions = f"opset={model.opset_import[0].version}, ir_version={model.ir_version},"
    return _indented([*lines, versions])


def _node_text(node: onnx.NodeProto) -> str:
    attributes = [f", {x.name}={_attribute_text(x)}" for x in node.attribute]
    operator, inputs, outputs = node.op_type, list(node.input), list(node.output)
    return f'onnx.helper.make_node("{operator}", {inputs}, {outputs}{"".join(attributes)})'


def _attribute_text(attribute: onnx.AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return f"onnx.numpy_helper.from_array({_array_text(numpy_helper.to_array(value))})"
    if isinstance(value, onnx.GraphProto):
        raise Unsupported("a graph within a graph")
    if isinstance(value, bytes):
        return repr(value.decode())
    return literal(list(value) if isinstance(value, Sequence) else value)


def _place_text(place: onnx.ValueInfoProto) -> str:
    tensor = place.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if dtype == BFLOAT16:
        raise Unsupported("bfloat16")
    shape = [x.dim_value if x.HasField("dim_value") else None for x in tensor.shape.dim]
    return f'("{place.name}", "{dtype}", {shape if tensor.HasField("shape") else None})'


def _indented(lines: Sequence[str]) -> list[str]:
    return textwrap.indent("\n".join(lines), "    ").splitlines()
