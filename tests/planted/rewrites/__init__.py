"""Wrong rewrites of networks, as an optimising compiler makes them, planted over torch eager.

A rewrite edits the graph of a `torch.fx.GraphModule`, and says whether its pattern was there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import GraphModule

from conformance.backends import ModuleBackend

Rewrite = Callable[[GraphModule], bool]


class Rewriting(ModuleBackend):
    """torch eager behind one rewrite."""

    def __init__(self, rewrite: Rewrite) -> None:
        super().__init__(f"rewriting-{rewrite.__name__}")
        self.rewrite = rewrite

    def wrap(self, module: Any) -> Any:
        """Rewrite the graph of a network; other layers stay."""
        if isinstance(module, GraphModule) and self.rewrite(module):
            module.graph.lint()
            module.recompile()
        return module
