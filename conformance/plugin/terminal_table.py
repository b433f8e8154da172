"""The terminal's table: layers × checks with counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.plugin.terminal_text import HEADING, Line
from conformance.reports import summary
from conformance.reports.matrix import LayerRow
from conformance.reports.results import Run

GAP = "  "


def table_lines(run: Run, width: int = 80) -> Iterator[Line]:
    """The lines of the table, split into parts that each fit the width of the terminal."""
    matrix = summary.matrix(run)
    layer_column = _column("layer", [row.layer for row in matrix.rows])
    columns = [
        _column(check, [_cell_text(row.cells[k]) for row in matrix.rows])
        for k, check in enumerate(matrix.checks)
    ]
    styles = [HEADING, *(_row_style(row) for row in matrix.rows)]
    for number, part in enumerate(_split_columns(columns, width - len(layer_column[0]))):
        if number:
            yield Line("")
        for cells, style in zip(zip(layer_column, *part, strict=True), styles, strict=True):
            yield Line(GAP.join(cells).rstrip(), style)


def _column(title: str, cells: Sequence[str]) -> Sequence[str]:
    """A title and its cells, padded to the same width."""
    width = max(map(len, (title, *cells)))
    return [text.ljust(width) for text in (title, *cells)]


def _split_columns(
    columns: Sequence[Sequence[str]], available_width: int
) -> Iterator[Sequence[Sequence[str]]]:
    """Split columns into parts that fit the width; each part has at least one column."""
    part: list[Sequence[str]] = []
    used_width = 0
    for column in columns:
        column_width = len(GAP) + len(column[0])
        if part and used_width + column_width > available_width:
            yield part
            part, used_width = [], 0
        part.append(column)
        used_width += column_width
    if part:
        yield part


def _row_style(row: LayerRow) -> str:
    statuses = {cell.tally.status for cell in row.cells if cell is not None}
    return next((status for status in summary.SEVERITY if status in statuses), "")


def _cell_text(cell: summary.MatrixCell | None) -> str:
    """Format a cell: the glyph of the worst status, the verdicts by status, the numbers compared.

    If the worst status is `known`, the cell also shows how many cases conform and how many known
    failures excuse. If the backend declines cases, it shows the supported share; if
    verdicts are thin, their number.
    """
    if cell is None:
        return "-"
    tally = cell.tally
    counts = ", ".join(f"{number} {status}" for status, number in tally.statuses.items() if number)
    details = f"{tally.comparisons:,} compared"
    if tally.declined:
        details += f", {tally.checked / (tally.checked + tally.declined):.1%} supported"
    if tally.thin:
        details += f", {tally.thin} thin"
    if tally.status == "known":
        conforming = f"{summary.GLYPHS['passed']} {tally.checked - tally.failed:,}"
        return f"{conforming} {summary.GLYPHS['known']} {tally.excused:,} ({counts}; {details})"
    return f"{summary.GLYPHS[tally.status]} {counts} ({details})"
