"""The built-in backend: torch itself."""

from __future__ import annotations

from conformance.backends.module import STORES, ModuleBackend

backend = ModuleBackend("torch", stored=STORES)
