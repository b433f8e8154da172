"""Write steps of a check as code that needs only tinygrad and NumPy; a call is a pickled graph."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tinygrad import Tensor
from tinygrad.uop.ops import Ops, UOp

from conformance.diagnosis.script_program import ExportPrinter, array_literal, list_outputs

_NUMBERS_HELPER = '''
def numbers(x):
    """A tensor's numbers in a wide dtype."""
    x = (x.cast(dtypes.float32) if x.dtype == dtypes.bfloat16 else x).numpy()
    return x.astype({"i": np.int64, "b": np.bool_}.get(x.dtype.kind, np.float64))
'''
_PROGRAM_HELPER = '''
def program(text):
    """The function of a pickled graph, whose parameters are the state and the inputs."""
    graph = pickle.loads(zlib.decompress(base64.b64decode(text)))

    def call(state, *inputs):
        tensors = [*state.values(), *(x for x in inputs if x is not None)]
        nodes = graph.toposort()
        values = {x: tensors[x.arg.slot].uop for x in nodes if x.op is Ops.PARAM}
        outputs = [Tensor(x) for x in graph.substitute(values).src]
        Tensor.realize(*outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    return call
'''
_NOT_SHOWN = (Ops.CONST, Ops.STACK, Ops.SINK)
"""Operators that hold numbers and shapes."""


class TinygradPrinter(ExportPrinter):
    """Writes each call as the graph that tinygrad makes of it before it is compiled."""

    helpers: Mapping[str, str] = {"numbers": _NUMBERS_HELPER, "program": _PROGRAM_HELPER}

    def header_lines(self) -> Sequence[str]:
        """The imports."""
        return [
            "import base64",
            "import pickle",
            "import zlib",
            "",
            "import numpy as np",
            "from tinygrad import Tensor, dtypes",
            "from tinygrad.uop.ops import Ops",
        ]

    def _array_text(self, x: np.ndarray, dtype: str) -> str:
        # NumPy has no bfloat16.
        wide = "float32" if dtype == "bfloat16" else dtype
        tensor = f'Tensor({array_literal(x)}.astype("{wide}"), device="CPU")'
        cast = ".cast(dtypes.bfloat16)" if dtype == "bfloat16" else ""
        return f"{tensor}{cast}.realize()"

    def _dtype_text(self, operand: str) -> str:
        names = '{"float": "float32", "double": "float64", "half": "float16", "long": "int64"}'
        return f'{names}.get(name := str({operand}.dtype).removeprefix("dtypes."), name)'

    def _export(
        self, compute: Callable[..., Any], state: Mapping[str, Any], inputs: Sequence[Any]
    ) -> tuple[bytes, Sequence[str]]:
        tensors = [*state.values(), *(x for x in inputs if x is not None)]
        parameters = iter(
            Tensor(UOp.param(slot, x.dtype, x.shape, device=x.device))
            for slot, x in enumerate(tensors)
        )
        own_state = {name: next(parameters) for name in state}
        result = compute(own_state, *(x if x is None else next(parameters) for x in inputs))
        graph = UOp.sink(*(x.uop for x in list_outputs(result, Tensor)))
        return zlib.compress(pickle.dumps(graph)), _operator_lines(graph)


def _operator_lines(graph: UOp) -> list[str]:
    """The operators of a graph, a line each, with dtypes and shapes."""
    numbers: dict[UOp, str] = {}
    lines: list[str] = []
    for node in graph.toposort():
        if node.op in _NOT_SHOWN:
            numbers[node] = str(node.arg) if node.op is Ops.CONST else "…"
            continue
        numbers[node] = f"x{len(lines) + 1}"
        operands = [numbers[x] for x in node.src if x.op is not Ops.STACK]
        if node.op is Ops.PARAM:
            operands = [str(node.arg.slot)]
        elif node.arg is not None:
            operands.append(str(node.arg))
        result = f"{numbers[node]}: {str(node.dtype).removeprefix('dtypes.')}{list(node.shape)}"
        lines.append(f"{result} = {node.op.name}({', '.join(operands)})")
    return lines
