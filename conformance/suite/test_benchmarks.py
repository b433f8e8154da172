"""One test for each timed call × pass × dtype × device; see `--conformance-benchmarks`."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.plugin.benchmarks import replayed_seconds


@pytest.mark.benchmark(timer=replayed_seconds, disable_gc=False)
def test_benchmark(
    conformance_timed: Any, conformance_benchmark: Any, request: pytest.FixtureRequest
) -> None:
    """Time a call and torch's in turns; its answer must be right before and during the timing."""
    conformance_benchmark(request, conformance_timed)
