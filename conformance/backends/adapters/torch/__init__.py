"""The built-in backend: torch itself."""

from __future__ import annotations

from conformance.backends.module import TORCH_STORED, ModuleBackend

backend = ModuleBackend("torch", stored=TORCH_STORED)
