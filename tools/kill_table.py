"""Evaluate the runs of `kill_rate`, and format them as Markdown tables."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

import planted

from conformance.model.checks import CHECK_FACTS

ENOUGH = 3  # A check must be the sole killer of at least this number of bugs.
HARDEST = 10
# These checks compare values too, so they notice every bug that `values` notices. A bug counts as
# killed by `values` alone if no check outside this set notices it.
CONTAINING = {"values": frozenset(x.name for x in CHECK_FACTS.values() if x.contains_values)}


@dataclass(frozen=True)
class Run:
    """A run of one check on one bug in one dtype.

    Args:
        seed: seed of the suite.
        bug, layer, declared: the bug's name, layer and declared check.
        check, dtype: what was run.
        killed: whether the check noticed the bug.
        examples: number of cases until it did, or of all cases.
        seconds: CPU time until it did, without drawing the cases.
        torch_too: number of failures that did not count, because torch shows them too.
        message: first line of the failure.
    """

    seed: int
    bug: str
    layer: str
    declared: str
    check: str
    dtype: str
    killed: bool
    examples: int
    seconds: float
    torch_too: int = 0
    message: str = ""


@dataclass
class Campaign:
    """All runs, and the options that they were made with.

    Args:
        suite, torch: versions.
        seeds: seeds of the suite; if `checks` is `"all"`, every check ran at the first one.
        examples: number of examples of each run.
        checks: `"all"`, `"declared"` or `"any"`.
        runs: by bug, then in the order of execution.
        every: only every Nth bug ran.
        profile: the profile that decided which checks ran in which dtypes.
    """

    suite: str
    torch: str
    seeds: tuple[int, ...]
    examples: int
    checks: str
    runs: list[Run] = field(default_factory=list)
    every: int = 1
    profile: str = "standard"

    @property
    def provenance(self) -> dict[str, object]:
        """The versions and options that produced the runs."""
        return {name: value for name, value in vars(self).items() if name != "runs"}

    def killers(self) -> dict[str, tuple[str, ...]]:
        """The checks that notice each bug at the first seed, in the order of execution."""
        found: dict[str, dict[str, None]] = {run.bug: {} for run in self.runs}
        for run in self.runs:
            if run.seed == self.seeds[0] and run.killed:
                found[run.bug][run.check] = None
        return {bug: tuple(checks) for bug, checks in found.items()}

    def sole(self, check: str) -> list[str]:
        """The bugs that only this check notices."""
        beside = {check} | CONTAINING.get(check, frozenset())
        return [
            bug for bug, checks in self.killers().items() if check in checks and beside >= {*checks}
        ]

    def survived(self) -> dict[str, list[int]]:
        """The surviving bugs, each with the seeds at which it survives."""
        killed = {(run.bug, run.seed) for run in self.runs if run.killed}
        missed = {
            run.bug: [seed for seed in self.seeds if (run.bug, seed) not in killed]
            for run in self.runs
        }
        return {bug: seeds for bug, seeds in missed.items() if seeds}

    def effort(self) -> dict[str, list[int]]:
        """Number of examples until each bug was noticed or given up, for each seed."""
        spent: dict[tuple[str, int], int] = {}
        done = set()
        for run in self.runs:
            key = run.bug, run.seed
            if key not in done:
                spent[key] = spent.get(key, 0) + run.examples
            if run.killed:
                done.add(key)
        return {
            run.bug: [spent[run.bug, seed] for seed in self.seeds if (run.bug, seed) in spent]
            for run in self.runs
        }

    def complaints(self, checks: Iterable[str]) -> list[str]:
        """Reasons why the campaign fails, one a line.

        Args:
            checks: checks that must each be the sole killer of some bugs.
        """
        lines = [
            f"{bug} survives at seed {', '.join(map(str, seeds))}"
            for bug, seeds in self.survived().items()
        ]
        for check in checks:
            count = len(self.sole(check))
            if count < ENOUGH:
                lines.append(f"{check} is the sole killer of {count} bugs, fewer than {ENOUGH}")
        return lines


def render(
    campaign: Campaign, bugs: Sequence[planted.Bug], layers: Sequence[str], checks: Sequence[str]
) -> str:
    """The page of the kill rate in Markdown.

    Args:
        campaign: the campaign with its runs.
        bugs: the bugs that ran.
        layers, checks: names in the order of the suite.
    """
    pairs = len(bugs) * len(campaign.seeds)
    killed = pairs - sum(map(len, campaign.survived().values()))
    every = campaign.checks == "all"
    options = {
        "profile": "" if campaign.profile == "standard" else campaign.profile,
        "checks": "" if every else campaign.checks,
        "every": "" if campaign.every == 1 else str(campaign.every),
    }
    given = "".join(f" --{name} {value}" for name, value in options.items() if value)
    source = f"`python tools/kill_rate.py{given}`" if given else "`tox -e kill-rate`"
    which = "every planted bug" if campaign.every == 1 else f"one planted bug of {campaign.every}"
    blocks = [
        "# Kill rate",
        (
            f"Written by {source}: {which} of `tests/planted` replaces torch's layer, and the "
            "suite must notice it. A failure does not count if torch fails on the same case, "
            "unless that is a known failure of torch that concerns something else."
        ),
        (
            f"nn-conformance {campaign.suite}, torch {campaign.torch}, seeds "
            f"{', '.join(map(str, campaign.seeds))}, {campaign.examples} examples, "
            f"{campaign.checks} checks."
        ),
        f"{len(bugs)} bugs, {killed} of {pairs} kills (each bug at each seed).",
        "## Layers and declared checks",
        "Bugs killed at every seed / planted, by the check that each was planted for.",
        _layers(campaign, bugs, layers),
    ]
    if campaign.checks == "all":
        blocks += [
            "## Which check kills",
            (
                f"Bugs planted for a check (row) that a check (column) notices at seed "
                f"{campaign.seeds[0]}."
            ),
            _matrix(campaign, bugs, checks),
            "## What each check is worth",
            (
                "Sole: bugs that no other check notices. Most other checks compare values too; for "
                "`values` these do not count as others. CPU time excludes drawing."
            ),
            _worth(campaign, checks),
            *(_sole(campaign, check) for check in checks),
        ]
    blocks += [
        "## Hardest",
        "By the mean number of examples until a check notices.",
        _hardest(campaign, bugs),
        "## Survivors",
        "\n".join(_survivors(campaign, bugs)) or "None.",
    ]
    return "\n\n".join(blocks) + "\n"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, rule, *rows))


def _ratio(part: int, whole: int) -> str:
    return f"{part}/{whole}" if whole else ""


def _layers(campaign: Campaign, bugs: Sequence[planted.Bug], layers: Sequence[str]) -> str:
    survived, columns = campaign.survived(), [*planted.CHECKS, None]

    def cells(layer: str | None) -> Iterator[str]:
        for check in columns:
            here = [b for b in bugs if layer in (None, b.layer) and check in (None, b.check)]
            yield _ratio(sum(bug.name not in survived for bug in here), len(here))

    rows = [[layer, *cells(layer)] for layer in layers if any(b.layer == layer for b in bugs)]
    return _table(["layer", *planted.CHECKS, "all"], [*rows, ["all", *cells(None)]])


def _matrix(campaign: Campaign, bugs: Sequence[planted.Bug], checks: Sequence[str]) -> str:
    killers = campaign.killers()
    rows = []
    for declared in planted.CHECKS:
        ours = [killers.get(bug.name, ()) for bug in bugs if bug.check == declared]
        if ours:
            counts = [sum(check in kills for kills in ours) or "" for check in checks]
            rows.append([declared, len(ours), *counts])
    return _table(["planted for", "bugs", *checks], rows)


def _worth(campaign: Campaign, checks: Sequence[str]) -> str:
    killers, rows = campaign.killers(), []
    for check in checks:
        kills = [run for run in campaign.runs if run.killed and run.check == check]
        seconds = [run.seconds for run in kills]
        noticed = sum(check in kinds for kinds in killers.values())
        figures = ["", "", "", ""]
        if kills:
            figures = [f"{median(run.examples for run in kills):g}", f"{median(seconds):.2f}"]
            figures += [f"{mean(seconds):.2f}", f"{max(seconds):.2f}"]
        rows.append([check, noticed, len(campaign.sole(check)), *figures])
    head = ["check", "noticed", "sole", "examples (median)"]
    return _table([*head, "CPU s per kill (median)", "mean", "most"], rows)


def _sole(campaign: Campaign, check: str) -> str:
    return f"Only `{check}`: {', '.join(campaign.sole(check)) or 'none'}."


def _hardest(campaign: Campaign, bugs: Sequence[planted.Bug]) -> str:
    effort = campaign.effort()
    first: Mapping[str, Run] = {run.bug: run for run in reversed(campaign.runs) if run.killed}
    ranked = sorted(bugs, key=lambda bug: (-mean(effort[bug.name]), bug.name))[:HARDEST]
    rows = []
    for bug in ranked:
        run = first.get(bug.name)
        by = f"{run.check}, {run.dtype}" if run else "nothing"
        counts = effort[bug.name]
        rows.append([bug.name, by, f"{mean(counts):.0f}", max(counts)])
    return _table(["bug", "noticed by", "examples (mean)", "most"], rows)


def _survivors(campaign: Campaign, bugs: Sequence[planted.Bug]) -> Iterator[str]:
    survived = campaign.survived()
    for bug in bugs:
        if bug.name in survived:
            seeds = ", ".join(map(str, survived[bug.name]))
            yield f"- `{bug.name}` ({bug.check}), seed {seeds}: {bug.story}"
