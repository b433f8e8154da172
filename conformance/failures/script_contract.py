"""Steps of any backend as calls of the contract: the script needs its adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from conformance.failures.literals import literal
from conformance.failures.transcript import Step
from conformance.model.case import Call


class ContractPrinter:
    """Writes steps as calls of the contract.

    Args:
        backend: its name among the entry points, or `module:attribute`.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def head(self) -> Sequence[str]:
        """Imports, and the backend."""
        return [
            "import numpy as np",
            "",
            "from conformance import Call",
            "from conformance.backends.registry import load",
            "",
            f"backend = load({self._backend!r})",
        ]

    def helpers(self, source: str) -> Sequence[str]:
        """None."""
        return []

    def step(self, step: Step) -> Sequence[str]:
        """The lines of one step."""
        layer = f"layer{step.layer}"
        if step.member == "build":
            return [f"{layer} = backend.build({_call(step.call)})"]
        given = [literal(x) for x in step.arguments]
        given += [f"{name}={literal(x)}" for name, x in step.keywords.items()]
        member = "" if step.member == "call" else f".{step.member}"
        result = f"{step.name} = " if step.name else ""
        return [f"{result}{layer}{member}({', '.join(given)})"]


def _call(call: Call) -> str:
    parts = [f"{x.name}={literal(getattr(call, x.name))}" for x in fields(call)]
    return f"Call({', '.join(parts)})"
