"""The two interfaces that a backend implements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from conformance.model.case import Call


@runtime_checkable
class Layer(Protocol):
    """A layer built by a backend; natives are the backend's own arrays."""

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Host to native, in the call's dtype unless another is named; integers stay int64."""

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Natives to one native or a tuple of them, recording no gradient; None = left out."""

    def get(self, native: Any) -> np.ndarray:
        """Native to host, exact, no subclass; Unsupported where the device holds no values."""

    def dtype(self, native: Any) -> str:
        """torch's name of the native's dtype, without the prefix."""


@runtime_checkable
class Backend(Protocol):
    """An implementation under test."""

    name: str

    def info(self) -> Mapping[str, str]:
        """Versions, hardware and flags: the report's provenance."""

    def devices(self) -> Sequence[str]:
        """The devices it offers, torch's names: `["cpu", "cuda:0"]`."""

    def build(self, call: Call) -> Layer:
        """Build the layer of a call; raises Unsupported to decline it."""
