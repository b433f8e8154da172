"""What the runs of `kill_rate` come to, and their Markdown table."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

import planted

from conformance.model.checks import CHECK_FACTS

ENOUGH = 3  # bugs that a check must be the sole killer of
HARDEST = 10
# These hold answers against the oracle as well, so that no bug is seen by `values` and not by them:
# it is the sole killer of what no check but these sees.
CONTAINING = {"values": frozenset(x.name for x in CHECK_FACTS.values() if x.contains_values)}


@dataclass(frozen=True)
class Run:
    """One check on one bug in one dtype.

    Args:
        seed: of the suite.
        bug, layer, declared: the bug's name, layer and check.
        check, dtype: what was run.
        killed: whether it noticed the bug.
        examples: cases drawn until it did, or all.
        seconds: of CPU time until it did, without drawing the cases.
        torch_too: failures that did not count, as torch itself shows them on the same case.
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
    """All runs, and what produced them.

    Args:
        suite, torch: versions.
        seeds: of the suite; at the first one every check was run, if `checks` is `"all"`.
        examples: cases of each run.
        checks: `"all"`, `"declared"` or `"any"`.
        runs: in the order of the bugs, those of a bug in the order in which they were run.
        every: one bug of so many was run.
        profile: whose checks and dtypes were run.
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
        """What produced the runs."""
        return {name: value for name, value in vars(self).items() if name != "runs"}

    def killers(self) -> dict[str, tuple[str, ...]]:
        """The checks that notice each bug at the first seed, in the order in which they ran."""
        found: dict[str, dict[str, None]] = {run.bug: {} for run in self.runs}
        for run in self.runs:
            if run.seed == self.seeds[0] and run.killed:
                found[run.bug][run.check] = None
        return {bug: tuple(checks) for bug, checks in found.items()}

    def sole(self, check: str) -> list[str]:
        """The bugs that only one check notices."""
        beside = {check} | CONTAINING.get(check, frozenset())
        return [
            bug for bug, checks in self.killers().items() if check in checks and beside >= {*checks}
        ]

    def survived(self) -> dict[str, list[int]]:
        """The seeds at which a bug got through, of each that did."""
        killed = {(run.bug, run.seed) for run in self.runs if run.killed}
        missed = {
            run.bug: [seed for seed in self.seeds if (run.bug, seed) not in killed]
            for run in self.runs
        }
        return {bug: seeds for bug, seeds in missed.items() if seeds}

    def effort(self) -> dict[str, list[int]]:
        """Examples that it took to notice each bug, or to give up, at each seed."""
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
        """What makes the campaign a failure, a line each.

        Args:
            checks: those that must be worth their while.
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
    """The Markdown table.

    Args:
        campaign: with its runs.
        bugs: those that were run.
        layers, checks: the suite's, in its order.
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
            f"Written by {source}: {which} of `tests/planted` in place of "
            "torch's layer, and whether the suite notices. A failure does not count where torch "
            "fails on the same case, unless torch's own failure is a listed one of something else."
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
                "Sole: bugs that no other check notices; of `values`, which is contained in most "
                "others, those that no check but these notices. CPU time is without drawing."
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
