"""torch on its device without values: the shape inference that compilers and exporters rely on.

Shapes, dtypes, refusals and the names and shapes of a state are checked; whatever asks for values
is Unsupported.
"""

from __future__ import annotations

from collections.abc import Sequence

from conformance.backends.module import ModuleBackend


class MetaBackend(ModuleBackend):
    """torch's layers, built and called on the device `meta`."""

    def devices(self) -> Sequence[str]:
        """The device without values only."""
        return ("meta",)


backend = MetaBackend("torch-meta")
