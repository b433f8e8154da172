"""A worker ends with the pytest that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

LONG = 60
WORKER = f"""
import time
from conformance.plugin.orphans import end_with_parent

end_with_parent()
print("ready", flush=True)
time.sleep({LONG})
"""
PARENT = f"""
import subprocess, sys, time

subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
time.sleep({LONG})
"""


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a process keeps its parent's number")
def test_a_worker_in_the_middle_of_an_item_ends_with_its_parent() -> None:
    command = [sys.executable, "-c", PARENT, WORKER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        killed = time.monotonic()
        parent.stdout.read()  # until the worker, too, has closed it
        assert time.monotonic() - killed < LONG / 2
