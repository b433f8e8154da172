"""Property-based conformance suite for torch.nn: the classes that a plug-in's author imports."""

from __future__ import annotations

from conformance.model.case import Call, Case, Numerics, Unsupported, Updated, Verdict
from conformance.model.protocols import Backend, Layer

try:
    from conformance._version import __version__ as __version__
except ImportError:  # a checkout that was never built
    __version__ = "0.1.0.dev0"

__all__ = ["Backend", "Call", "Case", "Layer", "Numerics", "Unsupported", "Updated", "Verdict"]
