"""Facts of the campaigns: torch against the suite at many seeds, in `docs/data/campaign.json`.

`tox -e campaign`, `tox -e campaign-long` and `tox -e cpu` make the results files, which takes
hours. A run is a row, whichever machine made it. A later row of the same seed, examples, shard,
layers and CPU limits replaces the earlier one.

    python tools/campaign_table.py --data docs/data/campaign.json results/campaign-*.jsonl
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from conformance.reports import summary
from conformance.reports.results import Identity, Run
from measured import DATA, read, table
from run_tables import Row, add_runs, commit, full_table, has_failed, minutes

DATA_FILE = DATA / "campaign.json"
WRITER = "tools/campaign_table.py"
USUAL = 200
"""Examples of the standard profile."""
NAMES = {"ratio": "largest error ÷ bound", "suite": "suite at", "cpu": "CPU"}
_CPU_LIMIT = re.compile(r"\b[A-Z][A-Z_]*=[^ `]+")


def row_of(run: Run) -> Row:
    """The facts of one run."""
    identity, counts, totals = run.identity, summary.count_statuses(run), summary.totals(run)
    judged = sum(counts.get(status, 0) for status in ("passed", "known", "unsupported"))
    return {
        "seed": int(identity.seed),
        "examples": identity.examples,
        "shard": identity.shard,
        "layers": identity.options.get("layer", "all"),
        "items": len(identity.items),
        "passed": counts.get("passed", 0),
        "known": counts.get("known", 0),
        "failed": len(summary.unique_verdicts(run)) - judged,
        "comparisons": totals.comparisons,
        "ratio": None if totals.margin is None else round(totals.margin, 3),
        "torch": identity.torch,
        "suite": commit(identity),
        "cpu": _cpu_text(identity),
        "day": identity.started[:10],
        "minutes": minutes(run),
    }


def _cpu_text(identity: Identity) -> str:
    """The CPU, with the environment variables that limited its instruction set."""
    limits = _CPU_LIMIT.findall(identity.places.get("cpu", ""))
    return f"{identity.cpu} {' '.join(f'`{limit}`' for limit in limits)}".rstrip()


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """By what runs are sorted, and which run replaces another."""
    part, count = map(int, row["shard"].split("/"))
    limits = " ".join(_CPU_LIMIT.findall(row["cpu"]))
    return row["examples"], row["seed"], count, part, row["layers"], limits


def main(arguments: list[str] | None = None) -> int:
    """Add results files to the data; 1 if a run of the data has failures."""
    return add_runs(arguments, __doc__, writer=WRITER, row_of=row_of, key=key)


def section() -> str:
    """The section of `docs/evidence.md`: runs of one kind are a row."""
    runs = read(DATA_FILE)["runs"]
    kinds: dict[str, list[Row]] = {}
    for run in runs:
        kinds.setdefault(_kind(run), []).append(run)
    rows = [[kind, *_sums(ours)] for kind, ours in kinds.items()]
    failed = [run for run in runs if has_failed(run)]
    return f"""\
torch runs against the suite with all its checks. An item that fails, and not as a
[known failure](../conformance/known_failures/torch.toml) says, is a bug of torch, or a false alarm
of ours. `failed` also counts crashes, hangs and items in which nothing was compared.

{table(("runs", "count", "items", "passed", "known", "failed", "comparisons", "minutes"), rows)}

The largest error of a passing case is {max(run["ratio"] for run in runs):.3f} of its bound.
Runs with a failure: {"; ".join(map(_where, failed)) or "none"}.

`tox run -e campaign` takes some 20 minutes a seed on two cores, `campaign-long` about eight hours.
Both add their runs to `docs/data/campaign.json`; those of `cpu` are added by hand."""


def _kind(run: Row) -> str:
    if _CPU_LIMIT.search(run["cpu"]):
        return "as a lesser CPU"
    return (
        "standard, by seed" if run["examples"] == USUAL else "twenty times the examples, in parts"
    )


def _sums(runs: list[Row]) -> list[object]:
    names = ("items", "passed", "known", "failed", "comparisons")
    spent = sum(run["minutes"] or 0 for run in runs)
    return [len(runs), *(f"{sum(run[name] for run in runs):,}" for name in names), round(spent)]


def _where(run: Row) -> str:
    limits = " ".join(f"`{limit}`" for limit in _CPU_LIMIT.findall(run["cpu"]))
    failed = "cut short" if run["minutes"] is None else f"{run['failed']} failed"
    return f"seed {run['seed']} at {run['suite']} ({failed}) {limits}".rstrip()


def full_page() -> str:
    """The site's page with a row for each run."""
    runs = full_table(read(DATA_FILE)["runs"], NAMES)
    return f"# Campaigns by run\n\nFor maintainers who compare runs of torch.\n\n{runs}\n"


if __name__ == "__main__":
    status = main()
    import evidence

    evidence.write_page()
    sys.exit(status)
