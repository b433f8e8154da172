"""The terminal's table: layers × checks with counts."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.reports import summary
from conformance.reports.results import Run


def table(run: Run) -> Iterator[str]:
    """The lines of the table.

    Args:
        run: the verdicts so far.
    """
    matrix = summary.matrix(run)
    names = [row.layer for row in matrix.rows]
    width = max([len("layer"), *map(len, names)])
    cells = [[_cell(cell) for cell in row.cells] for row in matrix.rows]
    widths = [
        max([len(check), *(len(row[k]) for row in cells)]) for k, check in enumerate(matrix.checks)
    ]
    yield _line("layer".ljust(width), matrix.checks, widths)
    for name, row in zip(names, cells, strict=True):
        yield _line(name.ljust(width), row, widths)
    counts = summary.counts(run)
    yield ", ".join(f"{number} {status}" for status, number in counts.items() if number)


def _line(first: str, rest: tuple[str, ...] | list[str], widths: list[int]) -> str:
    return "  ".join(
        [first, *(cell.ljust(w) for cell, w in zip(rest, widths, strict=True))]
    ).rstrip()


def _cell(cell: summary.MatrixCell | None) -> str:
    """The glyph of the worst status, how many verdicts have which, the numbers compared.

    Where examples failed as listed: how many conform and how many do not. Also the share of
    examples that the backend supports, where it declines any, and the verdicts that are thin.
    """
    if cell is None:
        return "-"
    tally = cell.tally
    counts = ", ".join(f"{number} {status}" for status, number in tally.statuses.items() if number)
    numbers = f"{tally.comparisons:,} compared"
    if tally.declined:
        numbers += f", {tally.checked / (tally.checked + tally.declined):.1%} supported"
    if tally.thin:
        numbers += f", {tally.thin} thin"
    if tally.status == "known":
        conforming = f"{summary.GLYPHS['passed']} {tally.checked - tally.failed:,}"
        return f"{conforming} {summary.GLYPHS['known']} {tally.excused:,} ({counts}; {numbers})"
    return f"{summary.GLYPHS[tally.status]} {counts} ({numbers})"
