"""A worker ends with the pytest that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from conformance.plugin.worker_watchdog import ORPHANED_STATUS

LONG = 60
WORKER = """
import time
from conformance.plugin.worker_watchdog import exit_with_controller

exit_with_controller({parent})
print("ready", flush=True)
time.sleep({long})
"""
PARENT = f"""
import subprocess, sys, time

subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)
time.sleep({LONG})
"""


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a process keeps its parent's number")
def test_a_worker_in_the_middle_of_an_item_ends_with_its_parent() -> None:
    command = [sys.executable, "-c", PARENT, WORKER.format(parent=None, long=LONG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        killed = time.monotonic()
        parent.stdout.read()  # until the worker, too, has closed it
        assert time.monotonic() - killed < LONG / 2


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a process keeps its parent's number")
def test_a_worker_that_starts_after_its_parent_has_ended_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    started = time.monotonic()
    code = WORKER.format(parent=ended.pid, long=LONG)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == ORPHANED_STATUS
    assert time.monotonic() - started < LONG / 2
