"""Write steps of a check as code that needs only JAX and NumPy; a call is an exported program."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from conformance.diagnosis.literals import number_list_literal
from conformance.diagnosis.script_program import ProgramPrinter
from conformance.diagnosis.transcript import Step
from conformance.model.case import Call, Unsupported, Updated

_MAX_SHOWN_LINES = 60
_NUMBERS_HELPER = '''
def numbers(x):
    """An array's numbers in a wide dtype."""
    return np.asarray(x).astype({"i": np.int64, "b": np.bool_}.get(x.dtype.kind, np.float64))
'''
_PROGRAM_HELPER = '''
def program(text):
    """The function that `jax.export` serialized."""
    return jax.export.deserialize(bytearray(base64.b64decode(text))).call
'''


class JaxPrinter(ProgramPrinter):
    """Writes each call as a program of `jax.export`, with its operators in comments.

    Args:
        backend: a `FunctionBackend` whose functions `jax.jit` can trace.
        call, seed: as of the other printers; not used.
    """

    helpers: Mapping[str, str] = {"numbers": _NUMBERS_HELPER, "program": _PROGRAM_HELPER}

    def __init__(self, backend: Any, call: Call, seed: int | None = None) -> None:
        super().__init__()
        self._backend = backend
        self._programs: dict[tuple[int, str], str] = {}

    def header_lines(self) -> Sequence[str]:
        """The imports, and the setting without which JAX converts float64 to float32."""
        return [
            "import base64",
            "",
            "import jax",
            "import jax.export",
            "import jax.numpy as jnp",
            "import numpy as np",
            "",
            'jax.config.update("jax_enable_x64", True)',
        ]

    def _put(self, step: Step, value: np.ndarray, dtype: str) -> str:
        device = step.call.device
        self._arrays[step.name] = self._backend.put(value, "contiguous", dtype, device)
        return _array_text(value, dtype)

    def _call_lines(self, step: Step) -> Sequence[str]:
        names, natives = self._operands(step)
        layer = self._backend.build(self._calls[step.layer])
        state = layer.state()

        def compute(state: Mapping[str, Any], *inputs: Any) -> Any:
            result = layer.compute(state, inputs, step.keywords)
            if isinstance(result, Updated):
                raise Unsupported("updates of the state")
            return result

        try:
            exported = export.export(jax.jit(compute))(state, *natives)
        except Exception as error:  # it raises by itself, or reads numbers on the host
            raise Unsupported("a call that JAX cannot export") from error
        text = base64.b64encode(exported.serialize()).decode()
        key, lines = (step.layer, text), list[str]()
        if key not in self._programs:
            self._programs[key] = name = f"program{len(self._programs) + 1}"
            operators = str(jax.make_jaxpr(compute)(state, *natives)).splitlines()
            lines += [f"# {line}" for line in operators[:_MAX_SHOWN_LINES]]
            lines += ["# …"] if len(operators) > _MAX_SHOWN_LINES else []
            lines += [f'{name} = program("""', *textwrap.wrap(text, 96), '""")']
        tensors = self._calls[step.layer].state.items()
        weights = ", ".join(f'"{k}": {_array_text(x, str(state[k].dtype))}' for k, x in tensors)
        inputs = ", ".join(["{" + weights + "}", *(name or "None" for name in names)])
        return [*lines, f"{step.name} = {self._programs[key]}({inputs})"]


def _array_text(x: np.ndarray, dtype: str) -> str:
    text = f"np.array({number_list_literal(x)})"
    shaped = text if x.ndim == 1 else f"{text}.reshape({x.shape})"
    return f'jnp.array({shaped}, "{dtype}")'
