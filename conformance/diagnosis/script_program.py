"""Write steps of a check as code in which each call is a program of a framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.diagnosis.literals import literal
from conformance.diagnosis.transcript import Again, Ref, Step
from conformance.model.case import Call, Unsupported


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
