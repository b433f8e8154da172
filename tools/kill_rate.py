"""Measure the kill rate: does the suite notice every planted bug, and what is each check worth?

Run by hand or by `tox -e kill-rate`. Raw facts go to JSON lines, their sums into Markdown tables,
or with `--keep` into `docs/data/kill-rate.json` and `docs/evidence.md`. The exit status is 1 if a
bug survives a seed, or if a check is the sole killer of too few.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import argparse
import fnmatch
import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import lru_cache, partial
from itertools import chain, groupby
from multiprocessing import get_context
from typing import Any

import evidence
import planted
import torch
from kill_table import Campaign, Run, facts, full, keep
from planted.bug import replacement_namespaces
from remembered import Memory
from support import known_failures

import conformance
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import numerics_of
from conformance.backends.module import TORCH_STORED
from conformance.checks import CHECKS
from conformance.checks.answers import OracleAnswers
from conformance.items.planning import PROFILES, Item
from conformance.items.stream import Stream
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers import DTYPES as CATALOGUE_DTYPES
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.run.engine import Engine

DTYPES = ("float32", "bfloat16", "float16", "float64")
Attempt = tuple[str, str]  # a check and a default dtype
BUNDLE_SIZE = (
    8  # Bugs of one layer that a worker takes together, because they share the drawn cases.
)
MEMORY = Memory()
ANSWERS = OracleAnswers()


def backend_of(bug: planted.Bug) -> ModuleBackend:
    """A backend that offers only the layer with the bug."""
    return ModuleBackend(
        bug.name, stored=TORCH_STORED, **replacement_namespaces(bug.layer, bug.implementation)
    )


# Enough for all streams of one layer at five seeds; the bugs run layer by layer.
@lru_cache(maxsize=80)
def cases(stream: Stream) -> tuple[Case, ...]:
    """The cases of the suite's item."""
    return tuple(stream.cases())


def attempt(
    bug: planted.Bug, check: str, dtype: str, examples: int, seed: int, backend: Any = None,
    *, samples: bool = False,
) -> Run:  # fmt: skip
    """Run one check on the drawn cases until it notices the bug.

    A failure counts only if no known failure of torch explains it. torch itself must also pass the
    case, or show a known failure there that concerns something else.

    Args:
        bug: the bug, or an object with a name, a layer and a check.
        check, dtype, examples, seed: as in an item of the suite.
        backend: a backend with the bug; None = make one.
        samples: the profile runs only a share of the cases.
    """
    backend = backend or backend_of(bug)
    item = Item(bug.layer, check, dtype, "cpu", samples)
    numerics = numerics_of(backend, dtype)
    engine, faithful = Engine(backend, examples, seed), Engine(torch_backend, examples, seed)
    engine.answers = faithful.answers = ANSWERS
    drawn = cases(Stream(item, examples, seed))
    facts = (seed, bug.name, bug.layer, bug.check, check, dtype)
    torch.manual_seed(seed)
    started, torch_too = _cpu_seconds(), 0
    excuses = Excuses(known_failures(bug.layer, check, dtype), CHECKS[check])
    for count, case in enumerate(drawn, 1):
        if excuses.find_process_ending(case) is not None:
            continue  # The case would end this process.
        try:
            engine.try_case(item, case, numerics)
            continue
        except (Unsupported, Inapplicable):
            continue
        except Failure as failure:
            message = str(failure)
            if excuses.find_explanation(case, message, failure.finding) is not None:
                torch_too += 1
                continue
        seconds = _cpu_seconds() - started
        try:
            faithful.try_case(item, case, numerics)
        except Failure as torch_failure:
            # A known failure of torch that concerns something else does not hide the bug.
            torch_excuse = excuses.find_explanation(case, str(torch_failure), torch_failure.finding)
            if torch_excuse is None or _failure_subject(str(torch_failure)) == _failure_subject(
                message
            ):
                torch_too += 1
                continue
        except (Unsupported, Inapplicable):
            pass
        return Run(*facts, True, count, round(seconds, 4), torch_too, message.partition("\n")[0])
    seconds = _cpu_seconds() - started
    return Run(*facts, False, len(drawn), round(seconds, 4), torch_too, "")


