"""Every entry of the hostile catalogue, each in an empty folder, held against the outcome due.

Run by hand or by `tox -e hostile`. The exit status is 1 if any entry deviates.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hostile.entry import NEVER, Due, Entry  # noqa: E402
from hostile.table import render  # noqa: E402

MARK = "NN_CONFORMANCE_HOSTILE"
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
KEPT = re.compile(r"nn-conformance-\d+|pytest-of-.*")
"""What may be left among temporary files: caches that the next run uses."""
RESULTS = "r.jsonl"
LARGEST = 4 << 20  # bytes of results
GRACE = 3.0  # seconds in which processes may end after the one that was started
READ = 200_000_000  # characters of the output that are looked at


@dataclass(frozen=True)
class Outcome:
    """What came of an entry.

    Args:
        theme: the module that it stands in.
        name, point: of the entry.
        deviations: from the outcome due.
        code: exit status, None where it was killed.
        seconds: that it took.
        tail: of the output.
    """

    theme: str
    name: str
    point: int
    deviations: tuple[str, ...]
    code: int | None
    seconds: float
    tail: str


def catalogue() -> dict[str, tuple[Entry, ...]]:
    """The entries by theme.

    Raises:
        ValueError: if two have the same name.
    """
    paths = sorted([*HERE.glob("backends_*.py"), *HERE.glob("files_*.py")])
    themes = {p.stem: importlib.import_module(f"hostile.{p.stem}").ENTRIES for p in paths}
    count = Counter(entry.name for entries in themes.values() for entry in entries)
    twice = [name for name, number in count.items() if number > 1]
    if twice:
        raise ValueError(f"names of several entries: {', '.join(twice)}")
    return themes


def attempt(theme: str, entry: Entry, python: str) -> Outcome:
    """Run an entry.

    Args:
        theme, entry: what is tried.
        python: the interpreter.
    """
    with (
        tempfile.TemporaryDirectory(prefix="hostile-", ignore_cleanup_errors=True) as name,
        tempfile.TemporaryFile() as output,
    ):
        folder = Path(name).resolve()
        _write(entry, folder)
        scratch = folder / "tmp"
        scratch.mkdir()
        mark, started = uuid.uuid4().hex, time.perf_counter()
        process = subprocess.Popen(
            [python, *(_filled(word, folder, python) for word in entry.command)],
            cwd=folder, env=_environment(folder, scratch, mark), stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        found = []
        try:
            code: int | None = process.wait(entry.seconds)
        except subprocess.TimeoutExpired:
            code = None
            found.append(f"took more than {entry.seconds:g} s")
        seconds = time.perf_counter() - started
        found += _ended(mark, patient=code is not None)
        process.wait()
        output.seek(0)
        text = output.read(READ).decode("utf-8", "replace")
        if code is not None:
            found += deviations(entry.due, code, text, folder / RESULTS)
        kept = [path.name for path in scratch.glob("*") if not KEPT.fullmatch(path.name)]
        left = sorted(kept) if code is not None else []
        if left:
            found.append(f"left behind: {', '.join(left)}")
    return Outcome(
        theme, entry.name, entry.point, tuple(found), code, round(seconds, 2), text[-1500:]
    )


def _filled(text: str, folder: Path, python: str) -> str:
    """`{folder}` is the entry's folder, `{bin}` the interpreter's."""
    return text.replace("{folder}", str(folder)).replace("{bin}", str(Path(python).parent))


def _write(entry: Entry, folder: Path) -> None:
    for name, content in entry.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.replace("{folder}", str(folder)).encode("utf-8", "surrogatepass")
        path.write_bytes(content)


def _environment(folder: Path, scratch: Path, mark: str) -> dict[str, str]:
    """That of this process without the suite's and pytest's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CONFORMANCE_", "PYTEST_", "PYTHON", "TOX_"))
    }
    # What must not be on the path besides the current directory stands in a folder `lib`.
    path = folder / "lib" if (folder / "lib").is_dir() else folder
    return kept | {
        "PYTHONPATH": str(path), "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1",
        "COLUMNS": "100", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", MARK: mark,
    }  # fmt: skip


