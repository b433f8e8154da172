"""Test the bug-report scripts: do they show every planted bug that a check notices?

A script must exit with 1 with the bug and with 0 with torch's own layer. Run it by hand: `python
tools/script_rate.py --bug 'conv2d-*'`. Scripts run in this process; every Nth (`--fresh N`) also
runs in a new one.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import argparse
import contextlib
import fnmatch
import io
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from functools import reduce
from types import SimpleNamespace
from typing import Any

import torch
from planted import BUGS, Bug
from planted.bug import attribute_path
from printed import find_missing_numbers, script_message
from support import cases, excuses_of

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import numerics_of
from conformance.checks import CHECKS
from conformance.checks.trial import Trial
from conformance.diagnosis.reproducer import NOT_REPRODUCED, make_reproducer
from conformance.items.outcomes import on_device
from conformance.items.planning import Item
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Failure, Inapplicable

_LOAD = re.compile(r"^backend = load\('planted'\)$", re.MULTILINE)
_IMPORT = re.compile(r"^from \S+ import (\w+)  # the implementation under test$", re.MULTILINE)


def backend_of(bug: Bug) -> ModuleBackend:
    """A backend of torch's modules in which one layer has the bug."""
    *names, last = attribute_path(bug.layer)
    implementation, root = bug.implementation, torch.nn
    for depth in range(len(names), -1, -1):
        real = reduce(getattr, names[:depth], root)
        attributes = {n: getattr(real, n) for n in dir(real) if not n.startswith("_")}
        implementation = SimpleNamespace(**{**attributes, [*names, last][depth]: implementation})
    return ModuleBackend("planted", implementation, implementation.functional)


def scripts(
    bug: Bug, dtypes: Sequence[str] = ("float32",), checks: Collection[str] = CHECKS
) -> dict[str, str]:
    """Check → the script of the first case that fails with the bug and not without it."""
    backend, spec, sources = backend_of(bug), CATALOGUE[bug.layer], {}
    for check, facts in CHECKS.items():
        if check not in checks or not facts.applies(spec):
            continue
        for dtype in dtypes:
            drawn = cases(bug.layer, dtype, invalid=facts.invalid)
            stream = Stream(Item(bug.layer, check, dtype, "cpu"), len(drawn), 0)
            drawn = (*drawn, *(planned.case for planned in stream.planned_cases()))
            excuses = excuses_of(bug.layer, check, dtype)
            for case in (case for case in drawn if excuses.find_process_ending(case) is None):
                trial, failure = run_check(backend, case, check)
                if failure is None:
                    continue
                if excuses.find_explanation(case, str(failure), failure.finding):
                    continue
                if run_check(torch_backend, case, check)[1] is None:
                    sources[check] = make_reproducer(trial, check, str(failure))
                    break
            if check in sources:
                break
    return sources


def run_check(backend: Any, case: Case, check: str) -> tuple[Trial, Failure | None]:
    """Run a check on a case; return the trial, and the failure or None."""
    spec, numerics = CATALOGUE[case.call.layer], numerics_of(backend, case.call.dtype)
    trial = Trial(backend, spec, on_device(case, "cpu"), numerics)
    try:
        CHECKS[check].run(trial)
    except (Unsupported, Inapplicable):
        return trial, None
    except Failure as failure:
        return trial, failure
    return trial, None


def run_script(
    source: str, implementation: Any, backend: Any = torch_backend
) -> tuple[int | str, str]:
    """Run a script in this process; return its exit status or exception, and its output.

    Args:
        implementation: takes the place of the imported implementation under test.
        backend: takes the place of the backend that the script loads, if it loads one.
    """
    names: dict[str, Any] = {"__name__": "script", "given_backend": backend}
    source = _LOAD.sub("backend = given_backend", source)

    def use_implementation(match: re.Match[str]) -> str:
        names["given"] = implementation
        return f"{match[1]} = given"

    printed, recording = io.StringIO(), torch.is_grad_enabled()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(_IMPORT.sub(use_implementation, source), "script.py", "exec"), names)
    except SystemExit as exit_call:
        return int(exit_call.code or 0), printed.getvalue()
    except Exception as error:
        return f"{type(error).__name__}: {error}", printed.getvalue()
    finally:
        torch.set_grad_enabled(recording)
    return 0, printed.getvalue()


def run_in_new_process(source: str, bug: Bug | None) -> int:
    """Run a script in a new process; return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        name = "" if bug is None else bug.name

        def import_bug(match: re.Match[str]) -> str:
            if bug is None:
                return f"{match[1]} = None"
            chosen = f"next(b.implementation for b in BUGS if b.name == {name!r})"
            return f"from planted import BUGS\n{match[1]} = {chosen}"

        found = f"backend_of(next(b for b in BUGS if b.name == {name!r}))"
        loading = f"from planted import BUGS\nfrom script_rate import backend_of\nbackend = {found}"
        source = _LOAD.sub("backend = load('torch')" if bug is None else loading, source)
        path = Path(folder) / "script.py"
        path.write_text(_IMPORT.sub(import_bug, source), encoding="utf-8")
        folders = (Path(__file__).parents[1] / "tests", Path(__file__).parent)
        paths = os.pathsep.join(map(str, folders))
        process = subprocess.run(
            [sys.executable, path], env={"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            capture_output=True, check=False,
        )  # fmt: skip
        return process.returncode


def main() -> None:
    """Run the scripts, and print the ones that fail and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bug", default="*", metavar="GLOB", help="comma list (default: all)")
    parser.add_argument(
        "--fresh", type=int, default=20, metavar="N",
        help="run every Nth script in a new process too (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--every", type=int, nargs=2, default=(1, 0), metavar=("N", "K"),
        help="only every Nth bug, from the Kth on",
    )  # fmt: skip
    parser.add_argument(
        "--show", action="store_true", help="print scripts that do not show their bug"
    )
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    globs = options.bug.split(",")
    for bug in BUGS[options.every[1] :: options.every[0]]:
        if not any(fnmatch.fnmatchcase(bug.name, glob) for glob in globs):
            continue
        torch_layer = reduce(getattr, attribute_path(bug.layer), torch.nn)
        for check, source in scripts(bug).items():
            counts["scripts"] += 1
            status_with_bug, printed = run_script(source, bug.implementation, backend_of(bug))
            status_without_bug, _ = run_script(source, torch_layer)
            counts[check] += 1
            counts["law itself"] += "check_named_law(" in source
            is_unseen, missing_numbers = (
                NOT_REPRODUCED in source,
                find_missing_numbers(script_message(source), printed),
            )
            counts["numbers"] += not missing_numbers
            if status_with_bug == 1 and status_without_bug == 0 and missing_numbers:
                print(f"{bug.name} {check}: not printed: {', '.join(missing_numbers)[:300]}")
            if status_with_bug == 1 and status_without_bug == 0 and not is_unseen:
                counts["shown"] += 1
                if counts["shown"] % options.fresh == 0:
                    counts["fresh"] += 1
                    counts["fresh, shown"] += run_in_new_process(source, bug) == 1
                continue
            print(
                f"{bug.name} {check}: with the bug {status_with_bug}, "
                f"with torch {status_without_bug}{', unseen' * is_unseen}"
            )
            if options.show:
                print(source)
        counts["bugs"] += 1
    print(dict(counts))


if __name__ == "__main__":
    main()
