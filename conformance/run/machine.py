"""The machine and time of a run, for the first line of its results."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from conformance.known import cpu
from conformance.model.limits import THREAD_VARIABLES


def machine_facts() -> dict[str, Any]:
    """Versions, system, CPU and threads, as fields of an `Identity`."""
    return {
        "torch": _version("torch"),
        "numpy": _version("numpy") or "unknown",
        "hypothesis": _version("hypothesis") or "unknown",
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": cpu.cpu_name(),
        "threads": {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
    }


def current_time() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
