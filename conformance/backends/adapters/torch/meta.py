"""torch on the device `meta`, which has no values: the shape inference of compilers and exporters.

Checks compare shapes, dtypes, refusals, and the names and shapes of a state. Anything that needs
values is Unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.backends.torch_transforms import withdraw_transforms
from conformance.model.case import Call, Unsupported

# torch's errors for reading a number, for places of true elements, and for foreach kernels.
_VALUES_NEEDED = re.compile(
    r"called on meta tensors|data-independent|foreach API on meta tensors"
    r"|operator with Meta tensors"
)

# Layers for which such failures are declined; for all others they are listed as known failures.
_DECLINED_LAYERS = ("utils.", "init.", "Transformer")


def _decline_values(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that calls which need values are declined."""

    def call(*inputs: Any, **arguments: Any) -> Any:
        try:
            return function(*inputs, **arguments)
        except RuntimeError as error:
            if _VALUES_NEEDED.search(str(error)):
                raise Unsupported("values on device 'meta'") from error
            raise

    return call


class MetaBackend(ModuleBackend):
    """torch's layers, built and called on the device `meta`."""

    def devices(self) -> Sequence[str]:
        """Only `meta`, the device without values."""
        return ("meta",)

    def build(self, call: Call) -> ModuleLayer:
        """Build the module or function; some layers decline calls that need values."""
        layer = super().build(call)
        withdraw_transforms(layer)  # they show nothing but values
        if call.layer.startswith(_DECLINED_LAYERS):
            layer.function = _decline_values(layer.function)
        return layer


backend = MetaBackend("torch-meta")
