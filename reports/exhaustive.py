"""Tables that sum up the lines of exhaustive runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import msgspec
from conformance.reports.results import LINE, MOST, ResultsError

from conformance.model.exhaustive_range import Covered
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
    covered: Covered | None = None
    declined: str = ""
    seconds: float = 0.0


def read(paths: Iterable[Path]) -> list[Line]:
    """Read files that `nn-conformance exhaustive` wrote.

    Raises:
        ResultsError: for an invalid line; the message names it.
    """
    found = list[Line]()
    for path in paths:
        with open_file(path, MOST) as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE + 1), b""), 1):
                if line.strip():
                    found.append(_line(line, f"{path}, line {number}"))
    return found


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
        mine = {key[1:]: found for key, found in parts.items() if key[0] == backend}
        dtypes = list(dict.fromkeys(key[2] for key in mine))
        head = f"| {backend} | | {' | '.join(dtypes)} |"
        rows = [head, "|---|---|" + "---|" * len(dtypes)]
        for function, direction in dict.fromkeys(key[:2] for key in mine):
            cells = (_cell(mine.get((function, direction, dtype), {})) for dtype in dtypes)
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
    found = sum((line.covered for line in parts.values() if line.covered), Covered())
    share = sum(Fraction(1, count) for _, count in parts)
    texts = []
    if found.failed:
        texts.append(f"**{found.failed}**")
    if found.wrong:
        texts.append(f"**{found.wrong:,} of {found.compared:,} beyond the bound**")
    if found.farthest is not None:
        texts.append(f"{_short(found.farthest.ulps)} ulp at {found.farthest.at:.9g}")
    if found.ratio:
        texts.append(f"{found.ratio:.2f} of the bound")
    elif found.compared and not found.wrong:
        texts.append("equal")
    if share != 1:
        texts.append(f"{share} of all numbers")
    return "; ".join(texts)


def _short(ulps: float) -> str:
    return f"{ulps:.2f}" if ulps < 1000 else f"{ulps:.1e}"
