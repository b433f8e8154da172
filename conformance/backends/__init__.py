"""Base classes for plug-ins; `conformance.Backend` is the contract itself."""

from __future__ import annotations

from importlib import import_module
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


_MODULES = {
    "ModuleBackend": "module",
    "NetworkFunctions": "function_network",
    "OverrideBackend": "override",
    "WireBackend": "wire",
    "array_operators": "function_network",
}


def __getattr__(name: str) -> Any:
    """Import a name on first access, so that importing the package does not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