def _failure_subject(message: str) -> str:
    """The subject of a failure, e.g. `gradient of input`: its first line up to an index."""
    return message.partition("\n")[0].partition("[")[0]


def _cpu_seconds() -> float:
    """CPU seconds of this process, plus the seconds that remembered results have saved."""
    return time.process_time() + MEMORY.saved


def checks_of(bug: planted.Bug) -> list[str]:
    """The checks of the bug's layer; the check that the bug was planted for comes first."""
    checks = [name for name, check in CHECKS.items() if check.applies(CATALOGUE[bug.layer])]
    return sorted(checks, key=lambda name: name != bug.check)


def run_until_killed(
    bug: planted.Bug,
    attempts: Iterable[Attempt],
    examples: int,
    seed: int,
    *,
    samples: bool = False,
) -> list[Run]:
    """Run attempts one after the other until one kills the bug."""
    runs = []
    for check, dtype in attempts:
        runs.append(attempt(bug, check, dtype, examples, seed, samples=samples))
        if runs[-1].killed:
            break
    return runs


def survey_all_checks(bug: planted.Bug, examples: int, seed: int) -> list[Run]:
    """Find all checks that notice a bug.

    Its declared check runs in all dtypes until one kills it; the others run in float32 and in that
    dtype. If nothing kills the bug, the others run in all dtypes.
    """
    other_checks, kill_dtype, runs = checks_of(bug), DTYPES[0], []
    if other_checks[0] == bug.check:
        declared_check = other_checks.pop(0)
        runs = run_until_killed(bug, ((declared_check, dtype) for dtype in DTYPES), examples, seed)
        kill_dtype = runs[-1].dtype if runs[-1].killed else kill_dtype
    for check in other_checks:
        dtypes = dict.fromkeys((DTYPES[0], kill_dtype))
        runs += run_until_killed(bug, ((check, dtype) for dtype in dtypes), examples, seed)
    if not any(run.killed for run in runs):
        attempts = ((check, dtype) for dtype in DTYPES[1:] for check in other_checks)
        runs += run_until_killed(bug, attempts, examples, seed)
    return runs


def survey(
    bug: planted.Bug, checks: str, examples: int, seeds: Sequence[int], profile: str = "standard"
) -> list[Run]:
    """All runs of one bug.

    Args:
        bug: one that the suite should notice.
        checks: `"all"` = every check at the first seed, and as few as decide at the others;
            `"declared"` = its own check only, where the suite has it, `"any"` = until one notices.
        examples: cases of each run.
        seeds: of the suite.
        profile: that the checks and dtypes are of.
    """
    names = checks_of(bug)
    if checks == "declared" and bug.check in names:
        names = [bug.check]
    # The declared check in every dtype comes first, then all checks, dtype by dtype.
    attempts = [(bug.check, dtype) for dtype in DTYPES if bug.check in names]
    attempts += [(check, dtype) for dtype in DTYPES for check in names]
    items = [Item(bug.layer, check, dtype, "cpu") for dtype in CATALOGUE_DTYPES for check in names]
    runs: list[Run] = []
    for seed in seeds:
        chosen = PROFILES[profile].choose_items(items, seed)
        profile_attempts = {(item.check, item.dtype) for item in chosen}
        if checks == "all" and not runs:
            runs += survey_all_checks(bug, examples, seed)
            continue
        earlier_kills = list(dict.fromkeys((run.check, run.dtype) for run in runs if run.killed))
        order = [
            attempted
            for attempted in dict.fromkeys([*earlier_kills, *attempts])
            if attempted in profile_attempts
        ]
        runs += run_until_killed(bug, order, examples, seed, samples=PROFILES[profile].samples)
    return runs


