"""Measure the kill rate of wrong kernels: does the suite notice each one in torch's place?

Run it by hand or by `tox -e kernel-rate`. A failure that torch itself shows does not count. Correct
kernels run on all their layers and must pass. The exit status is 1 if a wrong kernel survives a
seed, or a correct one fails.
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
from kill_rate import DTYPES, _init_worker, attempt
from kill_table import Run
from planted.kernels.kernel import Kernel

from conformance.backends import OverrideBackend
from conformance.checks import CHECKS
from conformance.layers import CATALOGUE

# The checks that notice most come first. Kernels need not refuse invalid calls or draw numbers.
CHECK_ORDER = sorted({*CHECKS} - {"random", "errors"}, key=lambda name: CHECKS[name].facts.rank)
CORRECT_EXAMPLES = 40
"""Examples of each item that a correct kernel has to pass."""


@dataclass(frozen=True)
class KernelInLayer:
    """A kernel in a layer that reaches it; `attempt` accepts it like a planted bug."""

    name: str
    layer: str
    check: str


def backend_of(kernel: Kernel) -> OverrideBackend:
    """torch with the kernel in place of the operator's own kernel."""
    return OverrideBackend(kernel.name, {kernel.operator: kernel.function})


def items(kernel: Kernel) -> Iterator[tuple[str, str, str]]:
    """Check, dtype and layer of every item that may notice the kernel."""
    for check in CHECK_ORDER:
        for dtype in DTYPES:
            for layer in kernel.layers:
                if CHECKS[check].applies(CATALOGUE[layer]):
                    yield check, dtype, layer


def runs_of(kernel: Kernel, examples: int, seeds: Sequence[int]) -> list[Run]:
    """Run the suite on a kernel.

    Args:
        kernel: a right or wrong implementation of one operator of torch.
        examples: number of examples for a wrong kernel.
        seeds: seeds of the suite; a correct kernel runs only at the first.

    Returns:
        For a wrong kernel the run that kills it at each seed, or the last run of a seed that it
        survives. For a correct kernel every failure.
    """
    backend, runs = backend_of(kernel), list[Run]()
    is_wrong = kernel.wrong is not None
    for seed in seeds if is_wrong else seeds[:1]:
        # Start with the items that killed the kernel at earlier seeds.
        earlier_kills = [(run.check, run.dtype, run.layer) for run in runs if run.killed]
        last_run = None
        for check, dtype, layer in dict.fromkeys([*earlier_kills, *items(kernel)]):
            kernel_in_layer = KernelInLayer(kernel.name, layer, check)
            last_run = attempt(
                kernel_in_layer,
                check,
                dtype,
                examples if is_wrong else CORRECT_EXAMPLES,
                seed,
                backend,
            )
            if last_run.killed:
                runs.append(last_run)
                if is_wrong:
                    break
        if is_wrong and last_run is not None and not last_run.killed:
            runs.append(last_run)
    return runs


def _run_named(name: str, *, examples: int, seeds: Sequence[int]) -> list[Run]:
    """Run a kernel in a worker; a name can be sent to another process, a kernel cannot."""
    kernel = next(kernel for kernel in planted.KERNELS if kernel.name == name)
    return runs_of(kernel, examples, seeds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign, and print the result of each kernel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2", help="comma list (%(default)s)")
    parser.add_argument("--examples", type=int, default=200, help="for each item (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (%(default)s)")
    parser.add_argument("--kernel", default="*", metavar="GLOB", help="comma list")
    parser.add_argument("--output", type=Path, metavar="FILE.jsonl", help="write the runs")
    options = parser.parse_args(arguments)
    globs = options.kernel.split(",")
    chosen = [k for k in planted.KERNELS if any(fnmatch.fnmatchcase(k.name, g) for g in globs)]
    if not chosen:
        parser.error(f"no kernel is called {options.kernel}")
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    run_named = partial(_run_named, examples=options.examples, seeds=seeds)
    killed = alarms = 0
    # Spawn the workers, because torch's threads do not survive a fork.
    with (
        ProcessPoolExecutor(options.jobs, get_context("spawn"), _init_worker) as pool,
        open(options.output or os.devnull, "w", encoding="utf-8") as file,
    ):
        for kernel, runs in zip(chosen, pool.map(run_named, [k.name for k in chosen]), strict=True):
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
                killer = f"{run.layer} {run.check} {run.dtype}" if run.killed else "SURVIVES"
                print(f"{kernel.name} at seed {run.seed}: {killer}", flush=True)
    wrong_count = sum(kernel.wrong is not None for kernel in chosen)
    print(
        f"{killed} of {wrong_count * len(seeds)} kills of "
        f"{wrong_count} wrong kernels at {len(seeds)} seeds"
    )
    print(f"{alarms} failures of {len(chosen) - wrong_count} correct ones")
    return 1 if alarms or killed < wrong_count * len(seeds) else 0


if __name__ == "__main__":
    sys.exit(main())
