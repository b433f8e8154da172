"""Parts of entries about files and options: a valid run, changes of it, and commands."""

from __future__ import annotations

import copy
import json
from typing import Any

GONE = object()
"""A value that removes its field."""

CASE = {
    "call": {"layer": "ReLU", "arguments": {}, "state": {}, "dtype": "float32", "device": "cpu",
             "training": False, "layouts": {}},
    "inputs": {"input": {"shape": [1], "dtype": "float64", "data": [1.0]}},
    "keywords": {}, "layouts": {}, "labels": {"profile": "vector", "regime": "ramp"}, "seed": 0,
}  # fmt: skip
HEADER = {
    "kind": "run", "schema": 3, "suite": "0.1.0", "backend": "tiny", "info": {"tiny": "1.0"},
    "torch": "2.13.0+cpu", "numpy": "2.4.6", "hypothesis": "6.170.17", "python": "3.11.7",
    "os": "Linux", "cpu": "x86-64", "threads": {"OMP_NUM_THREADS": "1"}, "devices": ["cpu"],
    "dtypes": ["float32"], "profile": "standard", "seed": 0, "examples": 5, "shard": "1/1",
    "options": {"backend": "tiny:backend"},
    "items": ["ReLU-shape-float32-cpu", "ReLU-values-float32-cpu"], "total": 2, "git": None,
    "started": "2026-01-01T00:00:00+00:00", "numerics": {"float32": {}},
    "layers": {"ReLU": {"family": "activation", "kin": "ReLU", "stem": "ReLU",
                        "formula": ["ReLU(x) = max(0, x)"], "page": "", "sizes": ["batch"],
                        "defaults": {"inplace": False}}},
}  # fmt: skip
EXAMPLES = {"drawn": 2, "checked": 2, "unsupported": {}, "invalid": 0, "stopped": 0, "failed": 0,
            "excused": 0, "left_out": 0, "lost": 0}  # fmt: skip
PASSED = {
    "kind": "verdict", "id": "ReLU-shape-float32-cpu", "layer": "ReLU", "check": "shape",
    "dtype": "float32", "device": "cpu", "status": "passed", "examples": EXAMPLES,
    "comparisons": 6, "margin": None, "ulps": {}, "ratios": {}, "worst": None, "outcomes": "2p",
    "drawn": {"inplace": {"values": ["False", "True"], "cases": "01"}}, "message": None,
    "call": None, "case": None, "needs": [], "seconds": 1.5, "others": [], "excuses": [],
    "accepted": {}, "supported": 1.0,
}  # fmt: skip
FAILED = {
    **PASSED, "id": "ReLU-values-float32-cpu", "check": "values", "status": "failed",
    "examples": {**EXAMPLES, "failed": 1}, "comparisons": 1, "outcomes": "1f1p", "drawn": None,
    "message": "ReLU() on input (1,), float32, cpu\noutput[0] is 0, wanted 1",
    "call": "ReLU() on input (1,), float32, cpu", "case": CASE, "excess": "inf",
    "needs": [{"argument": "inplace", "value": "False", "other": "True", "fails": True,
               "varied": True}],
    "share": {"terms": [], "failing": 1, "of_failing": 1, "passing": 0, "of_passing": 0},
}  # fmt: skip
FOOTER = {
    "kind": "footer", "verdicts": 2, "seconds": 4.5, "finished": "2026-01-01T00:01:00+00:00",
    "counts": {"passed": 1, "failed": 1, "crashed": 0, "hung": 0, "unsupported": 0, "known": 0,
               "unchecked": 0},
}  # fmt: skip
TIMED = {
    "kind": "benchmark", "layer": "ReLU", "name": "wide", "dtype": "float32", "device": "cpu",
    "pass": "forward", "status": "timed", "seconds": 1.5e-5, "iqr": 1e-6, "ratio": 1.25,
    "ratio_low": 1.1, "ratio_high": 1.4, "torch_seconds": 1.2e-5, "spread": 0.01, "rounds": 7,
    "calls": 100,
}  # fmt: skip
TINY = """import numpy as np
from conformance import Unsupported
from conformance.backends import FunctionBackend, implements


class Tiny(FunctionBackend):
    name = "tiny"

    def offers(self, layer, dtype, device):
        return layer == "ReLU" and dtype == "float32"

    @implements("ReLU")
    def relu(self, state, input, inplace=False):
        if inplace:
            raise Unsupported("inplace=True")
        return np.maximum(input, 0)


backend = Tiny()
"""
"""A correct backend with one layer."""


