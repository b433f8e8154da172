"""Base classes for plug-ins; `conformance.Backend` is the contract itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.backends.function import FunctionBackend, implements

if TYPE_CHECKING:
    from conformance.backends.function_network import NetworkFunctions, array_operators
    from conformance.backends.module import ModuleBackend
    from conformance.backends.override import OverrideBackend
    from conformance.backends.wire import WireBackend

__all__ = [
    "FunctionBackend",
    "ModuleBackend",
    "NetworkFunctions",
    "OverrideBackend",
    "WireBackend",
    "array_operators",
    "implements",
]


def __getattr__(name: str) -> Any:
    """Import a base class on first access, so that importing the package does not import torch."""
    if name == "ModuleBackend":
        from conformance.backends.module import ModuleBackend

        return ModuleBackend
    if name == "OverrideBackend":
        from conformance.backends.override import OverrideBackend

        return OverrideBackend
    if name == "WireBackend":
        from conformance.backends.wire import WireBackend

        return WireBackend
    if name in ("NetworkFunctions", "array_operators"):
        from conformance.backends import function_network

        return getattr(function_network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
