"""Names that the parts of the plug-in share, and the interface of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pytest

    from conformance.items.planning import Item
    from conformance.plugin.options import Settings

VERDICT_PROPERTY = "conformance-verdict"
BENCHMARK_PROPERTY = "conformance-benchmark"
# Properties of a test that carry data from a worker and are not meant for people.
DATA_PROPERTIES = (VERDICT_PROPERTY, BENCHMARK_PROPERTY)
PLAN_KEY = "conformance-plan"
# Limits on caches that would fill the memory of a run with many examples. oneDNN caches 1024
# kernels of up to 250 KB each, torch caches as many itself, and glibc keeps freed large arrays.
LONG_RUN_ENVIRONMENT = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
    "LRU_CACHE_CAPACITY": "32",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
}
UNSAFE_DISTRIBUTIONS = ("loadscope", "loadfile", "loadgroup")


class SessionLike(Protocol):
    """The suite's part of a pytest session (`conformance.plugin.session.Session`)."""

    config: pytest.Config
    settings: Settings
    plan: Any
    items: tuple[Item, ...]
    worker: bool
    recorder: Any
    benchmarks: Any

    @property
    def engine(self) -> Any:
        """The engine that runs the items."""

    def command(self, item: Any) -> str:
        """The pytest command that runs an item again."""
