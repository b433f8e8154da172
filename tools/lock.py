"""Check that a refactoring keeps the behaviour: record what the suite draws, expects and concludes.

    python tools/lock.py record before.json
    python tools/lock.py record after.json
    python tools/lock.py compare before.json after.json

A record has digests of each item's drawn cases, of the expected values and bounds (of `gradients`:
of the expected gradients), and of torch's verdict. It also has the verdicts on twelve planted bugs,
and the CPU seconds of each part. `compare` lists the differences and the ratio of the seconds. It
exits with 1 if anything differs, or prints "same" and exits with 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

PROFILE = "smoke"
SEEDS = (0, 1)
DTYPES = ("float32", "float64", "bfloat16", "float16")
BUGS = (  # For each check a bug that it alone notices, and two bugs in layers with long oracles.
    "relu-capped-at-six",
    "gru-batch-of-one-squeezed",
    "linear-weight-gradient-of-last-block",
    "functional-cross-entropy-one-largest-logit",
    "instancenorm3d-channels-last-read-as-rows",
    "linear-zero-weights-skipped",
    "decoder-layers-one-object",
    "dropout1d-gradient-of-another-mask",
    "multiheadattention-keeps-the-first-mask",
    "conv2d-indivisible-groups-accepted",
    "transformer-source-padding-hides-memory",
    "functional-grid-sample-nan-means-the-centre",
)
COMPARED_FIELDS = ("examples", "outcomes", "accepted", "thin", "needs", "excuses")
"""Fields of a verdict that are the same in each run; others depend on random numbers."""
MAX_ELEMENTS = 1 << 16
"""Elements of a case's operands, at most: cases with every number of a dtype would take minutes."""
MAX_LISTED = 20  # Differences to list, at most.


def digest(value: Any) -> str:
    """A short digest of arrays, dataclasses and plain values; module names do not matter."""
    state = hashlib.sha256()
    _update_digest(state, value)
    return state.hexdigest()[:16]


