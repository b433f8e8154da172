"""Where libraries keep files that nobody asked for: not in the working directory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def scratch(name: str) -> Path:
    """A folder of this user's among the temporary files.

    Args:
        name: of the library.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"nn-conformance-{user}" / name
