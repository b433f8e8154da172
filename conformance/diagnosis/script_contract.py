"""Write steps of any backend as calls of the contract; such a script needs the adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from conformance.diagnosis.literals import literal
from conformance.diagnosis.transcript import Step
from conformance.model.case import Call

_DECLINING = '''
@contextlib.contextmanager
def declining():
    """A declined call is not a failure: print the reason and exit 0."""
    try:
        yield
    except Unsupported as reason:
        print("declined:", reason)
        raise SystemExit(0) from None
'''


_HELPERS: Mapping[str, str] = {"declining": _DECLINING}


class ContractPrinter:
    """Writes steps as calls of the contract.

    Args:
        backend: the name of the backend's entry point, or `module:attribute`.
    """

    declined = "Unsupported"
    helpers = _HELPERS

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def head(self) -> Sequence[str]:
        """The imports, and the line that loads the backend."""
        return [
            "import numpy as np",
            "",
            "from conformance import Call, Unsupported",
            "from conformance.backends.registry import load",
            "",
            f"backend = load({self._backend!r})",
        ]

    def step(self, step: Step) -> Sequence[str]:
        """The lines of one step."""
        layer = f"layer{step.layer}"
        if step.member == "build":
            return [f"{layer} = backend.build({_call(step.call)})"]
        if step.member == "updated":
            return [f"{step.name} = {layer}.updated"]
        given = [literal(x) for x in step.arguments]
        if step.member == "same":
            return [f"{step.name} = {' is '.join(given)}"]
        given += [f"{name}={literal(x)}" for name, x in step.keywords.items()]
        member = "" if step.member == "call" else f".{step.member}"
        result = f"{step.name} = " if step.name else ""
        return [f"{result}{layer}{member}({', '.join(given)})"]


def _call(call: Call) -> str:
    parts = [f"{x.name}={literal(getattr(call, x.name))}" for x in fields(call)]
    return f"Call({', '.join(parts)})"
