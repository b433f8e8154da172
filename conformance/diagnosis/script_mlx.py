"""Write steps of a check as code that needs only MLX and NumPy; a call is an exported program."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from conformance.diagnosis.script_program import ExportPrinter, array_literal, list_outputs

_NUMBERS_HELPER = '''
def numbers(x):
    """An array's numbers in a wide dtype."""
    x = np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)
    return x.astype({"i": np.int64, "b": np.bool_}.get(x.dtype.kind, np.float64))
'''
_PROGRAM_HELPER = '''
def program(text):
    """The function that `mx.export_function` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.mlxfn")
        path.write_bytes(base64.b64decode(text))
        function = mx.import_function(str(path))

    def call(state, *inputs):
        outputs = function(*state.values(), *(x for x in inputs if x is not None))
        mx.eval(outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    return call
'''


class MlxPrinter(ExportPrinter):
    """Writes each call as a program of `mx.export_function`."""

    helpers: Mapping[str, str] = {"numbers": _NUMBERS_HELPER, "program": _PROGRAM_HELPER}

    def header_lines(self) -> Sequence[str]:
        """The imports, and the device of the backend."""
        return [
            "import base64",
            "import tempfile",
            "from pathlib import Path",
            "",
            "import mlx.core as mx",
            "import numpy as np",
            "",
            "mx.set_default_device(mx.cpu)",
        ]

    def _array_text(self, x: np.ndarray, dtype: str) -> str:
        return f"mx.array({array_literal(x)}, mx.{'bool_' if dtype == 'bool' else dtype})"

    def _dtype_text(self, operand: str) -> str:
        return f'{super()._dtype_text(operand)}.removeprefix("mlx.core.")'

    def _export(
        self, compute: Callable[..., Any], state: Mapping[str, Any], inputs: Sequence[Any]
    ) -> tuple[bytes, Sequence[str]]:
        def function(*arrays: Any) -> tuple[Any, ...]:
            remaining = iter(arrays)
            own_state = {name: next(remaining) for name in state}
            result = compute(own_state, *(x if x is None else next(remaining) for x in inputs))
            return list_outputs(result, mx.array)

        arrays = [*state.values(), *(x for x in inputs if x is not None)]
        operators = list[str]()
        mx.export_function(lambda part: operators.extend(_operator_lines(part)), function, *arrays)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "program.mlxfn")
            mx.export_function(str(path), function, *arrays)
            return path.read_bytes(), operators


def _operator_lines(part: Mapping[str, Any]) -> list[str]:
    """The text of a part of an exported function: its inputs, a constant, an operator."""
    if part["type"] == "primitive":
        inputs = [name for name, *_ in part["inputs"]]
        operands = ", ".join([*inputs, *map(str, part["arguments"])])
        return [f"{_typed(part['outputs'])} = {part['name']}({operands})"]
    if part["type"] == "constants":
        return [f"{name} = {value.tolist()!s:.60}" for name, value in part["constants"]]
    return [f"inputs {_typed(part['inputs'])}"] if part["type"] == "inputs" else []


def _typed(arrays: Sequence[tuple[str, tuple[int, ...], Any]]) -> str:
    return ", ".join(
        f"{name}: {str(dtype).removeprefix('mlx.core.')}{list(shape)}"
        for name, shape, dtype in arrays
    )
