"""A folder for caches that libraries would otherwise write to the working directory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def scratch_folder(name: str) -> Path:
    """The path of this user's temporary folder for the library `name`; does not create it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"nn-conformance-{user}" / name
