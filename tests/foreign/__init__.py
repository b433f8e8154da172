"""Bugs planted in adapters of frameworks of their own, those shipped and others.

`bugs()` loads those of the frameworks that are installed. Each is a subclass of the adapter that
does just what the adapter does wherever the bug is not triggered.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from .bug import PLANTED, ForeignBug


def bugs() -> tuple[ForeignBug, ...]:
    """Those that can be loaded here."""
    for path in sorted(Path(__file__).parent.glob("of_*.py")):
        try:
            importlib.import_module(f"{__name__}.{path.stem}")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in ("foreign", "conformance"):
                raise
    return tuple(PLANTED)


__all__ = ["ForeignBug", "bugs"]
