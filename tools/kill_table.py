"""Numbers of the runs of `kill_rate`, and the Markdown tables made of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

import planted
from measured import DATA, read, table, write

from conformance.model.checks import CHECK_FACTS

DATA_FILE = DATA / "kill-rate.json"
Facts = dict[str, Any]

MIN_SOLE_KILLS = 3  # bugs that a check must be the sole killer of
HARDEST_COUNT = 10
# These checks compare values too, so they notice every bug that `values` notices. A bug counts as
# killed by `values` alone if no check outside this set notices it.
CHECKS_WITH_VALUES = {
    "values": frozenset(x.name for x in CHECK_FACTS.values() if x.contains_values)
}


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
        checks_by_bug: dict[str, dict[str, None]] = {run.bug: {} for run in self.runs}
        for run in self.runs:
            if run.seed == self.seeds[0] and run.killed:
                checks_by_bug[run.bug][run.check] = None
        return {bug: tuple(checks) for bug, checks in checks_by_bug.items()}

    def sole(self, check: str) -> list[str]:
        """The bugs that only this check notices."""
        equivalent = {check} | CHECKS_WITH_VALUES.get(check, frozenset())
        return [
            bug
            for bug, checks in self.killers().items()
            if check in checks and equivalent >= {*checks}
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
        examples_by_run: dict[tuple[str, int], int] = {}
        finished = set()
        for run in self.runs:
            key = run.bug, run.seed
            if key not in finished:
                examples_by_run[key] = examples_by_run.get(key, 0) + run.examples
            if run.killed:
                finished.add(key)
        return {
            run.bug: [
                examples_by_run[run.bug, seed]
                for seed in self.seeds
                if (run.bug, seed) in examples_by_run
            ]
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
            if count < MIN_SOLE_KILLS:
                lines.append(
                    f"{check} is the sole killer of {count} bugs, fewer than {MIN_SOLE_KILLS}"
                )
        return lines


def facts(
    campaign: Campaign, bugs: Sequence[planted.Bug], layers: Sequence[str], checks: Sequence[str]
) -> Facts:
    """The numbers of a campaign, as `docs/data/kill-rate.json` keeps them.

    Args:
        campaign: the campaign with its runs.
        bugs: the bugs that ran.
        layers, checks: names in the order of the suite.
    """
    survived = campaign.survived()
    kills = len(bugs) * len(campaign.seeds) - sum(map(len, survived.values()))
    numbers = {
        **campaign.provenance,
        "seeds": list(campaign.seeds),
        "bugs": len(bugs),
        "kills": kills,
        "layers": {
            layer: _by_check([bug for bug in bugs if bug.layer == layer], survived)
            for layer in layers
            if any(bug.layer == layer for bug in bugs)
        },
    }
    if campaign.checks == "all":
        numbers["noticed"] = _noticed(campaign, bugs, checks)
        numbers["worth"] = {check: _worth_table(campaign, check) for check in checks}
    numbers["hardest"] = _hardest_table(campaign, bugs)
    numbers["survivors"] = [
        {"bug": bug.name, "check": bug.check, "seeds": survived[bug.name], "story": bug.story}
        for bug in bugs
        if bug.name in survived
    ]
    return numbers


def _by_check(
    bugs: Sequence[planted.Bug], survived: Mapping[str, object]
) -> dict[str, tuple[int, int]]:
    """Bugs killed at every seed, and bugs planted, by the check that they were planted for."""
    return {
        check: (sum(bug.name not in survived for bug in ours), len(ours))
        for check in planted.CHECKS
        if (ours := [bug for bug in bugs if bug.check == check])
    }


def _noticed(
    campaign: Campaign, bugs: Sequence[planted.Bug], checks: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Bugs by the check that they were planted for, and how many of them each check notices."""
    killers = campaign.killers()
    noticed = {}
    for declared in planted.CHECKS:
        ours = [killers.get(bug.name, ()) for bug in bugs if bug.check == declared]
        if ours:
            counts = {check: sum(check in kills for kills in ours) for check in checks}
            noticed[declared] = {"bugs": len(ours), **{c: n for c, n in counts.items() if n}}
    return noticed


