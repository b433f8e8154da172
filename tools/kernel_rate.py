"""The kill rate of wrong kernels: each in place of torch's operator, and whether the suite notices.

Run by hand or by `tox -e kernel-rate`. A failure that torch itself shows does not count. Correct
kernels are run on all their layers and must pass. The exit status is 1 if a wrong kernel survives
a seed, or a correct one fails.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import argparse
import fnmatch
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context

import planted
from kill_rate import DTYPES, _start, attempt
from kill_table import Run
from planted.kernels.kernel import Kernel

from conformance.backends import OverrideBackend
from conformance.checks import CHECKS
from conformance.layers import CATALOGUE

# Those that see most first. Kernels are not asked to refuse invalid calls, or to draw numbers.
ORDER = sorted({*CHECKS} - {"random", "errors"}, key=lambda name: CHECKS[name].facts.rank)
FEW = 40
"""Cases of the profile of an item that a correct kernel has to pass."""


@dataclass(frozen=True)
class Place:
    """A kernel where a layer reaches it, as `attempt` takes a planted bug."""

    name: str
    layer: str
    check: str


def backend_of(kernel: Kernel) -> OverrideBackend:
    """torch with the kernel in place of its operator's."""
    return OverrideBackend(kernel.name, {kernel.operator: kernel.function})


def items(kernel: Kernel) -> Iterator[tuple[str, str, str]]:
    """Check, dtype and layer of every item that may notice it."""
    for check in ORDER:
        for dtype in DTYPES:
            for layer in kernel.layers:
                if CHECKS[check].applies(CATALOGUE[layer]):
                    yield check, dtype, layer


def runs_of(kernel: Kernel, examples: int, seeds: Sequence[int]) -> list[Run]:
    """Of a wrong kernel the item that kills it at each seed, of a correct one every failure.

    Args:
        kernel: of the catalogue.
        examples: of the profile, for a wrong one.
        seeds: of the suite.
    """
    backend, found = backend_of(kernel), list[Run]()
    wrong = kernel.wrong is not None
    for seed in seeds if wrong else seeds[:1]:
        # What killed it before comes first.
        before = [(run.check, run.dtype, run.layer) for run in found if run.killed]
        last = None
        for check, dtype, layer in dict.fromkeys([*before, *items(kernel)]):
            place = Place(kernel.name, layer, check)
            last = attempt(place, check, dtype, examples if wrong else FEW, seed, backend)
            if last.killed:
                found.append(last)
                if wrong:
                    break
        if wrong and last is not None and not last.killed:
            found.append(last)
    return found


def _named(name: str, *, examples: int, seeds: Sequence[int]) -> list[Run]:
    """In a worker: kernels cross the border between processes by their names."""
    kernel = next(kernel for kernel in planted.KERNELS if kernel.name == name)
    return runs_of(kernel, examples, seeds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and print what each kernel came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="comma list (%(default)s)")
    parser.add_argument("--examples", type=int, default=200, help="the profile's (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (%(default)s)")
    parser.add_argument("--kernel", default="*", metavar="GLOB", help="comma list")
    parser.add_argument("--output", type=Path, metavar="FILE.jsonl", help="raw facts")
    options = parser.parse_args(arguments)
    globs = options.kernel.split(",")
    chosen = [k for k in planted.KERNELS if any(fnmatch.fnmatchcase(k.name, g) for g in globs)]
    if not chosen:
        parser.error(f"no kernel is called {options.kernel}")
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    work = partial(_named, examples=options.examples, seeds=seeds)
    killed = alarms = 0
    # Spawned, as torch's threads do not survive a fork.
    with (
        ProcessPoolExecutor(options.jobs, get_context("spawn"), _start) as pool,
        open(options.output or os.devnull, "w", encoding="utf-8") as file,
    ):
        for kernel, runs in zip(chosen, pool.map(work, [k.name for k in chosen]), strict=True):
            for run in runs:
                print(json.dumps(asdict(run)), file=file, flush=True)
            if kernel.wrong is None:
                alarms += len(runs)
                for run in runs:
                    where = f"{run.layer} {run.check} {run.dtype}"
                    print(f"{kernel.name}: correct, and fails: {where}: {run.message}")
                continue
            killed += sum(run.killed for run in runs)
            for run in runs:
                what = f"{run.layer} {run.check} {run.dtype}" if run.killed else "SURVIVES"
                print(f"{kernel.name} at seed {run.seed}: {what}", flush=True)
    wrong = sum(kernel.wrong is not None for kernel in chosen)
    print(f"{killed} of {wrong * len(seeds)} kills of {wrong} wrong kernels at {len(seeds)} seeds")
    print(f"{alarms} failures of {len(chosen) - wrong} correct ones")
    return 1 if alarms or killed < wrong * len(seeds) else 0


if __name__ == "__main__":
    sys.exit(main())
