"""Facts of a whole run of each shipped backend, in `docs/data/backends.json`.

`tox -e NAME` writes `results/NAME.jsonl`; a run is a row. `docs/evidence.md` shows the newest row
of each backend, and the site's scoreboard all of them.

    python tools/backends_table.py --data docs/data/backends.json results/NAME.jsonl
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from conformance.reports import summary
from conformance.reports.history import record_run
from conformance.reports.results import Run
from measured import DATA, read, table
from run_tables import Row, add_runs, cells, commit, full_table

DATA_FILE = DATA / "backends.json"
WRITER = "tools/backends_table.py"
NAMES = {
    "left_out": "items left out",
    "share": "of the cases",
    "budget": "budget, s",
    "suite": "suite at",
}
SHORT = (
    "backend", "examples", "items", "passed", "known", "unsupported", "failed", "left_out", "share",
    "minutes", "day",
)  # fmt: skip


def row_of(run: Run) -> Row:
    """The facts of one run."""
    (record,) = record_run(run)
    drawn = sum(v.examples.drawn for v in summary.unique_verdicts(run))
    asked = drawn + sum(v.examples.stopped for v in summary.unique_verdicts(run))
    names = (
        *("backend", "seed", "examples", "versions", "items", "passed", "known", "unsupported"),
        *("failed", "left_out"),
    )
    return {
        **{name: getattr(record, name) for name in names},
        "share": round(drawn / asked, 2) if asked else None,
        "comparisons": summary.totals(run).comparisons,
        "budget": run.identity.options.get("budget"),
        "minutes": record.minutes,
        "suite": commit(run.identity),
        "day": record.day,
    }


def key(row: Row) -> tuple[str, str, str]:
    """Which run replaces another."""
    return row["backend"], row["day"], row["suite"]


def order(row: Row) -> tuple[str, str]:
    """By what runs are sorted."""
    return row["backend"], row["day"]


def main(arguments: list[str] | None = None) -> int:
    """Add results files to the data; 1 if the newest run of a backend has failures."""
    return add_runs(
        arguments, __doc__, writer=WRITER, row_of=row_of, key=key, order=order, current=newest_runs
    )


def newest_runs(rows: Sequence[Row]) -> list[Row]:
    """The newest run of each backend, of rows in the order of their days."""
    return list({run["backend"]: run for run in rows}.values())


def section() -> str:
    """The section of `docs/evidence.md`."""
    newest = newest_runs(read(DATA_FILE)["runs"])
    rows = [cells({name: run[name] for name in SHORT}) for run in newest]
    return f"""\
A run of each shipped backend by its tox environment, with two workers on two cores: all layers,
checks and dtypes that it offers. What compiles or exports each structure runs in float32, and
torch-compile only `values` and `gradients`. 40 examples are the profile smoke, 200 standard.
`failed` counts items that failed in a new way, which were listed as known failures or mended after
the run, and items in which nothing was compared. A run with a time budget may leave items out; the
last share is that of the cases that ran. Why the run of mlx was late, and left 31 items out, is not
known. What was found: [findings](findings.md).

{table([NAMES.get(name, name) for name in SHORT], rows)}"""


def full_page() -> str:
    """The site's page with all facts of each run."""
    runs = full_table(read(DATA_FILE)["runs"], NAMES)
    return f"# Backends by run\n\nFor maintainers who compare runs of a backend.\n\n{runs}\n"


if __name__ == "__main__":
    status = main()
    import evidence

    evidence.write_page()
    sys.exit(status)