def _worth_table(campaign: Campaign, check: str) -> dict[str, object]:
    kills = [run for run in campaign.runs if run.killed and run.check == check]
    seconds = [run.seconds for run in kills]
    summaries = (median, mean, max)
    return {
        "noticed": sum(check in checks for checks in campaign.killers().values()),
        "sole": campaign.sole(check),
        "examples": median(run.examples for run in kills) if kills else None,
        "seconds": [round(of(seconds), 2) if kills else None for of in summaries],
    }


def _hardest_table(campaign: Campaign, bugs: Sequence[planted.Bug]) -> list[dict[str, object]]:
    effort = campaign.effort()
    first: Mapping[str, Run] = {run.bug: run for run in reversed(campaign.runs) if run.killed}
    ranked = sorted(bugs, key=lambda bug: (-mean(effort[bug.name]), bug.name))[:HARDEST_COUNT]
    hardest = []
    for bug in ranked:
        run = first.get(bug.name)
        by = f"{run.check}, {run.dtype}" if run else "nothing"
        counts = effort[bug.name]
        hardest.append(
            {"bug": bug.name, "by": by, "mean": round(mean(counts)), "most": max(counts)}
        )
    return hardest


def full(numbers: Facts) -> str:
    """Every table of a campaign, in Markdown.

    Args:
        numbers: from `facts`.
    """
    options = {
        "profile": "" if numbers["profile"] == "standard" else numbers["profile"],
        "checks": "" if numbers["checks"] == "all" else numbers["checks"],
        "every": "" if numbers["every"] == 1 else str(numbers["every"]),
    }
    given = "".join(f" --{name} {value}" for name, value in options.items() if value)
    every = numbers["every"]
    which = "Every planted bug" if every == 1 else f"One planted bug of {every}"
    seeds, bugs = numbers["seeds"], numbers["bugs"]
    blocks = [
        f"{which} of `tests/planted` in place of torch's layer:",
        f"`python tools/kill_rate.py{given}`.",
        (
            f"nn-conformance {numbers['suite']}, torch {numbers['torch']}, seeds "
            f"{', '.join(map(str, seeds))}, {numbers['examples']} examples, "
            f"{numbers['checks']} checks."
        ),
        f"{bugs} bugs, {numbers['kills']} of {bugs * len(seeds)} kills (each bug at each seed).",
        "### Layers",
        "Bugs killed at every seed / planted, by the check that each was planted for.",
        _layers_table(numbers),
    ]
    if "worth" in numbers:
        worth = numbers["worth"]
        blocks += [
            "### Which check kills",
            (
                "Bugs planted for a check (row) that a check (column) notices at seed "
                f"{seeds[0]}."
            ),
            table(
                ["planted for", "bugs", *worth],
                (
                    [check, row["bugs"], *(row.get(name, "") for name in worth)]
                    for check, row in numbers["noticed"].items()
                ),
            ),
            "### What each check is worth",
            "Sole: bugs that only this check notices. CPU time is without drawing.",
            table(
                ["check", "noticed", "sole", "examples (median)",
                 "CPU s per kill (median)", "mean", "most"],
                ([check, *_figures(row)] for check, row in worth.items()),
            ),
            *(f"Only `{name}`: {', '.join(row['sole']) or 'none'}." for name, row in worth.items()),
        ]  # fmt: skip
    blocks += [
        "### Hardest",
        "By the mean number of examples until a check notices.",
        table(
            ["bug", "noticed by", "examples (mean)", "most"],
            ([x["bug"], x["by"], x["mean"], x["most"]] for x in numbers["hardest"]),
            left=2,
        ),
        "### Survivors",
        "\n".join(survivors(numbers)) or "None.",
    ]
    return "\n\n".join(blocks) + "\n"


def _layers_table(numbers: Facts) -> str:
    layers = numbers["layers"]

    def cells(row: Mapping[str, Sequence[int]]) -> Iterator[str]:
        for check in planted.CHECKS:
            yield "/".join(map(str, row[check])) if check in row else ""
        yield "/".join(str(sum(counts[k] for counts in row.values())) for k in (0, 1))

    rows = [[layer, *cells(row)] for layer, row in layers.items()]
    return table(["layer", *planted.CHECKS, "all"], [*rows, ["all", *cells(totals(numbers))]])


