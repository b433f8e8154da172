"""Make a Markdown table of the campaigns: runs of the suite on torch with many seeds.

`tox -e campaign` and `tox -e campaign-long` run it after campaigns of hours. Each run is a row, on
any machine. A later run of the same seed, examples, shard and layers replaces an earlier one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from conformance.reports import summary
from conformance.reports.results import Identity, Run
from run_tables import add_rows, cells_of

COLUMNS = (
    *("seed", "examples", "shard", "layers", "items", "passed", "known", "failed", "comparisons"),
    *("largest error ÷ bound", "torch", "suite at", "CPU", "day", "minutes"),
)
HEAD = f"""\
# No false alarm

Written by `tools/campaign_table.py`: runs of all checks on torch. `tox -e campaign` runs ten seeds.
`tox -e campaign-long` runs twenty times the examples, some of them in parts. `tox -e cpu` imitates
older CPUs by the environment variables that stand beside the CPU.
*Known* items failed as the [known failures](../conformance/known_failures/torch.toml) say. *Failed*
includes crashes, hangs and items that compared nothing.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""
_LIMIT = re.compile(r"\b[A-Z][A-Z_]*=[^ `]+")
_KEY = re.compile(r"^\| (\d+) \| (\d+) \| (\d+)/(\d+) \| (.+?) \|")


def row(run: Run) -> str:
    """Format a run as a row of the table."""
    identity, counts, totals = run.identity, summary.counts(run), summary.totals(run)
    wrong = len(summary.verdicts(run)) - sum(
        counts.get(status, 0) for status in ("passed", "known", "unsupported")
    )
    cells = (
        identity.seed, identity.examples, identity.shard, _layers(identity.options),
        len(identity.items),
        counts.get("passed", 0), counts.get("known", 0), wrong, f"{totals.comparisons:,}",
        "–" if totals.margin is None else f"{totals.margin:.3f}", identity.torch,
        _commit(identity), _cpu(identity), identity.started[:10],
        "cut short" if run.footer is None else f"{run.footer.seconds / 60:.1f}",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def _commit(identity: Identity) -> str:
    """The commit of the run's checkout, or else the commit in the suite's version."""
    built_of = identity.suite.partition("+g")[2] or "?"
    return (identity.git or {}).get("commit", built_of)[:7]


def _cpu(identity: Identity) -> str:
    """The CPU, with the environment variables that limited its instruction set."""
    limits = _LIMIT.findall(identity.places.get("cpu", ""))
    return f"{identity.cpu} {' '.join(f'`{limit}`' for limit in limits)}".rstrip()


def _layers(options: Mapping[str, str]) -> str:
    """The selected layers as inline code, so that an asterisk is not read as markup."""
    return f"`{options['layer']}`" if "layer" in options else "all"


def merged(table: str, rows: list[str]) -> str:
    """Merge new rows into a table, sorted by examples, seed, shard, layers and CPU limits.

    Args:
        table: the present table; empty if there is none yet.
        rows: the new rows.
    """
    found: dict[tuple[int, int, int, int, str, str], str] = {}
    for line in (*table.splitlines(), *rows):
        match = _KEY.match(line)
        if match:
            seed, examples, part, count = map(int, match.groups()[:4])
            found[examples, seed, count, part, match[5], " ".join(_LIMIT.findall(line))] = line
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
