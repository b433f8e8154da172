"""Write steps of a check as code in which each call is a program of a framework."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.diagnosis.literals import literal, number_list_literal
from conformance.diagnosis.transcript import Again, Ref, Step
from conformance.model.case import Call, Unsupported, Updated

_MAX_SHOWN_LINES = 60


class ProgramPrinter:
    """The steps that all frameworks have; a subclass writes arrays and calls."""

    declining_exception = ""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._arrays: dict[str, Any] = {}

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
                return [f"{step.name} = {self._dtype_text(arguments[0])}"]
            case "same":
                return [f"{step.name} = {' is '.join(arguments)}"]
        raise Unsupported(step.member)

    def _dtype_text(self, operand: str) -> str:
        """The code of the name of an operand's dtype."""
        return f"str({operand}.dtype)"

    def _put_lines(
        self, step: Step, value: Any, layout: str = "contiguous", dtype: str | None = None
    ) -> Sequence[str]:
        if isinstance(value, Again) or layout != "contiguous":
            raise Unsupported("an earlier answer or a layout")
        own_dtype = {"i": "int64", "b": "bool"}.get(value.dtype.kind, step.call.dtype)
        return [f"{step.name} = {self._put(step, value, dtype or own_dtype)}"]

    def _put(self, step: Step, value: np.ndarray, dtype: str) -> str:
        """The code of an array, which is kept in `_arrays` by the step's name."""
        raise NotImplementedError

    def _call_lines(self, step: Step) -> Sequence[str]:
        """The lines that make a program of a step's call, and run it."""
        raise NotImplementedError

    def _operands(self, step: Step) -> tuple[list[str | None], list[Any]]:
        """Names and arrays of a call's inputs; None for an absent one."""
        names = [x.text if isinstance(x, Ref) else None for x in step.arguments]
        if any(name is not None and name not in self._arrays for name in names):
            raise Unsupported("an input that an earlier step returned")
        return names, [None if name is None else self._arrays[name] for name in names]


class ExportPrinter(ProgramPrinter):
    """Writes each call as a program that the framework exported, with its operators in comments.

    Args:
        backend: a `FunctionBackend` whose functions the framework can trace.
        call, seed: as of the other printers; not used.
    """

    def __init__(self, backend: Any, call: Call, seed: int | None = None) -> None:
        super().__init__()
        self._backend = backend
        self._programs: dict[tuple[Any, ...], str] = {}

    def _export(
        self, compute: Callable[..., Any], state: Mapping[str, Any], inputs: Sequence[Any]
    ) -> tuple[bytes, Sequence[str]]:
        """The program of a function of a state and inputs, and its operators, a line each."""
        raise NotImplementedError

    def _array_text(self, x: np.ndarray, dtype: str) -> str:
        """The code of an array."""
        raise NotImplementedError

    def _put(self, step: Step, value: np.ndarray, dtype: str) -> str:
        device = step.call.device
        self._arrays[step.name] = self._backend.put(value, "contiguous", dtype, device)
        return self._array_text(value, dtype)

    def _call_lines(self, step: Step) -> Sequence[str]:
        names, natives = self._operands(step)
        layer = self._backend.build(self._calls[step.layer])
        state = layer.state()

        def compute(state: Mapping[str, Any], *inputs: Any) -> Any:
            result = layer.compute(state, inputs, step.keywords)
            if isinstance(result, Updated):
                raise Unsupported("updates of the state")
            return result

        lines = list[str]()
        key = (
            step.layer,
            str(step.keywords),
            *(None if x is None else _signature(x) for x in natives),
        )
        if key not in self._programs:
            try:
                program, operators = self._export(compute, state, natives)
            except Exception as error:  # it raises by itself, or reads numbers on the host
                raise Unsupported("a call that the framework cannot export") from error
            self._programs[key] = name = f"program{len(self._programs) + 1}"
            lines += [f"# {line}" for line in operators[:_MAX_SHOWN_LINES]]
            lines += ["# …"] if len(operators) > _MAX_SHOWN_LINES else []
            text = textwrap.wrap(base64.b64encode(program).decode(), 96)
            lines += [f'{name} = program("""', *text, '""")']
        tensors = self._calls[step.layer].state.items()
        dtypes = {name: self._backend.dtype(tensor) for name, tensor in state.items()}
        weights = ", ".join(f'"{k}": {self._array_text(x, dtypes[k])}' for k, x in tensors)
        inputs = ", ".join(["{" + weights + "}", *(name or "None" for name in names)])
        return [*lines, f"{step.name} = {self._programs[key]}({inputs})"]


def list_outputs(result: Any, kind: type) -> tuple[Any, ...]:
    """The arrays of a framework that a call returns.

    Raises:
        Unsupported: if it returns a tuple of one array, or anything else.
    """
    is_one = isinstance(result, kind)
    outputs = (result,) if is_one else tuple(result)
    is_array_in_tuple = len(outputs) == 1 and not is_one
    if is_array_in_tuple or not all(isinstance(x, kind) for x in outputs):
        raise Unsupported("a tuple of one array, or of other things")
    return outputs


def _signature(native: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of an array: a program serves all arrays that share them."""
    return tuple(native.shape), str(native.dtype)


def array_literal(x: np.ndarray) -> str:
    """The code of a NumPy array with an array's numbers and shape."""
    text = f"np.array({number_list_literal(x)})"
    return text if x.ndim == 1 else f"{text}.reshape({x.shape})"