def totals(numbers: Facts) -> dict[str, tuple[int, int]]:
    """Bugs killed at every seed, and bugs planted, of all layers together, by check."""
    rows = numbers["layers"].values()
    return {
        check: tuple(sum(row[check][k] for row in rows if check in row) for k in (0, 1))
        for check in planted.CHECKS
        if any(check in row for row in rows)
    }


def _figures(row: Mapping[str, Any]) -> Iterator[object]:
    yield from (row["noticed"], len(row["sole"]))
    yield "" if row["examples"] is None else f"{row['examples']:g}"
    yield from ("" if second is None else f"{second:.2f}" for second in row["seconds"])


def survivors(numbers: Facts) -> Iterator[str]:
    """Bugs that got through at a seed, one line each."""
    for bug in numbers["survivors"]:
        seeds = ", ".join(map(str, bug["seeds"]))
        yield f"- `{bug['bug']}` ({bug['check']}), seed {seeds}: {bug['story']}"


def section() -> str:
    """The section of `docs/evidence.md`: by check, and what survived."""
    measured = read(DATA_FILE)
    declared, every = measured["declared"], measured["all"]
    worth, planted_for = every["worth"], totals(declared)
    rows: list[list[object]] = []
    # A check that is newer than the campaign has no numbers yet.
    for check in planted_for:
        killed, bugs = planted_for[check]
        row = worth[check]
        alone, examples = len(row["sole"]), f"{row['examples']:g}"
        rows.append([f"`{check}`", bugs, killed, row["noticed"], alone, examples])
    killed, bugs = (sum(counts) for counts in zip(*planted_for.values(), strict=True))
    rows.append(["all", bugs, killed, every["bugs"], "", ""])
    head = ["check", "planted for it", "killed by it at every seed"]
    head += [f"noticed of {every['bugs']}", "by it alone", "examples needed (median)"]
    seeds, pairs = declared["seeds"], declared["bugs"] * len(declared["seeds"])
    return f"""\
`tests/planted` has bugs, each in a copy of one of torch's layers: off-by-one windows, lost digits,
stale state. The suite runs on each copy. A kill is a failure that torch itself does not show on the
same case.

- Each bug against the check that it was planted for, at {len(seeds)} seeds:
  {declared["kills"]:,} of {pairs:,} kills, {declared["examples"]} examples ({_versions(declared)}).
- One bug of {every["every"]} against every check, at one seed: {every["kills"]} of {every["bugs"]}
  kills ({_versions(every)}). This run says what a check is worth beside the others.

{table(head, rows)}

Most checks also compare values. These do not count beside `values` in the column "by it alone".

### Survivors

{chr(10).join(_short_survivors(declared))}

`python tools/kill_rate.py --checks declared --seeds 0,1,2 --keep` measures the first run again in
four minutes, `python tools/kill_rate.py --every 10 --seeds 0 --keep` the second. `tox run -e
kill-rate` runs every bug against every check at five seeds."""


def _short_survivors(numbers: Facts) -> Iterator[str]:
    """Survivors with the first sentence of their stories."""
    for line in survivors(numbers):
        yield re.split(r"(?<=\.)\s+(?=[A-Z])", line)[0]


def _versions(numbers: Facts) -> str:
    return f"suite {numbers['suite']}, torch {numbers['torch']}"


def keep(numbers: Facts) -> None:
    """Put a campaign's numbers in place of the last ones of its kind."""
    kind = "declared" if numbers["checks"] == "declared" else "all"
    write(DATA_FILE, "tools/kill_rate.py", {**read(DATA_FILE), kind: numbers})


def full_page() -> str:
    """The site's page with every table of both campaigns."""
    measured = read(DATA_FILE)
    return (
        "# Kill rate by layer\n\nFor those who ask which bugs of a layer the suite notices.\n\n"
        f"## Each bug against its own check\n\n{full(measured['declared'])}\n"
        f"## Each bug against every check\n\n{full(measured['all'])}"
    )
