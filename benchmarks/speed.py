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

    def _turn(self) -> None:
        now = time.process_time()
        if self._running:
            self.spent[self._running[-1]] += now - self._since
        self._since = now

    def timing(self, kind: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function so that its time is counted.

        Args:
            kind: arguments of the function → kind of work.
        """

        def timed(*arguments: Any, **keywords: Any) -> Any:
            self._turn()
            self._running.append(kind(*arguments))
            try:
                return function(*arguments, **keywords)
            finally:
                self._turn()
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
    from conformance.checks.answers import Answers
    from conformance.checks.trial import Trial, Unsupported
    from conformance.items.planning import Item
    from conformance.items.stream import Stream
    from conformance.known.entry import shipped
    from conformance.layers import CATALOGUE
    from conformance.model.failure import Failure, Inapplicable

    warnings.simplefilter("ignore")
    clock = Clock()
    Trial.step = clock.timing(  # type: ignore[method-assign]
        lambda trial, name, *rest: "build" if name in _BUILD else "call", Trial.step
    )
    Trial.evaluate = clock.timing(lambda *_: "oracle", Trial.evaluate)  # type: ignore[method-assign]
    cotangents.expected = clock.timing(lambda *_: "oracle", cotangents.expected)
    draw = clock.timing(lambda *_: "drawing", Stream.cases)
    known, answers = shipped("torch"), Answers()

    def run(layer: str, check: str, dtype: str, cases: Any) -> None:
        item = {"layer": layer, "check": check, "dtype": dtype, "device": "cpu"}
        skipped = [entry for entry in known if entry.applies(**item, backend="torch")]
        if check == "layout" and any(entry.deadly for entry in skipped):
            return  # Only the check itself knows the layout that would crash.
        # An invalid call that torch accepts may write to foreign memory, so leave it out too.
        skipped = [entry for entry in skipped if entry.deadly or check == "errors"]
        for case in cases:
            if any(entry.covers(case) for entry in skipped):
                continue
            try:
                numerics = numerics_of(backend, dtype)
                trial = Trial(backend, CATALOGUE[layer], case, numerics, answers)
                CHECKS[check].run(trial)
            except (Failure, Inapplicable, Unsupported):
                continue

    timed = clock.timing(lambda *_: "comparison", run)
    for layer, row in CATALOGUE.items():
        if not any(fnmatch.fnmatchcase(layer, glob) for glob in layers.split(",")):
            continue
        for dtype in dtypes:
            for check, facts in CHECKS.items():
                if facts.applies(row):
                    stream = Stream(Item(layer, check, dtype, "cpu"), examples, seed)
                    timed(layer, check, dtype, draw(stream))
    return dict(clock.spent)


def suite(
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
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise SystemExit(done.stdout[-4000:] + done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def families() -> dict[str, list[str]]:
    """Family → names of its layers."""
    from conformance.layers import CATALOGUE

    found: dict[str, list[str]] = {}
    for name, row in CATALOGUE.items():
        found.setdefault(row.family, []).append(name)
    return found


def items(layers: list[str], dtypes: list[str]) -> int:
    """Number of items of some layers in some dtypes."""
    from conformance.checks import CHECKS
    from conformance.layers import CATALOGUE

    rows = [CATALOGUE[name] for name in layers]
    return len(dtypes) * sum(check.applies(row) for row in rows for check in CHECKS.values())


def replayed(layers: str, dtypes: list[str], examples: int, seed: int) -> Counter[str]:
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
    every = families()
    parser.add_argument("--family", choices=every, action="append")
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
        suite(
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
    for family in options.family or every:
        layers = ",".join(every[family])
        count = options.seeds * items(every[family], facts[0])
        spent, whole = Counter[str](), 0.0
        for seed in range(options.seed, options.seed + options.seeds):
            spent += replayed(layers, facts[0], facts[1], seed)
            whole += suite(layers, facts[0], facts[1], seed, options.workers)
        once = options.seeds * start
        work = sum(spent.values()) - spent["drawing"]
        rest = whole - once - sum(spent.values())
        shares = [f"{part / whole:.0%}" for part in (*(spent[x] for x in SHARES), once, rest)]
        print(
            f"| {family} | {count} | {whole:.1f} | {whole / count:.2f} "
            f"| {work:.1f} | {(whole - once) / work - 1:.2f} | {whole / work - 1:.2f} "
            f"| {' | '.join(shares)} | {1000 * rest / count:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
