"""torch on its device without values: the shape inference that compilers and exporters rely on.

Shapes, dtypes, refusals and the names and shapes of a state are checked; whatever asks for values
is Unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.model.case import Call, Unsupported

# A number that is read, places of what is true, a kernel for many tensors at once.
_VALUES = re.compile(
    r"called on meta tensors|data-independent|foreach API on meta tensors"
    r"|operator with Meta tensors"
)

# For all other layers such failures are listed as known.
_LISTED_NOWHERE = ("utils.", "init.", "Transformer")


def _declining(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its calls declined that need values."""

    def call(*inputs: Any, **arguments: Any) -> Any:
        try:
            return function(*inputs, **arguments)
        except RuntimeError as error:
            if _VALUES.search(str(error)):
                raise Unsupported("values on device 'meta'") from error
            raise

    return call


class MetaBackend(ModuleBackend):
    """torch's layers, built and called on the device `meta`."""

    def devices(self) -> Sequence[str]:
        """The device without values only."""
        return ("meta",)

    def build(self, call: Call) -> ModuleLayer:
        """The module or function; some decline what needs values on the way."""
        layer = super().build(call)
        if call.layer.startswith(_LISTED_NOWHERE):
            layer.function = _declining(layer.function)
        return layer


backend = MetaBackend("torch-meta")
