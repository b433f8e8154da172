"""Write steps of any backend as calls of the contract; such a script needs the adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from conformance.diagnosis.literals import literal
from conformance.diagnosis.transcript import Step
from conformance.model.case import Call

_DECLINING_HELPER = '''
@contextlib.contextmanager
def declining():
    """A declined call is not a failure: print the reason and exit 0."""
    try:
        yield
    except Unsupported as reason:
        print("declined:", reason)
        raise SystemExit(0) from None
'''


_HELPERS: Mapping[str, str] = {"declining": _DECLINING_HELPER}


class ContractPrinter:
    """Writes steps as calls of the contract.

    Args:
        backend: the name of the backend's entry point, or `module:attribute`.
    """

    declining_exception = "Unsupported"
    helpers = _HELPERS

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def header_lines(self) -> Sequence[str]:
        """The imports, and the line that loads the backend."""
        return [
            "import numpy as np",
            "",
            "from conformance import Call, Unsupported",
            "from conformance.backends.registry import load",
            "",
            f"backend = load({self._backend!r})",
        ]

    def step_lines(self, step: Step) -> Sequence[str]:
        """The lines of one step."""
        layer = f"layer{step.layer}"
        if step.member == "build":
            return [f"{layer} = backend.build({call_literal(step.call)})"]
        if step.member == "updated":
            return [f"{step.name} = {layer}.updated"]
        argument_texts = [literal(x) for x in step.arguments]
        if step.member == "same":
            return [f"{step.name} = {' is '.join(argument_texts)}"]
        argument_texts += [f"{name}={literal(x)}" for name, x in step.keywords.items()]
        member = "" if step.member == "call" else f".{step.member}"
        assignment = f"{step.name} = " if step.name else ""
        return [f"{assignment}{layer}{member}({', '.join(argument_texts)})"]


def call_literal(call: Call) -> str:
    """The code that makes a call."""
    parts = [f"{x.name}={literal(getattr(call, x.name))}" for x in fields(call)]
    return f"Call({', '.join(parts)})"
