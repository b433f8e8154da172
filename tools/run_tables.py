"""Rows of `docs/data` that are one run each: of campaigns, and of backends."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import measured
from conformance.reports.results import Identity, Run, read

Row = dict[str, Any]


def add_runs(
    arguments: Sequence[str] | None,
    about: str | None,
    *,
    writer: str,
    row_of: Callable[[Run], Row],
    key: Callable[[Row], Any],
    order: Callable[[Row], Any] | None = None,
    current: Callable[[Sequence[Row]], Sequence[Row]] = lambda rows: rows,
) -> int:
    """Add results files to a file of runs; 1 if a run of the file has failures.

    Args:
        arguments: of the command line; None = the process's own.
        about: the command's help text.
        writer: the command that writes the file.
        row_of: the facts of a run.
        key: a later row takes the place of one with the same key.
        order: by what rows are sorted, None = by the key; of equal rows the last added is last.
        current: selects the rows whose failures count.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the JSON file of the runs")
    options = parser.parse_args(arguments)
    rows = [*measured.read(options.data).get("runs", []), *map(row_of, map(read, options.results))]
    newest = {key(row): index for index, row in enumerate(rows)}
    ordered = sorted((rows[index] for index in sorted(newest.values())), key=order or key)
    measured.write(options.data, writer, {"runs": ordered})
    failed = [row for row in current(ordered) if has_failed(row)]
    print("\n".join(map(str, failed)) or f"{options.data}: no failure")
    return 1 if failed else 0


def has_failed(row: Row) -> bool:
    """Whether a run has failures, or was cut short, which leaves its minutes out."""
    return bool(row["failed"]) or row["minutes"] is None


def minutes(run: Run) -> float | None:
    """Wall time; None of a run that was cut short."""
    return None if run.footer is None else round(run.footer.seconds / 60, 1)


def commit(identity: Identity) -> str:
    """The commit of the checkout that the run was in, else the one that the version names."""
    built_of = identity.suite.partition("+g")[2] or "?"
    return (identity.git or {}).get("commit", built_of)[:7]


def cells(row: Row) -> Iterator[str]:
    """The facts of a run as the cells of a table."""
    for name, value in row.items():
        match value:
            case None:
                yield "cut short" if name == "minutes" else "–"
            case int() if name not in ("seed", "examples"):
                yield f"{value:,}"
            case float() if name == "share":
                yield f"{value:.0%}"
            case float() if name == "ratio":
                yield f"{value:.3f}"
            case str() if "*" in value:
                yield f"`{value}`"
            case _:
                yield str(value)


def full_table(rows: Sequence[Row], names: dict[str, str]) -> str:
    """All facts of all runs.

    Args:
        rows: the runs.
        names: of the columns, where they differ from the facts' names.
    """
    head = [names.get(name, name) for name in rows[0]]
    return measured.table(head, map(cells, rows), left=len(head))
