"""Whether the user wants the run to end."""

from __future__ import annotations

import atexit
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

MARKER_KEY = "conformance-interrupted"
"""Key of a worker's input that holds the path of the marker file."""


class Interrupted:
    """Whether Ctrl-C was pressed, also where its exception got lost.

    Python drops a KeyboardInterrupt that is raised in a garbage collection callback, and Hypothesis
    installs such a callback: the run would go on. A terminal sends the signal to pytest and to all
    workers of xdist. A signal that reaches only a worker, e.g. from a backend, does not end it.

    Args:
        marker: on a worker the file that pytest creates when it is interrupted, else None.
    """

    def __init__(self, marker: str | None = None) -> None:
        self._pressed = False
        self._worker = marker is not None
        name = f"conformance-interrupted-{uuid.uuid4().hex}"
        self.marker = Path(marker or Path(tempfile.gettempdir()) / name)
        self._previous_handler: Any = None
        # pytest does not end a session that is interrupted while it starts.
        atexit.register(self.remove_marker)
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGINT, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._pressed = True
        if self._worker:
            return
        self.marker.touch()
        previous_handler: Callable[[int, FrameType | None], Any] | Any = self._previous_handler
        if callable(previous_handler):
            previous_handler(number, frame)

    def __call__(self) -> bool:
        """Whether the run is to end."""
        return self._pressed and (not self._worker or self.marker.exists())

    def remove_marker(self) -> None:
        """Remove the marker file, unless this process is a worker."""
        if not self._worker:
            self.marker.unlink(missing_ok=True)
