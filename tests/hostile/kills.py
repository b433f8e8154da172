"""Kills runs at random moments: their results stay readable, and they leave nothing else behind.

Run by hand or by `tox -e hostile`, `hostile-all`. The exit status is 1 if any run deviates.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hostile.processes import command, marked_processes, read_parent_pid, send_signal  # noqa: E402
from hostile.slow_run import BACKEND, COMMAND, ITEMS, environment  # noqa: E402

RENDER = "import sys; from conformance.commands.cli import main; sys.exit(main(sys.argv[1:]))"
DONE = re.compile(r"PASSED|FAILED|SKIPPED|XFAIL|ERROR")
ID = re.compile(r"test_layer\[([^\]\s]+)\]")
# A run that ends before its first item leaves no results, but a usage error.
EARLY = (
    "a worker of pytest-xdist ended before it was up",
    "while it was loaded and asked what it offers",
)
ENDING_LIMIT = 20.0  # seconds in which a run whose controller was killed must end
GOING_ON_LIMIT = 120.0  # seconds in which a run that lost a worker or a child must end
GONE_LIMIT = 5.0  # seconds in which processes and temporary folders must be gone
WATCH_LIMIT = 20.0  # seconds for which they are watched
KINDS: dict[str, tuple[str, signal.Signals]] = {
    "SIGKILL of the group": ("group", signal.SIGKILL),
    "SIGKILL of the controller": ("controller", signal.SIGKILL),
    "SIGTERM of the controller": ("controller", signal.SIGTERM),
    "SIGINT of the controller": ("controller", signal.SIGINT),
    "SIGKILL of a child": ("child", signal.SIGKILL),
    "SIGKILL of a worker": ("worker", signal.SIGKILL),
    "SIGINT of a worker": ("worker", signal.SIGINT),
}


@dataclass
class Kill:
    """One run that is killed.

    Args:
        number: counted from 0.
        kind: a key of `KINDS`.
        workers: number of xdist workers; 0 = without xdist.
        moment: seconds from the start to the kill.
        hit: whether the process to kill existed.
        lost: number of verdicts that pytest had reported, but the results lack.
        deviations: differences from the expected outcome.
    """

    number: int
    kind: str
    workers: int
    moment: float
    hit: bool = False
    lost: int = 0
    deviations: list[str] = field(default_factory=list)


def attempt(kill: Kill, python: str) -> Kill:
    """Start a run, kill it, and check what it leaves."""
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as name:
        folder, mark = Path(name), uuid.uuid4().hex
        (folder / "slow.py").write_text(BACKEND)
        (folder / "tmp").mkdir()
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                [python, *COMMAND, *(("-n", str(kill.workers)) if kill.workers else ())],
                cwd=folder, env=environment(folder, mark), stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            time.sleep(kill.moment)
            kill.deviations += _kill_and_wait(kill, process, mark)
            kill.deviations += _find_leftovers(folder / "tmp", mark)
        finally:
            for pid in marked_processes(mark):
                send_signal(pid, signal.SIGKILL)
            process.wait()
        kill.deviations += _check_readable(kill, folder, process.returncode, python)
    if not kill.hit and kill.moment > 1 and not kill.deviations:
        return attempt(replace(kill, moment=kill.moment / 2), python)  # the run had ended before
    return kill


def _kill_and_wait(kill: Kill, process: subprocess.Popen[bytes], mark: str) -> Iterator[str]:
    target, signal_number = KINDS[kill.kind]
    while process.poll() is None and not kill.hit:
        targets = _find_targets(target, process.pid, mark)
        if targets:
            kill.hit = all(send_signal(pid, signal_number) for pid in targets)
        else:
            time.sleep(0.02)
    limit = (
        ENDING_LIMIT if target in ("group", "controller") and kill.number >= 0 else GOING_ON_LIMIT
    )
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        yield f"still runs after {limit:g} s"


def _find_targets(target: str, controller: int, mark: str) -> list[int]:
    """The processes to kill; empty while none exists."""
    if target == "controller":
        return [controller]
    if target == "group":
        return [-controller]
    parents = {pid: read_parent_pid(pid) for pid in marked_processes(mark)}
    commands = {pid: command(pid) for pid in parents}
    workers = [pid for pid in parents if "sys.stdin.readline" in commands[pid]]
    if target == "worker":
        return sorted(workers)[-1:]
    owners = workers or [controller]
    owned = [
        pid for pid, parent_pid in parents.items() if parent_pid in owners and pid not in workers
    ]
    return [pid for pid in owned if "conformance" in commands[pid]][:1]


def _find_leftovers(scratch: Path, mark: str) -> Iterator[str]:
    """Describe processes and temporary folders that are left, and for how long."""
    started, seconds, remains = time.monotonic(), 0.0, ""
    while seconds < WATCH_LIMIT:
        pids = list(marked_processes(mark))
        folders = sorted(path.name for path in scratch.glob("conformance-*"))
        if not (pids or folders):
            break
        if seconds < GONE_LIMIT:
            remains = ", ".join([*(repr(command(pid)[:60]) for pid in pids), *folders])
        time.sleep(0.1)
        seconds = time.monotonic() - started
    if seconds > GONE_LIMIT:
        ended = f"for {seconds:.1f} s" if seconds < WATCH_LIMIT else "for good"
        yield f"left behind {ended}: {remains}"


def _check_readable(kill: Kill, folder: Path, code: int, python: str) -> Iterator[str]:
    """Check that the results lack at most one reported verdict, and that they render."""
    output = (folder / "output").read_text(errors="replace")
    ids = (ID.search(line) for line in output.splitlines() if DONE.search(line))
    reported = {match[1] for match in ids if match}
    path, written_ids = folder / "r.jsonl", set()
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # the last line may be torn
            if record["kind"] == "verdict":
                written_ids.add(record["id"])
        shown_run = subprocess.run(
            [python, "-P", "-c", RENDER, "render", "r.jsonl", "-o", "r.html"],
            cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if shown_run.returncode or not (folder / "r.html").exists():
            yield f"render: exit status {shown_run.returncode}: {shown_run.stderr[-200:]}"
    if code == pytest.ExitCode.USAGE_ERROR and any(text in output for text in EARLY):
        if written_ids or reported:
            yield "a usage error after items had run"
        return
    kill.lost = len(reported - written_ids)
    if kill.lost > 1:
        yield f"{kill.lost} verdicts are lost"
    if "INTERNALERROR" in output:
        yield "INTERNALERROR"
    if KINDS[kill.kind][0] in ("worker", "child"):
        if len(written_ids) < ITEMS - 1:
            yield f"{ITEMS - len(written_ids)} items have no verdict"
        if code != 1 and (code or len(written_ids) < ITEMS):
            yield f"exit status {code}, expected 1"
    elif kill.hit and code == 0 and len(written_ids) < ITEMS:
        yield "exit status 0 without all verdicts"


def _measure_run(workers: int, python: str) -> float:
    """Measure how many seconds a run takes on this machine."""
    started = time.monotonic()
    no_kill = Kill(-1, "SIGKILL of the controller", workers, moment=0.0, hit=True)
    attempt(no_kill, python)
    return time.monotonic() - started


def plan_kills(count: int, seed: int, run_seconds: Mapping[int, float]) -> list[Kill]:
    """Plan kills: half with two workers, half without, and each kind equally often.

    Args:
        count: number of kills.
        seed: seed of their moments.
        run_seconds: number of workers → seconds of a run.
    """
    generator = random.Random(seed)
    kills = []
    for number in range(count):
        workers = 0 if number % 2 else 2
        kinds = [kind for kind, (target, _) in KINDS.items() if workers or target != "worker"]
        moment = generator.uniform(0.0, run_seconds[workers])
        kills.append(Kill(number, kinds[number // 2 % len(kinds)], workers, moment))
    return kills


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill runs and print a table by kind of kill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="number of runs at once")
    parser.add_argument("--kind", default="*", help="a glob of kinds of kills")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to test")
    options = parser.parse_args(arguments)
    kills: dict[tuple[str, int], list[Kill]] = defaultdict(list)
    with ThreadPoolExecutor(options.jobs) as pool:
        times = pool.map(lambda workers: _measure_run(workers, options.python), (0, 2))
        run_seconds = dict(zip((0, 2), times, strict=True))
        print(
            f"a run lasts {run_seconds[0]:.1f} s, with two workers {run_seconds[2]:.1f} s",
            flush=True,
        )
        planned = plan_kills(options.count, options.seed, run_seconds)
        planned = [kill for kill in planned if fnmatch.fnmatchcase(kill.kind, options.kind)]
        for kill in pool.map(lambda kill: attempt(kill, options.python), planned):
            kills[kill.kind, kill.workers].append(kill)
            for deviation in kill.deviations:
                where = f"{kill.number}, {kill.kind}, -n{kill.workers}, {kill.moment:.2f} s"
                print(f"{where}: {deviation}", flush=True)
    print(
        "| kill | workers | tried | hit | lost a verdict | as expected |\n|---|---|---|---|---|---|"
    )
    for (kind, workers), kills_of_kind in sorted(kills.items()):
        counts = [
            len(kills_of_kind),
            sum(k.hit for k in kills_of_kind),
            sum(k.lost > 0 for k in kills_of_kind),
        ]
        as_expected = sum(not k.deviations for k in kills_of_kind)
        print(f"| {kind} | {workers} | {' | '.join(map(str, counts))} | {as_expected} |")
    as_expected = sum(
        not kill.deviations for kills_of_kind in kills.values() for kill in kills_of_kind
    )
    print(f"{as_expected} of {len(planned)} as expected")
    return 0 if as_expected == len(planned) else 1


if __name__ == "__main__":
    sys.exit(main())
