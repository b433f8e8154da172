"""Whether the scripts of failures show them: every planted bug, every check that notices it.

A script has to exit 1 with the bug and 0 with torch's own layer in its place. Run by hand:
`python tests/script_rate.py --bug 'conv2d-*'`. Scripts run in this process, one in `--fresh` in a
process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import io
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from planted import BUGS, Bug
from support import cases, first_failure

from conformance.backends import ModuleBackend
from conformance.checks import CHECKS
from conformance.failures.reproducer import UNSEEN, reproducer
from conformance.layers import CATALOGUE
from conformance.run.outcomes import on_device
from conformance.run.trial import Trial

_IMPORT = re.compile(r"^from \S+ import (\w+)  # the implementation under test$", re.MULTILINE)


def backend_of(bug: Bug) -> ModuleBackend:
    """torch with one bug."""
    name = bug.layer.rpartition(".")[2]
    spaces = {"nn": torch.nn, "functional": torch.nn.functional}
    space = "functional" if bug.layer.startswith("functional.") else "nn"
    real = {n: getattr(spaces[space], n) for n in dir(spaces[space]) if not n.startswith("_")}
    spaces[space] = SimpleNamespace(**{**real, name: bug.implementation})
    return ModuleBackend("planted", **spaces)


def scripts(
    bug: Bug, dtypes: Sequence[str] = ("float32",), checks: Collection[str] = CHECKS
) -> dict[str, str]:
    """Check → the script of the first case that it fails on."""
    backend, row, found = backend_of(bug), CATALOGUE[bug.layer], {}
    for check, facts in CHECKS.items():
        if check not in checks or not facts.applies(row):
            continue
        for dtype in dtypes:
            failed = first_failure(backend, bug.layer, check, dtype)
            if failed.failure is None or failed.index is None:
                continue
            case = cases(bug.layer, dtype, 200, 0, invalid=facts.invalid)[failed.index]
            trial = Trial(backend, row, on_device(case, "cpu"))
            found[check] = reproducer(trial, check, failed.said)
            break
    return found


def ran(source: str, implementation: Any) -> tuple[int | str, str]:
    """How a script ends in this process, and what it prints."""
    names: dict[str, Any] = {"__name__": "script"}

    def placed(found: re.Match[str]) -> str:
        names["given"] = implementation
        return f"{found[1]} = given"

    printed, recording = io.StringIO(), torch.is_grad_enabled()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(_IMPORT.sub(placed, source), "script.py", "exec"), names)
    except SystemExit as ended:
        return int(ended.code or 0), printed.getvalue()
    except Exception as error:
        return f"{type(error).__name__}: {error}", printed.getvalue()
    finally:
        torch.set_grad_enabled(recording)
    return 0, printed.getvalue()


def fresh(source: str, bug: Bug | None) -> int:
    """The exit status of a script in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        name = "" if bug is None else bug.name

        def placed(found: re.Match[str]) -> str:
            if bug is None:
                return f"{found[1]} = None"
            chosen = f"next(b.implementation for b in BUGS if b.name == {name!r})"
            return f"from planted import BUGS\n{found[1]} = {chosen}"

        path = Path(folder) / "script.py"
        path.write_text(_IMPORT.sub(placed, source), encoding="utf-8")
        tests = Path(__file__).parent
        done = subprocess.run(
            [sys.executable, path], env={"PYTHONPATH": str(tests), "OMP_NUM_THREADS": "1"},
            capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode


def main() -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bug", default="*", metavar="GLOB")
    parser.add_argument("--fresh", type=int, default=20, metavar="N", help="one script in N")
    parser.add_argument("--show", action="store_true", help="print the scripts that do not show it")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    globs = options.bug.split(",")
    for bug in BUGS:
        if not any(fnmatch.fnmatchcase(bug.name, glob) for glob in globs):
            continue
        own = bug.layer.rpartition(".")[2]
        space = torch.nn.functional if bug.layer.startswith("functional.") else torch.nn
        for check, source in scripts(bug).items():
            counts["scripts"] += 1
            wrong, _ = ran(source, bug.implementation)
            right, _ = ran(source, getattr(space, own))
            counts[check] += 1
            odd = UNSEEN in source
            if wrong == 1 and right == 0 and not odd:
                counts["shown"] += 1
                if counts["shown"] % options.fresh == 0:
                    counts["fresh"] += 1
                    counts["fresh, shown"] += fresh(source, bug) == 1
                continue
            print(f"{bug.name} {check}: with the bug {wrong}, with torch {right}{', unseen' * odd}")
            if options.show:
                print(source)
    print(dict(counts))


if __name__ == "__main__":
    main()
