"""Measure the overhead of a run of the suite, and where its time goes.

ρ = (CPU seconds of a pytest run − direct replay) ÷ direct replay. The direct replay builds, calls,
computes the oracle and checks the same cases in a plain loop. Run it by hand or by `tox -e speed`;
it prints a Markdown table with one row for each family. CPU seconds of all processes count, each of
one thread. The start of a run, with three processes and two imports of torch, is the cost of a run
of a single case. `ρ` leaves it out, because a run of all families pays it once; `ρ alone` includes
it. The start is measured several times, and the minimum counts. For a family with a short replay,
use several seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

SHARES = ("drawing", "build", "call", "oracle", "comparison")
# The steps of a trial that build the layer; all others are calls.
_BUILD = ("build", "load", "state", "attributes", "train", "the first call")


class Clock:
    """CPU seconds by kind of work; nested work counts once, as the inner kind."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._running: list[str] = []
        self._since = time.process_time()

    def _account(self) -> None:
        now = time.process_time()
        if self._running:
            self.spent[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, kind: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time is counted.

        Args:
            kind: arguments of the function → kind of work.
        """

        def timed(*arguments: Any, **keywords: Any) -> Any:
            self._account()
            self._running.append(kind(*arguments))
            try:
                return function(*arguments, **keywords)
            finally:
                self._account()
                self._running.pop()

        return timed


def replay(layers: str, dtypes: list[str], examples: int, seed: int) -> dict[str, float]:
    """Draw the cases of some layers, and run every check on them in a plain loop.

    Args:
        layers: comma list of globs.
        dtypes, examples, seed: as in the suite's options.

    Returns:
        CPU seconds by kind of work.
    """
    import fnmatch
    import warnings

    from conformance.backends.adapters.torch import backend
    from conformance.backends.capabilities import numerics_of
    from conformance.checks import CHECKS, cotangents
    from conformance.checks.answers import OracleAnswers
    from conformance.checks.trial import Trial, Unsupported
    from conformance.items.planning import Item
    from conformance.items.stream import Stream
    from conformance.known.entry import shipped_entries
    from conformance.layers import CATALOGUE
    from conformance.model.failure import Failure, Inapplicable

    warnings.simplefilter("ignore")
    clock = Clock()
    Trial.run_step = clock.timed(  # type: ignore[method-assign]
        lambda trial, name, *rest: "build" if name in _BUILD else "call", Trial.run_step
    )
    Trial.evaluate = clock.timed(lambda *_: "oracle", Trial.evaluate)  # type: ignore[method-assign]
    cotangents.oracle_gradients = clock.timed(lambda *_: "oracle", cotangents.oracle_gradients)
    draw = clock.timed(lambda *_: "drawing", Stream.cases)
    known_failures, answers = shipped_entries("torch"), OracleAnswers()

    def run(layer: str, check: str, dtype: str, cases: Any) -> None:
        item = {"layer": layer, "check": check, "dtype": dtype, "device": "cpu"}
        skipped = [entry for entry in known_failures if entry.applies(**item, backend="torch")]
        if check == "layout" and any(entry.ends_process for entry in skipped):
            return  # Only the check itself knows the layout that would crash.
        # An invalid call that torch accepts may write to foreign memory, so leave it out too.
        skipped = [entry for entry in skipped if entry.ends_process or check == "errors"]
        for case in cases:
            if any(entry.covers(case) for entry in skipped):
                continue
            try:
                numerics = numerics_of(backend, dtype)
                trial = Trial(backend, CATALOGUE[layer], case, numerics, answers)
                CHECKS[check].run(trial)
            except (Failure, Inapplicable, Unsupported):
                continue

    timed_run = clock.timed(lambda *_: "comparison", run)
    for layer, spec in CATALOGUE.items():
        if not any(fnmatch.fnmatchcase(layer, glob) for glob in layers.split(",")):
            continue
        for dtype in dtypes:
            for check, facts in CHECKS.items():
                if facts.applies(spec):
                    stream = Stream(Item(layer, check, dtype, "cpu"), examples, seed)
                    timed_run(layer, check, dtype, draw(stream))
    return dict(clock.spent)


def suite_seconds(
    layers: str, dtypes: list[str], examples: int, seed: int, workers: int, *options: str
) -> float:
    """CPU seconds of a pytest run, with all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        sys.executable, "-m", "pytest", "-q", f"-n{workers}", "-p", "no:cacheprovider",
        "--pyargs", "conformance.suite", f"--conformance-layer={layers}",
        f"--conformance-dtype={','.join(dtypes)}", f"--conformance-examples={examples}",
        f"--conformance-seed={seed}", *options,
    ]  # fmt: skip
    # In a checkout pytest would load the conftest.py of its tests, which keeps processes warm.
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if process.returncode:
        raise SystemExit(process.stdout[-4000:] + process.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def families() -> dict[str, list[str]]:
    """Family → names of its layers."""
    from conformance.layers import CATALOGUE

    names_by_family: dict[str, list[str]] = {}
    for name, spec in CATALOGUE.items():
        names_by_family.setdefault(spec.family, []).append(name)
    return names_by_family


def count_items(layers: list[str], dtypes: list[str]) -> int:
    """Number of items of some layers in some dtypes."""
    from conformance.checks import CHECKS
    from conformance.layers import CATALOGUE

    specs = [CATALOGUE[name] for name in layers]
    return len(dtypes) * sum(check.applies(spec) for spec in specs for check in CHECKS.values())


def replay_in_process(layers: str, dtypes: list[str], examples: int, seed: int) -> Counter[str]:
    """Run `replay` in a separate process with one thread, as the suite's processes have."""
    from conformance.model.limits import keep_to_one_thread

    environment = dict(os.environ)
    keep_to_one_thread(environment)
    command = [
        sys.executable, __file__, "--replay", layers, "--dtype", ",".join(dtypes),
        "--examples", str(examples), "--seed", str(seed),
    ]  # fmt: skip
    answer = subprocess.run(command, capture_output=True, check=True, env=environment)
    return Counter(json.loads(answer.stdout))


def main() -> None:
    """Measure every family in separate processes, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    names_by_family = families()
    parser.add_argument("--family", choices=names_by_family, action="append")
    parser.add_argument("--dtype", default="float32,float64,bfloat16,float16")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from --seed on")
    parser.add_argument(
        "--starts", type=int, default=3, help="number of times to measure the start"
    )
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--replay", metavar="LAYERS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    facts = (options.dtype.split(","), options.examples, options.seed)
    if options.replay:
        print(json.dumps(replay(options.replay, *facts)))
        return
    starts = [
        suite_seconds(
            "Identity", ["float32"], 1, options.seed, options.workers, "--conformance-check=shape"
        )
        for _ in range(options.starts)
    ]
    start = min(starts)
    print(f"A run of a single case takes {start:.1f} CPU s, at most {max(starts):.1f}.\n")
    print(
        f"| family | items | run, CPU s | CPU s an item | replay, CPU s | ρ | ρ alone "
        f"| {' | '.join(SHARES)} | the start | the rest | the rest, ms an item |"
    )
    print("|---|" + "---:|" * (len(SHARES) + 9))
    for family in options.family or names_by_family:
        layers = ",".join(names_by_family[family])
        count = options.seeds * count_items(names_by_family[family], facts[0])
        seconds_by_kind, run_seconds = Counter[str](), 0.0
        for seed in range(options.seed, options.seed + options.seeds):
            seconds_by_kind += replay_in_process(layers, facts[0], facts[1], seed)
            run_seconds += suite_seconds(layers, facts[0], facts[1], seed, options.workers)
        start_seconds = options.seeds * start
        work_seconds = sum(seconds_by_kind.values()) - seconds_by_kind["drawing"]
        overhead = run_seconds - start_seconds - sum(seconds_by_kind.values())
        shares = [
            f"{part / run_seconds:.0%}"
            for part in (*(seconds_by_kind[x] for x in SHARES), start_seconds, overhead)
        ]
        print(
            f"| {family} | {count} | {run_seconds:.1f} | {run_seconds / count:.2f} "
            f"| {work_seconds:.1f} | {(run_seconds - start_seconds) / work_seconds - 1:.2f} "
            f"| {run_seconds / work_seconds - 1:.2f} "
            f"| {' | '.join(shares)} | {1000 * overhead / count:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
