"""Make a Markdown table of complete runs of the shipped backends.

`tox -e NAME` writes `results/NAME.jsonl`. Each run is a row. A later run of the same backend, seed
and number of examples replaces an earlier one.
"""

from __future__ import annotations

import re
import sys

from conformance.reports import summary
from conformance.reports.results import Run
from run_tables import add_rows, cells_of

COLUMNS = (
    *("backend", "seed", "examples", "versions", "items", "passed", "known", "unsupported"),
    *("failed", "items left out", "of the cases", "comparisons", "budget, s", "minutes"),
    *("suite at", "day"),
)
HEAD = f"""\
# Backends

Written by `tools/backends_table.py` from the results files of the backends' tox environments: all
layers, checks and dtypes that each backend offers, with two workers on a machine of two cores.
*Known* items failed as the [known failures](known-failures.md) that ship with the backend say;
[findings](findings.md) lists them. *Failed* items failed otherwise, or compared nothing. In a run
with a time budget, *items left out* got no time at all, and *of the cases* is the share of cases
that ran.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""
_KEY = re.compile(r"^\| ([^ ]+) \| (\d+) \| (\d+) \|")


def row(run: Run) -> str:
    """Format a run as a row of the table."""
    identity, counts = run.identity, summary.counts(run)
    verdicts = summary.verdicts(run)
    left_out = sum(v.status == "unchecked" and not v.examples.drawn for v in verdicts)
    judged = sum(counts.get(status, 0) for status in ("passed", "known", "unsupported"))
    drawn = sum(v.examples.drawn for v in verdicts)
    asked = drawn + sum(v.examples.stopped for v in verdicts)
    own = {k: v for k, v in identity.info.items() if v and v[0].isdigit() and k != "threads"}
    cells = (
        identity.backend, identity.seed, identity.examples,
        ", ".join(f"{name} {version}" for name, version in own.items()) or "–",
        len(identity.items), *(counts.get(x, 0) for x in ("passed", "known", "unsupported")),
        len(verdicts) - judged - left_out, left_out, f"{drawn / asked:.0%}" if asked else "–",
        f"{summary.totals(run).comparisons:,}", identity.options.get("budget", "–"),
        "cut short" if run.footer is None else f"{run.footer.seconds / 60:.1f}",
        (identity.git or {}).get("commit", "?")[:7], identity.started[:10],
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def merged(table: str, rows: list[str]) -> str:
    """Merge new rows into a table, sorted by backend, seed and examples.

    Args:
        table: the present table; empty if there is none yet.
        rows: the new rows.
    """
    found: dict[tuple[str, int, int], str] = {}
    for line in (*table.splitlines(), *rows):
        match = _KEY.match(line)
        if match:
            found[match[1], int(match[2]), int(match[3])] = line
    return HEAD + "".join(f"{found[key]}\n" for key in sorted(found))


def main(arguments: list[str] | None = None) -> int:
    """Add results files to the table; return 1 if a row of the table has failures."""
    return add_rows(arguments, __doc__, row, merged, _failed)


def _failed(line: str) -> bool:
    cells = cells_of(line, COLUMNS)
    wrong = cells.get("failed") != "0" or cells["minutes"] == "cut short"
    return _KEY.match(line) is not None and wrong


if __name__ == "__main__":
    sys.exit(main())
