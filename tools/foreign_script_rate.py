"""Test the bug-report scripts of foreign backends: do they show every bug that a check notices?

A script must exit with 1 with the bug and with 0 with the faithful adapter. It must also print the
numbers of the failure's message. Run it by hand: `python tools/foreign_script_rate.py --bug
'mlx-*'`. Each script runs twice, in separate processes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import argparse
import fnmatch
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from foreign import ForeignBug, bugs
from printed import find_missing_numbers, script_message
from script_rate import run_check
from support import cases

from conformance.backends.registry import load
from conformance.checks import CHECKS
from conformance.diagnosis.reproducer import NOT_REPRODUCED, make_reproducer
from conformance.known.entry import shipped_entries
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.model.protocols import Backend

LOADED = re.compile(r"^backend = load\('(.*)'\)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """The script for the failure of a check on a foreign bug.

    Args:
        bug: a mistake planted in an adapter.
        layer, check: what failed.
        message: the failure's message.
        source: the script's source.
    """

    bug: ForeignBug
    layer: str
    check: str
    message: str
    source: str

    def run(self, address: str) -> tuple[int, str]:
        """Run the script in a new process with another backend.

        Args:
            address: the address to load the backend by.

        Returns:
            The exit status, −1 after a traceback, and the output.
        """
        source = LOADED.sub(f"backend = load({address!r})", self.source)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "script.py"
            path.write_text(source, encoding="utf-8")
            paths = os.pathsep.join(
                [str(Path(__file__).parents[1] / "tests"), os.environ.get("PYTHONPATH", "")]
            )
            process = subprocess.run(
                [sys.executable, path], env={**os.environ, "PYTHONPATH": paths}, text=True,
                capture_output=True, check=False, timeout=300,
            )  # fmt: skip
        # Python also exits with 1 after an uncaught exception.
        has_traceback = "Traceback" in process.stderr
        return (-1 if has_traceback else process.returncode), process.stdout + process.stderr


def scripts(bug: ForeignBug, checks: Collection[str] = CHECKS) -> Iterator[Script]:
    """For each check, the script of the first case that fails with the bug and not without it."""
    backend, faithful = load(bug.address), load(bug.faithful)
    for layer in bug.layers:
        for check, facts in CHECKS.items():
            if check not in checks or not facts.applies(CATALOGUE[layer]):
                continue
            deadly = _known_excuses(faithful, layer, check).find_process_ending
            for case in cases(layer, invalid=facts.invalid):
                if deadly(case) is not None:
                    continue
                trial, failure = run_check(backend, case, check)
                if failure is None or run_check(faithful, case, check)[1] is not None:
                    continue
                source = make_reproducer(trial, check, str(failure))
                yield Script(bug, layer, check, str(failure), source)
                break


def _known_excuses(faithful: Backend, layer: str, check: str) -> Excuses:
    """The known failures of the faithful adapter, because some of them end the process."""
    item = {"layer": layer, "check": check, "dtype": "float32", "device": "cpu"}
    entries = (
        x for x in shipped_entries(faithful.name) if x.applies(**item, backend=faithful.name)
    )
    return Excuses(tuple(entries), CHECKS[check])


def main() -> None:
    """Run the scripts, and print the ones that fail and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bug", default="*", metavar="GLOB", help="comma list (default: all)")
    parser.add_argument(
        "--check", default=",".join(CHECKS), metavar="NAMES", help="comma list (default: all)"
    )
    parser.add_argument(
        "--show", action="store_true", help="print scripts that do not show their bug"
    )
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for bug in bugs():
        if not any(fnmatch.fnmatchcase(bug.name, glob) for glob in options.bug.split(",")):
            continue
        noticed = 0
        for script in scripts(bug, options.check.split(",")):
            noticed += 1
            status_with_bug, output_with_bug = script.run(bug.address)
            status_without_bug, output_without_bug = script.run(bug.faithful)
            missing_numbers = find_missing_numbers(script_message(script.source), output_with_bug)
            counts.update({"scripts": 1, f"check {script.check}": 1})
            counts.update(
                {
                    "exit 1": status_with_bug == 1,
                    "exit 0": status_without_bug == 0,
                    "numbers": not missing_numbers,
                }
            )
            if (
                (status_with_bug, status_without_bug) == (1, 0)
                and not missing_numbers
                and NOT_REPRODUCED not in script.source
            ):
                counts["shown"] += 1
                continue
            unseen = ", unseen" * (NOT_REPRODUCED in script.source)
            print(
                f"{bug.name} {script.layer} {script.check}: "
                f"with the bug {status_with_bug}, without {status_without_bug}{unseen}"
                f"{f', not printed: {missing_numbers}' if missing_numbers else ''}"
            )
            if options.show:
                print(script.source, output_with_bug, output_without_bug, sep="\n-----\n")
        counts.update({"bugs": 1, "bugs noticed": noticed > 0})
        if not noticed:
            print(f"{bug.name}: nothing notices it")
    print({name: counts[name] for name in sorted(counts)})


if __name__ == "__main__":
    main()
