"""`SealedKernel`: functions in place of torch's operators, in a sealed process.

What decides how answers are judged is said here: the code under test could say it otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from conformance.backends.kernel import backend_name, settings
from conformance.backends.sealed import SealedBackend
from conformance.model.case import Numerics
from conformance.model.checks import CHECK_FACTS
from conformance.model.protocols import KERNEL_BACKEND

ASKED = frozenset(("devices", "hits", "use_threads"))
"""Members that the process is asked for, besides those that `SealedBackend` has."""


class SealedKernel(SealedBackend):
    """The backend of `conformance.backends.kernel` in a sealed process.

    Args:
        seconds: see `SealedBackend`.
    """

    base = "torch"
    unasked: Sequence[str] = tuple(facts.name for facts in CHECK_FACTS.values() if facts.invalid)

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__(KERNEL_BACKEND, seconds)
        self.name = backend_name(settings())

    def numerics(self, dtype: str, device: str = "cpu") -> Numerics:
        """What torch's own layers declare."""
        return self._torch.numerics(dtype, device)  # type: ignore[no-any-return]

    @cached_property
    def _torch(self) -> Any:
        from conformance.backends.module import ModuleBackend

        return ModuleBackend(self.name, base=self.base)

    def __getattr__(self, name: str) -> Any:
        if name not in ASKED:
            raise AttributeError(name)
        return super().__getattr__(name)
