"""The two interfaces that a backend implements; docs/contract.md describes optional members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from conformance.model.case import Call


ENTRY_POINTS = "conformance.backends"
"""Group of the entry points of installed backends."""
KERNEL_BACKEND = "conformance.backends.kernel:backend"
MODULE_BACKEND = "conformance.backends.implementation:Implementation"
"""Names under which a process loads the backends of `check-kernel` and `check-module`."""
SEALED_PREFIX = "sealed:"
"""Prefix of the name of a backend that runs in a sealed process."""


@runtime_checkable
class Layer(Protocol):
    """A layer built by a backend; natives are the backend's own arrays."""

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Convert a host array to a native, in the call's dtype by default; integers stay int64."""

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Compute one native or a tuple of natives without recording gradients.

        None stands for an input that is left out.
        """

    def get(self, native: Any) -> np.ndarray:
        """Convert a native to a plain NumPy array, exactly.

        Raises:
            Unsupported: if the device holds no values.
        """

    def dtype(self, native: Any) -> str:
        """torch's name of the native's dtype, without the prefix: `"float32"`."""


@runtime_checkable
class Backend(Protocol):
    """An implementation under test."""

    name: str

    def info(self) -> Mapping[str, str]:
        """Versions, hardware and flags: the report's provenance."""

    def devices(self) -> Sequence[str]:
        """The devices that it offers, by torch's names: `["cpu", "cuda:0"]`."""

    def build(self, call: Call) -> Layer:
        """Build the layer of a call.

        Raises:
            Unsupported: to decline the call.
        """
