"""Ctrl-C while a session begins leaves no file behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BEGINS = """
import os, signal
from conformance.plugin.interrupts import Interrupted

# A shell lets the jobs that it runs in the background ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
found = Interrupted()
print(found.marker, flush=True)
os.kill(os.getpid(), signal.SIGINT)
"""


def test_an_interrupt_while_the_session_begins_leaves_no_marker(tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", BEGINS], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert "KeyboardInterrupt" in completed.stderr
    assert Path(completed.stdout.strip()).parent == tmp_path
    assert list(tmp_path.iterdir()) == []
