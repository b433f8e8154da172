"""Runs an entry in an empty folder, and ends all of its processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hostile.deviations import find_deviations
from hostile.entry import Entry

MARK = "NN_CONFORMANCE_HOSTILE"
"""The environment variable by which an entry's processes are found."""
KEPT_BY_OTHERS = re.compile(r"nn-conformance-\d+|pytest-of-.*")
"""Names that may remain among temporary files: caches that the next run uses."""
RESULTS_FILE = "r.jsonl"
GRACE = 3.0
"""Seconds after the end of the first process in which the others have to end."""
READ_LIMIT = 200_000_000
"""Bytes of the output that are read."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an entry.

    Args:
        theme: the module of the entry.
        name, point: those of the entry.
        deviations: differences from the expected outcome.
        code: the exit status; None if the run was killed.
        seconds: the duration of the run.
        tail: the end of the output.
    """

    theme: str
    name: str
    point: int
    deviations: tuple[str, ...]
    code: int | None
    seconds: float
    tail: str


def attempt(theme: str, entry: Entry, python: str) -> Outcome:
    """Run an entry of a theme with a Python interpreter."""
    with (
        tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as name,
        tempfile.TemporaryFile() as output,
    ):
        folder = Path(name).resolve()
        _write_files(entry, folder)
        scratch = folder / "tmp"
        scratch.mkdir()
        mark, started = uuid.uuid4().hex, time.perf_counter()
        process = subprocess.Popen(
            [python, *(_fill_placeholders(word, folder) for word in entry.command)],
            cwd=folder, env=_entry_environment(folder, scratch, mark), stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        deviation_texts = []
        try:
            code: int | None = process.wait(entry.seconds)
        except subprocess.TimeoutExpired:
            code = None
            deviation_texts.append(f"took more than {entry.seconds:g} s")
        seconds = time.perf_counter() - started
        deviation_texts += _end_processes(mark, wait_first=code is not None)
        process.wait()
        output.seek(0)
        text = output.read(READ_LIMIT).decode("utf-8", "replace")
        if code is not None:
            deviation_texts += find_deviations(entry.expected, code, text, folder / RESULTS_FILE)
        foreign_names = [
            path.name for path in scratch.glob("*") if not KEPT_BY_OTHERS.fullmatch(path.name)
        ]
        left_behind = sorted(foreign_names) if code is not None else []
        if left_behind:
            deviation_texts.append(f"left behind: {', '.join(left_behind)}")
    return Outcome(
        theme,
        entry.name,
        entry.point,
        tuple(deviation_texts),
        code,
        round(seconds, 2),
        text[-1500:],
    )


def _fill_placeholders(text: str, folder: Path) -> str:
    """Replace `{folder}` in a text by the entry's folder."""
    return text.replace("{folder}", str(folder))


def _write_files(entry: Entry, folder: Path) -> None:
    for name, content in entry.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = _fill_placeholders(content, folder).encode("utf-8", "surrogatepass")
        path.write_bytes(content)


def _entry_environment(folder: Path, scratch: Path, mark: str) -> dict[str, str]:
    """The environment of this process without the settings of the suite and of pytest."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CONFORMANCE_", "PYTEST_", "PYTHON", "TOX_"))
    }
    # An entry has a folder `lib` where its modules must not lie in the current directory.
    path = folder / "lib" if (folder / "lib").is_dir() else folder
    return inherited | {
        "PYTHONPATH": str(path), "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1",
        "COLUMNS": "100", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", MARK: mark,
    }  # fmt: skip


def _end_processes(mark: str, *, wait_first: bool) -> Iterator[str]:
    """End the remaining processes of an entry, and report those that it left behind."""
    deadline = time.monotonic() + (GRACE if wait_first else 0.0)
    while (running := list(_find_marked_processes(mark))) and time.monotonic() < deadline:
        time.sleep(0.1)
    if running and wait_first:
        yield f"{len(running)} processes still run"
    for _ in range(20):
        for pid in _find_marked_processes(mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
        if not any(True for _ in _find_marked_processes(mark)):
            return


def _find_marked_processes(mark: str) -> Iterator[int]:
    """Living processes that were started by an entry, whatever group they are in."""
    mark_bytes = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark_bytes in (path / "environ").read_bytes() and _is_alive(path):
                yield int(path.name)
        except OSError:
            continue


def _is_alive(path: Path) -> bool:
    return (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