def changed(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy of a record with other fields; `examples__drawn=-1` changes an inner table.

    `GONE` as a value removes the field.
    """
    changed_record = copy.deepcopy(record)
    for name, value in changes.items():
        *path, last_name = name.split("__")
        table = changed_record
        for step in path:
            table = table[int(step) if isinstance(table, list) else step]
        if value is GONE:
            del table[last_name]
        else:
            table[int(last_name) if isinstance(table, list) else last_name] = value
    return changed_record


def lines(*records: dict[str, Any] | str) -> str:
    """The text of a results file; a string is taken as a line of it."""
    return "".join(
        (record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)) + "\n"
        for record in records
    )


def results(**changes: dict[str, Any]) -> str:
    """The valid run with changed records.

    Keywords are `header`, `passed`, `failed` and `footer`; values are arguments of `changed`.
    """
    records = {"header": HEADER, "passed": PASSED, "failed": FAILED, "footer": FOOTER}
    return lines(*(changed(records[name], **changes.get(name, {})) for name in records))


VALID = results()
_WATCH = """
import hashlib, os, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (limit << 30, limit << 30))
def seen():
    there = (os.path.join(a, f) for a, _, files in os.walk(".") for f in files)
    return {f: hashlib.md5(open(f, "rb").read()).digest() for f in there
            if os.path.isfile(f) and "__pycache__" not in f}
before = seen()
code = 1
try:
    code = run(sys.argv[1:])
except SystemExit as end:
    code = end.code
finally:
    after = seen()
    for name, content in before.items():
        if after.get(name) != content:
            print("AN INPUT WAS CHANGED:", name)
    for name in sorted(after.keys() - before.keys()):
        print("a new file:", name)
sys.exit(code)
"""
CHANGED = "AN INPUT WAS CHANGED"


_MAIN = """
limit = 4
def run(arguments):
    from conformance.commands.cli import main
    while "then" in arguments:
        main(arguments[:arguments.index("then")])
        del arguments[:arguments.index("then") + 1]
    code = main(arguments)
    if shown:
        print(open(shown, encoding="utf-8").read())
    return code
"""


def conformance_command(
    *arguments: str, prepare: str = "", shown_file: str = ""
) -> tuple[str, ...]:
    """The command `nn-conformance …`, which also reports files that it changed.

    Args:
        arguments: those of the command line; `"then"` separates several command lines.
        prepare: Python code that runs first, e.g. to make a FIFO or a huge file.
        shown_file: a file to print at the end.
    """
    return ("-P", "-c", f"{prepare}\nshown = {shown_file!r}\n{_MAIN}{_WATCH}", *arguments)


SMALL = (
    "-p", "no:cacheprovider", "--pyargs", "conformance.suite",
    "--conformance-layer=ReLU", "--conformance-check=values", "--conformance-dtype=float32",
    "--conformance-examples=5",
)  # fmt: skip
BACKEND = "--conformance-backend=tiny:backend"


def suite_command(*arguments: str, prepare: str = "") -> tuple[str, ...]:
    """A run of pytest with one item on the tiny backend, which also reports changed files.

    Args:
        arguments: options, which replace usual ones of the same name.
        prepare: Python code that runs first.
    """
    names_backend = any(argument.startswith("--conformance-backend") for argument in arguments)
    usual_options = SMALL if names_backend else (*SMALL, BACKEND)
    given_names = {argument.partition("=")[0] for argument in arguments}
    kept_options = [
        x
        for x in usual_options
        if x.partition("=")[0] not in given_names or not x.startswith("--conf")
    ]
    run = "limit = 6\ndef run(arguments):\n    import os, pytest, sys\n"
    run += "    sys.path[0] = os.getcwd()\n    return int(pytest.main(arguments))\n"
    return ("-c", f"{prepare}\n{run}{_WATCH}", *kept_options, *arguments)