def _update_digest(state: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        state.update(f"{value.dtype}{value.shape}".encode())
        state.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            state.update(field.name.encode())
            _update_digest(state, getattr(value, field.name))
    elif isinstance(value, Mapping):
        state.update(b"{")
        for key, each in value.items():
            state.update(repr(key).encode())
            _update_digest(state, each)
    elif isinstance(value, (tuple, list)):
        state.update(b"(")
        for each in value:
            _update_digest(state, each)
    else:
        state.update(repr(value).encode())


def expectation(expected: Any) -> Any:
    """The values and bounds of an oracle's result, without the way they were computed."""
    if expected is None:
        return None
    alternatives = getattr(expected, "alternatives", (expected,))
    return [(each.value, each.error) for each in alternatives]


def drawn_and_expected(layer: str, seed: int) -> dict[str, tuple[str, str]]:
    """For all dtypes: item → digests of its cases and of the oracle's expectation."""
    from conformance.backends.adapters.torch import backend
    from conformance.backends.capabilities import numerics_of
    from conformance.checks import CHECKS
    from conformance.checks.trial import Trial
    from conformance.items.planning import PROFILES, Item
    from conformance.items.stream import Stream
    from conformance.layers import CATALOGUE

    warnings.simplefilter("ignore")
    spec, digests = CATALOGUE[layer], {}
    for dtype in DTYPES:
        numerics = numerics_of(backend, dtype)
        digest_by_case: dict[tuple[str, bool], str] = {}  # Several checks share a case.
        for name, check in CHECKS.items():
            if not check.applies(spec):
                continue
            item = Item(layer, name, dtype, "cpu")
            cases, expected = [], []
            for case in Stream(item, PROFILES[PROFILE].examples, seed).cases():
                if sum(x.size for x in case.operands) > MAX_ELEMENTS:
                    continue
                gradients = name == "gradients"
                key = digest(case), gradients
                cases.append(key[0])
                if not check.invalid:
                    if key not in digest_by_case:
                        trial = Trial(backend, spec, case, numerics)
                        digest_by_case[key] = _expectation_digest(trial, gradients=gradients)
                    expected.append(digest_by_case[key])
            digests[item.id] = digest(cases), digest(expected)
    return digests


def _expectation_digest(trial: Any, *, gradients: bool) -> str:
    """A digest of the values that the oracle expects of a case, or of the gradients."""
    from conformance.checks import cotangents

    try:
        if not gradients:
            state = {name: expectation(x) for name, x in trial.expected_update.state.items()}
            return digest(([expectation(x) for x in trial.expected_update.outputs], state))
        pulled = cotangents.expected_gradients(trial)
        parameters = {name: expectation(x) for name, x in pulled.parameters.items()}
        return digest((pulled.cotangents, [expectation(x) for x in pulled.inputs], parameters))
    except (AttributeError, NameError):  # a mistake of this tool, or of the suite
        raise
    except Exception as error:  # The oracle has no answer to some calls.
        return f"{type(error).__name__}: {error}"


def verdicts(layers: str, seed: int, workers: int) -> dict[str, tuple[str, str]]:
    """Run the suite on torch: item → status and digest of the verdict."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.jsonl"
        command = [
            sys.executable, "-m", "pytest", "-q", f"-n{workers}", "-p", "no:cacheprovider",
            "--pyargs", "conformance.suite", "--conformance-backend=torch", "--conformance-survey",
            f"--conformance-profile={PROFILE}", f"--conformance-seed={seed}",
            f"--conformance-layer={layers}", f"--conformance-results={results}",
        ]  # fmt: skip
        process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if not results.exists():  # The exit status may be 1 because an item compared nothing.
            raise SystemExit(process.stdout[-3000:] + process.stderr[-1000:])
        lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return {v["id"]: _verdict_digest(v) for v in lines if v.get("kind") == "verdict"}


def _verdict_digest(verdict: Mapping[str, Any]) -> tuple[str, str]:
    fields = {name: verdict.get(name) for name in COMPARED_FIELDS}
    failure = verdict.get("failure") or {}
    fields |= {name: failure.get(name) for name in ("kind", "what", "law")}
    return str(verdict["status"]), digest(fields)


def planted_verdicts(name: str, seed: int) -> dict[str, tuple[str, str]]:
    """Run every check of its layer on a planted bug: item → status and digest of the verdict."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import msgspec
    import planted
    import torch
    from kill_rate import backend_of

    from conformance.checks import CHECKS
    from conformance.items.planning import PROFILES, Item
    from conformance.known.entry import shipped_entries
    from conformance.layers import CATALOGUE
    from conformance.run.engine import Engine

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    bug = next(bug for bug in planted.BUGS if bug.name == name)
    engine = Engine(backend_of(bug), PROFILES[PROFILE].examples, seed, shipped_entries("torch"))
    digests = {}
    for check, facts in CHECKS.items():
        if facts.applies(CATALOGUE[bug.layer]):
            for dtype in ("float32", "bfloat16"):
                item = Item(bug.layer, check, dtype, "cpu")
                verdict = engine.run(item)
                digests[f"{name}: {item.id}"] = _verdict_digest(msgspec.to_builtins(verdict))
    return digests


def record(layers: str, seeds: Sequence[int], workers: int) -> dict[str, Any]:
    """Make a record.

    Args:
        layers: comma list of globs.
        seeds: seeds of the runs.
        workers: number of processes.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    from conformance.layers import CATALOGUE

    names = [n for n in CATALOGUE if any(fnmatch.fnmatchcase(n, g) for g in layers.split(","))]
    parts: dict[str, dict[str, Any]] = {"drawn and expected": {}, "torch": {}, "planted": {}}
    seconds: dict[str, float] = {}
    for part, function, names_of_part in (
        ("drawn and expected", drawn_and_expected, names),
        ("planted", planted_verdicts, BUGS),
    ):
        with _ChildTimer(seconds, part), ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            tasks = {
                (seed, x): pool.submit(function, x, seed) for seed in seeds for x in names_of_part
            }
            for (seed, _), task in tasks.items():
                parts[part] |= {
                    f"{seed} {key}": torch_verdicts for key, torch_verdicts in task.result().items()
                }
    for seed in seeds:
        with _ChildTimer(seconds, f"torch, seed {seed}"):
            torch_verdicts = verdicts(layers, seed, workers)
        parts["torch"] |= {f"{seed} {key}": verdict for key, verdict in torch_verdicts.items()}
    return {"parts": parts, "seconds": seconds}


class _ChildTimer:
    """A context manager that adds the CPU seconds of child processes to a table."""

    def __init__(self, table: dict[str, float], name: str) -> None:
        self._table, self._name = table, name

    def __enter__(self) -> None:
        self._before = _children_seconds()

    def __exit__(self, *error: object) -> None:
        self._table[self._name] = round(_children_seconds() - self._before, 1)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The differences between two records, one line for each item."""
    for part, old in before["parts"].items():
        new = after["parts"][part]
        for key in old.keys() | new.keys():
            a, b = old.get(key), new.get(key)
            if a is None or b is None:
                yield f"{part}: {key}: only {'after' if a is None else 'before'}"
            elif list(a) != list(b):
                if part == "drawn and expected":
                    changed = [
                        n for n, x, y in zip(("cases", "expected"), a, b, strict=True) if x != y
                    ]
                    yield f"{part}: {key}: {' and '.join(changed)}"
                else:
                    yield f"{part}: {key}: {a[0]} → {b[0]}" + (
                        " with another verdict" if a[0] == b[0] else ""
                    )


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Print the differences and the ratio of the seconds; return 1 if anything differs."""
    lines = sorted(differences(before, after))
    for line in lines[:MAX_LISTED]:
        print(line)
    if len(lines) > MAX_LISTED:
        print(f"… and {len(lines) - MAX_LISTED} more")
    items = sum(len(part) for part in after["parts"].values())
    print(f"{len(lines)} of {items} differ" if lines else f"same: {items} digests")
    for name, old in before["seconds"].items():
        new = after["seconds"].get(name)
        if new is not None and old:
            print(f"{name}: {old:.0f} → {new:.0f} CPU seconds ({new / old:.2f})")
    return 1 if lines else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    record_parser = commands.add_parser("record")
    record_parser.add_argument("file", type=Path)
    record_parser.add_argument("--layers", default="*")
    record_parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    record_parser.add_argument("--workers", type=int, default=2)
    compare_parser = commands.add_parser("compare")
    compare_parser.add_argument("before", type=Path)
    compare_parser.add_argument("after", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "compare":
        before, after = (json.loads(f.read_text("utf-8")) for f in (options.before, options.after))
        return compare(before, after)
    new_record = record(
        options.layers, [int(seed) for seed in options.seeds.split(",")], options.workers
    )
    options.file.write_text(json.dumps(new_record, indent=0), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
