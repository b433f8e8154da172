"""One test for each layer × check × dtype × device."""

from __future__ import annotations

from typing import Any

import pytest


def test_layer(
    conformance_item: Any, conformance_verdict: Any, request: pytest.FixtureRequest
) -> None:
    """Compare the backend with the oracle; `conformance.checks` says what each check compares."""
    conformance_verdict(request.node, conformance_item)