def _ended(mark: str, *, patient: bool) -> Iterator[str]:
    """End what is left of an entry's processes, and tell of what was left by itself."""
    until = time.monotonic() + (GRACE if patient else 0.0)
    while (left := list(_marked(mark))) and time.monotonic() < until:
        time.sleep(0.1)
    if left and patient:
        yield f"{len(left)} processes go on"
    for _ in range(20):
        for pid in _marked(mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
        if not any(True for _ in _marked(mark)):
            return


def _marked(mark: str) -> Iterator[int]:
    """Living processes that were started by an entry, whatever group they are in."""
    wanted = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (path / "environ").read_bytes() and _lives(path):
                yield int(path.name)
        except OSError:
            continue


def _lives(path: Path) -> bool:
    return (path / "stat").read_text().rpartition(")")[2].split()[0] != "Z"


def deviations(due: Due, code: int, output: str, results: Path) -> Iterator[str]:
    """What is not as it should be.

    Args:
        due: the outcome due.
        code: the exit status.
        output: stdout and stderr.
        results: the file of results, if the entry writes one.
    """
    codes = (due.code,) if isinstance(due.code, int) else due.code
    if code not in codes:
        yield f"exit status {code}, due is {' or '.join(map(str, codes))}"
    for pattern in due.says:
        if not re.search(pattern, output):
            yield f"output lacks {pattern!r}"
    for pattern in filter(None, (NEVER, due.never)):
        if match := re.search(pattern, output):
            yield f"output has {match[0][:60]!r}"
    if match := UNPRINTABLE.search(output):
        yield f"output has an unprintable {match[0]!r}"
    if len(output) > due.longest:
        yield f"output of {len(output):,} characters, due are {due.longest:,} at most"
    if (due.verdicts or due.others) and code in (0, 1):
        yield from _verdicts(due, results)


def _verdicts(due: Due, results: Path) -> Iterator[str]:
    if not results.exists():
        yield "no results"
        return
    if results.stat().st_size > LARGEST:
        yield f"results of {results.stat().st_size:,} bytes"
        return
    try:
        lines = [json.loads(line) for line in results.read_bytes().splitlines()]
    except ValueError as error:
        yield f"results that cannot be read: {error}"
        return
    found = [line for line in lines if line.get("kind") == "verdict"]
    count = Counter(str(line.get("id")) for line in found)
    if sorted(count.elements()) != sorted(lines[0].get("items", ())):
        wanted = ", ".join(lines[0].get("items", ()))
        yield f"verdicts of {dict(count)}, due is one of each of {wanted}"
    yield from _unlike(due, found)


def _unlike(due: Due, found: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Verdicts that are missing, and others of another status."""
    explained: set[int] = set()
    for glob, pattern in due.verdicts.items():
        matching = {
            place
            for place, line in enumerate(found)
            if fnmatch.fnmatchcase(str(line["id"]), glob)
            and re.match(pattern, f"{line['status']}: {line['message'] or ''}", re.DOTALL)
        }
        if not matching:
            yield f"no verdict of {glob} is {pattern!r}"
        explained |= matching
    for place, line in enumerate(found):
        if due.others and place not in explained and line["status"] != due.others:
            message = str(line["message"] or "")[:200]
            yield f"{line['id']} is {line['status']}, due is {due.others}: {message}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run entries and print what deviates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="entries at once")
    parser.add_argument("--only", default="*", help="a glob of names")
    parser.add_argument("--theme", default="*", help="a glob of themes: backends_*")
    parser.add_argument("--point", type=int, help="of the list of what was tried at first")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that is tried")
    parser.add_argument("--output", type=Path, help="JSON lines to write")
    parser.add_argument("--table", type=Path, help="Markdown to write")
    parser.add_argument("--before", type=Path, help="earlier JSON lines, for the table")
    options = parser.parse_args(arguments)
    chosen = [
        (theme, entry)
        for theme, entries in catalogue().items()
        for entry in entries
        if fnmatch.fnmatchcase(theme, options.theme)
        and fnmatch.fnmatchcase(entry.name, options.only)
        and options.point in (None, entry.point)
    ]
    started, outcomes = time.perf_counter(), []
    with ThreadPoolExecutor(options.jobs) as pool:
        for found in pool.map(lambda pair: attempt(*pair, options.python), chosen):
            outcomes.append(found)
            for deviation in found.deviations:
                print(f"{found.name}: {' | '.join(deviation.splitlines())}", flush=True)
    if options.output:
        lines = [json.dumps(asdict(found)) for found in outcomes]
        options.output.write_text("\n".join([*lines, ""]), encoding="utf-8")
    if options.table:
        before = () if options.before is None else options.before.read_text().splitlines()
        earlier = [json.loads(line) for line in before]
        options.table.write_text(render([asdict(x) for x in outcomes], earlier), encoding="utf-8")
    due = sum(not found.deviations for found in outcomes)
    print(f"tried {len(outcomes)}, as due {due}, seconds {time.perf_counter() - started:.0f}")
    return 0 if due == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
