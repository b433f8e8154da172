"""Add rows for results files to a Markdown table of campaigns or of backends."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from conformance.reports.results import Run, read


def add_rows(
    arguments: Sequence[str] | None,
    about: str | None,
    row: Callable[[Run], str],
    merged: Callable[[str, list[str]], str],
    failed: Callable[[str], bool],
) -> int:
    """Add results files to a table; return 1 if a row of the table has failures.

    Args:
        arguments: of the command line; None = those of the process.
        about: description of the command, for its help.
        row: formats a run as a row.
        merged: merges new rows into a table.
        failed: whether a line is the row of a run that failed or was cut short.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--table", type=Path, required=True)
    options = parser.parse_args(arguments)
    before = options.table.read_text(encoding="utf-8") if options.table.exists() else ""
    text = merged(before, [row(read(path)) for path in options.results])
    options.table.write_text(text, encoding="utf-8")
    broken = [line for line in text.splitlines() if failed(line)]
    print("\n".join(broken) or f"{options.table}: no failure")
    return 1 if broken else 0


def cells_of(line: str, columns: Sequence[str]) -> dict[str, str]:
    """The cells of a line of the table, by column."""
    return dict(zip(columns, [cell.strip() for cell in line.split("|")][1:], strict=False))
