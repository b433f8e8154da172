"""Tables that sum up the lines of exhaustive runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import msgspec
from conformance.reports.results import MAX_FILE_BYTES, MAX_LINE_BYTES, ResultsError

from conformance.model.exhaustive_range import RangeResult
from conformance.model.files import open_file
from conformance.model.plain_text import bounded


class Line(msgspec.Struct, frozen=True):
    """The result for a part of a dtype's numbers.

    Args:
        backend, function, dtype, direction: what was called.
        part, parts: number of the part, from 1, and number of parts.
        covered: the result; None if the backend declines.
        declined: the reason for declining.
        seconds: wall time.
    """

    backend: str
    function: str
    dtype: str
    direction: str
    part: int
    parts: int
    covered: RangeResult | None = None
    declined: str = ""
    seconds: float = 0.0


def read(paths: Iterable[Path]) -> list[Line]:
    """Read files that `nn-conformance exhaustive` wrote.

    Raises:
        ResultsError: for an invalid line; the message names it.
    """
    lines = list[Line]()
    for path in paths:
        with open_file(path, MAX_FILE_BYTES) as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
                if line.strip():
                    lines.append(_line(line, f"{path}, line {number}"))
    return lines


def _line(text: bytes, where: str) -> Line:
    try:
        line = msgspec.json.decode(text, type=Line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ResultsError(f"{where}: {bounded(str(error), 300)}") from None
    if not 1 <= line.part <= line.parts:
        raise ResultsError(f"{where}: part {line.part} of {line.parts}")
    return line


def table(lines: Sequence[Line]) -> str:
    """A Markdown table for each backend: rows are functions and directions, columns are dtypes.

    A part that was written twice counts once.
    """
    parts: dict[tuple[str, str, str, str], dict[tuple[int, int], Line]] = {}
    for line in lines:
        key = (line.backend, line.function, line.direction, line.dtype)
        parts.setdefault(key, {})[line.part, line.parts] = line
    backends = list(dict.fromkeys(key[0] for key in parts))
    texts = []
    for backend in backends:
        parts_by_row = {
            key[1:]: parts_of_cell for key, parts_of_cell in parts.items() if key[0] == backend
        }
        dtypes = list(dict.fromkeys(key[2] for key in parts_by_row))
        head = f"| {backend} | | {' | '.join(dtypes)} |"
        rows = [head, "|---|---|" + "---|" * len(dtypes)]
        for function, direction in dict.fromkeys(key[:2] for key in parts_by_row):
            cells = (_cell(parts_by_row.get((function, direction, dtype), {})) for dtype in dtypes)
            rows.append(f"| `{function}` | {direction} | {' | '.join(cells)} |")
        texts.append("\n".join(rows))
    return "\n\n".join(texts) + "\n"


def _cell(parts: dict[tuple[int, int], Line]) -> str:
    """`1.43 ulp at 0.5, 0.31 of the bound`; errors are bold."""
    if not parts:
        return ""
    declined = next((line.declined for line in parts.values() if line.covered is None), None)
    if declined is not None:
        return f"declined: {declined}"
    covered = sum((line.covered for line in parts.values() if line.covered), RangeResult())
    share = sum(Fraction(1, count) for _, count in parts)
    texts = []
    if covered.failed:
        texts.append(f"**{covered.failed}**")
    if covered.wrong:
        texts.append(f"**{covered.wrong:,} of {covered.compared:,} beyond the bound**")
    if covered.farthest is not None:
        texts.append(f"{_short(covered.farthest.ulps)} ulp at {covered.farthest.at:.9g}")
    if covered.ratio:
        texts.append(f"{covered.ratio:.2f} of the bound")
    elif covered.compared and not covered.wrong:
        texts.append("equal")
    if share != 1:
        texts.append(f"{share} of all numbers")
    return "; ".join(texts)


def _short(ulps: float) -> str:
    return f"{ulps:.2f}" if ulps < 1000 else f"{ulps:.1e}"