def _init_worker() -> None:
    """Initialize a worker."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    MEMORY.install()


def _survey_named(
    names: Sequence[str], *, checks: str, examples: int, seeds: Sequence[int], profile: str
) -> list[list[Run]]:
    """Survey bugs of one layer in a worker; names can be sent to another process, bugs cannot."""
    MEMORY.forget()
    bugs = {bug.name: bug for bug in planted.BUGS}
    return [survey(bugs[name], checks, examples, seeds, profile) for name in names]


def _bundle_names(bugs: Sequence[planted.Bug]) -> Iterator[list[str]]:
    """Bundle the names of bugs of one layer; small bundles keep all workers busy to the end."""
    for _, layer_bugs in groupby(bugs, lambda bug: bug.layer):
        names = [bug.name for bug in layer_bugs]
        yield from (names[k : k + BUNDLE_SIZE] for k in range(0, len(names), BUNDLE_SIZE))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign, and return the exit status.

    Args:
        arguments: of the command line; None = those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2,3,4", help="comma list (%(default)s)")
    parser.add_argument(
        "--profile", choices=PROFILES, default="standard", help="of the suite (%(default)s)"
    )
    parser.add_argument("--examples", type=int, help="for each item (default: as in the profile)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (%(default)s)")
    parser.add_argument("--bug", default="*", metavar="GLOB", help="comma list")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth bug only")
    parser.add_argument("--output", type=Path, metavar="FILE.jsonl", help="write the runs")
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="default: standard output")
    parser.add_argument(
        "--keep", action="store_true", help="keep the numbers in docs/data, for docs/evidence.md"
    )
    parser.add_argument(
        "--checks", choices=("all", "declared", "any"), default="all",
        help="any: the declared check, then the others, until one notices (%(default)s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    options.examples = options.examples or PROFILES[options.profile].examples

    layers = list(CATALOGUE)
    globs = options.bug.split(",")
    bugs = [b for b in planted.BUGS if any(fnmatch.fnmatchcase(b.name, glob) for glob in globs)]
    bugs.sort(key=lambda bug: layers.index(bug.layer))
    bugs = bugs[:: options.every]
    if not bugs:
        parser.error(f"no bug is called {options.bug}")
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    campaign = Campaign(
        conformance.__version__, torch.__version__, seeds, options.examples, options.checks,
        every=options.every, profile=options.profile,
    )  # fmt: skip
    survey_named = partial(
        _survey_named, checks=options.checks, examples=options.examples, seeds=seeds,
        profile=options.profile,
    )  # fmt: skip
    for path in filter(None, (options.output, options.table)):
        path.parent.mkdir(parents=True, exist_ok=True)
    # Spawn the workers, because torch's threads do not survive a fork.
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), _init_worker) as pool:
        results = chain.from_iterable(pool.map(survey_named, _bundle_names(bugs)))
        with open(options.output or os.devnull, "w", encoding="utf-8") as file:
            print(json.dumps(campaign.provenance), file=file)
            for bug, runs in zip(bugs, results, strict=True):
                campaign.runs.extend(runs)
                for run in runs:
                    print(json.dumps(asdict(run)), file=file, flush=True)
                killers = dict.fromkeys(f"{r.check} {r.dtype}" for r in runs if r.killed)
                print(f"{bug.name}: {', '.join(killers) or 'survived'}", file=sys.stderr)

    numbers = facts(campaign, bugs, layers, list(CHECKS))
    if options.keep:
        keep(numbers)
        evidence.write_page()
    elif options.table is None:
        print(full(numbers))
    if options.table is not None:
        options.table.write_text(full(numbers), encoding="utf-8")
    # Of a part of the bugs nothing can be said about what a check alone is worth.
    judged_checks = options.checks == "all" and len(bugs) == len(planted.BUGS)
    complaints = campaign.complaints(list(CHECKS) if judged_checks else ())
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
