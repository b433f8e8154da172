"""Write steps of a check as code that needs only JAX and NumPy; a call is an exported program."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax import export

from conformance.diagnosis.literals import literal, number_list_literal
from conformance.diagnosis.transcript import Again, Ref, Step
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


class JaxPrinter:
    """Writes each call as a program of `jax.export`, with its operators in comments.

    Args:
        backend: a `FunctionBackend` whose functions `jax.jit` can trace.
        call, seed: as of the other printers; not used.
    """

    declining_exception = ""
    helpers: Mapping[str, str] = {"numbers": _NUMBERS_HELPER, "program": _PROGRAM_HELPER}

    def __init__(self, backend: Any, call: Call, seed: int | None = None) -> None:
        self._backend = backend
        self._calls: dict[int, Call] = {}
        self._natives: dict[str, Any] = {}
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

    def step_lines(self, step: Step) -> Sequence[str]:
        """The lines of one step.

        Raises:
            Unsupported: if the step needs the adapter.
        """
        arguments = [literal(x) for x in step.arguments]
        match step.member:
            case "build":
                self._calls[step.layer] = step.call
                return []
            case "load":
                state = step.arguments[0]
                self._calls[step.layer] = replace(self._calls[step.layer], state=state)
                return []
            case "put":
                return self._put_lines(step, *step.arguments, **step.keywords)
            case "call":
                return self._call_lines(step)
            case "get":
                return [f"{step.name} = numbers({arguments[0]})"]
            case "shape":
                return [f"{step.name} = {arguments[0]}.shape"]
            case "dtype":
                return [f"{step.name} = str({arguments[0]}.dtype)"]
            case "same":
                return [f"{step.name} = {' is '.join(arguments)}"]
        raise Unsupported(step.member)

    def _put_lines(
        self, step: Step, value: Any, layout: str = "contiguous", dtype: str | None = None
    ) -> Sequence[str]:
        if isinstance(value, Again) or layout != "contiguous":
            raise Unsupported("an earlier answer or a layout")
        own_dtype = {"i": "int64", "b": "bool"}.get(value.dtype.kind, step.call.dtype)
        name = dtype or own_dtype
        self._natives[step.name] = self._backend.put(value, layout, name, step.call.device)
        return [f"{step.name} = {_array_text(value, name)}"]

    def _call_lines(self, step: Step) -> Sequence[str]:
        names = [x.text if isinstance(x, Ref) else None for x in step.arguments]
        if any(name is not None and name not in self._natives for name in names):
            raise Unsupported("an input that an earlier step returned")
        layer = self._backend.build(self._calls[step.layer])
        state = layer.state()

        def compute(state: Mapping[str, Any], *inputs: Any) -> Any:
            result = layer.compute(state, inputs, step.keywords)
            if isinstance(result, Updated):
                raise Unsupported("updates of the state")
            return result

        natives = [None if name is None else self._natives[name] for name in names]
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
