"""Facts of exhaustive runs, in `docs/data/exhaustive.json`: a row for each function and dtype.

    nn-conformance exhaustive lines.jsonl
    python tools/exhaustive_table.py lines.jsonl

Parts add up. A function of a dtype stays as it was measured before where the lines lack it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import measured
from conformance.reports.exhaustive import Line, read
from measured import DATA, table

from conformance.model.exhaustive_range import RangeResult

DATA_FILE = DATA / "exhaustive.json"
KEY = ("backend", "function", "direction", "dtype")
Row = dict[str, Any]


def rows_of(lines: Iterable[Line]) -> list[Row]:
    """The facts of each function and dtype, of all its parts together."""
    parts: dict[tuple[str, ...], dict[tuple[int, int], Line]] = {}
    for line in lines:
        key = tuple(getattr(line, name) for name in KEY)
        parts.setdefault(key, {})[line.part, line.parts] = line
    return [
        dict(zip(KEY, key, strict=True)) | _facts([*lines.values()]) for key, lines in parts.items()
    ]


def _facts(lines: Sequence[Line]) -> Row:
    declined = [line.declined for line in lines if line.covered is None]
    if declined:
        return {"declined": declined[0]}
    total = sum((line.covered for line in lines if line.covered), RangeResult())
    facts: Row = {"failed": total.failed} if total.failed else {}
    if total.wrong:
        facts |= {"wrong": total.wrong, "compared": total.compared}
    if total.farthest is not None:
        facts |= {"ulps": total.farthest.ulps, "at": total.farthest.at}
    missing = {"parts": f"{len(lines)}/{lines[0].parts}"} if len(lines) < lines[0].parts else {}
    return facts | {"ratio": round(total.ratio, 2)} | missing


def main(paths: list[str]) -> None:
    """Put what lines show in place of what is kept of their functions."""
    kept = measured.read(DATA_FILE).get("functions", [])
    rows = {
        tuple(row[name] for name in KEY): row for row in (*kept, *rows_of(read(map(Path, paths))))
    }
    measured.write(DATA_FILE, "tools/exhaustive_table.py", {"functions": [*rows.values()]})


def section() -> str:
    """The section of `docs/evidence.md`: counts, and what is beyond its bound."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in measured.read(DATA_FILE)["functions"]:
        groups.setdefault((row["backend"], row["dtype"]), []).append(row)
    counts = [[*group, *_counts(rows)] for group, rows in groups.items()]
    dtypes = dict.fromkeys(dtype for _, dtype in groups)
    beyond: dict[tuple[str, ...], Row] = {}
    for row in (row for rows in groups.values() for row in rows if row.get("wrong")):
        beyond.setdefault(tuple(_key(row))[:-1], {})[row["dtype"]] = f"{row['wrong']:,}"
    rows = ([*key, *(row.get(dtype, "") for dtype in dtypes)] for key, row in beyond.items())
    head = ("backend", "dtype", "functions and derivatives", "equal", "within the bound",
            "beyond it", "declined", "largest error ÷ bound")  # fmt: skip
    return f"""\
Functions of single numbers run on every number of a dtype. An answer within its bound may still be
many units in the last place off. That happens where the function is a difference of nearly equal
numbers, or is smaller than the smallest number.

{table(head, counts, left=2)}

Answers beyond the bound, by dtype. All of them are known failures:

{table((*KEY[:-1], *dtypes), rows, left=3)}

`tox run -e exhaustive` measures torch, [`nn-conformance
exhaustive`](commands.md#every-number-of-a-dtype) any backend."""


def _counts(rows: Sequence[Row]) -> Iterator[object]:
    answered = [row for row in rows if "declined" not in row]
    wrong = sum(bool(row.get("wrong")) for row in answered)
    equal = sum(not row["ratio"] and not row.get("wrong") for row in answered)
    yield from (len(rows), equal, len(answered) - wrong - equal, wrong, len(rows) - len(answered))
    yield f"{max(row['ratio'] for row in answered):.2f}"


def _key(row: Row) -> Iterator[str]:
    yield from (row["backend"], f"`{row['function']}`", row["direction"], row["dtype"])


def full_page() -> str:
    """The site's page with every function."""
    rows = measured.read(DATA_FILE)["functions"]
    head = (*KEY, "beyond the bound", "largest error, ulp", "at", "÷ bound")
    return (
        "# Every number by function\n\n"
        "For those who ask how far off a function is, and where.\n\n"
        "The largest error is that of any answer; its share of the bound that of answers within. "
        "The derivative is that of a cotangent of 1; at a kink any slope between both sides is "
        "right, and the middle one stands for it. float32 runs over all 2³² numbers but NaN.\n\n"
        f"{table(head, ([*_key(row), *_cells(row)] for row in rows), left=4)}\n"
    )


def _cells(row: Row) -> Iterator[str]:
    if "declined" in row:
        yield from (f"declined: {row['declined']}", "", "", "")
        return
    wrong = row.get("wrong")
    counted = f"**{wrong:,} of {row['compared']:,}**" if wrong else ""
    yield "; ".join(x for x in (row.get("failed", ""), counted, row.get("parts", "")) if x)
    yield "" if "ulps" not in row else _short(row["ulps"])
    yield "" if "at" not in row else f"{row['at']:.9g}"
    yield f"{row['ratio']:.2f}" if row["ratio"] or wrong else "equal"


def _short(ulps: float) -> str:
    return f"{ulps:.2f}" if ulps < 1000 else f"{ulps:.1e}"


if __name__ == "__main__":
    main(sys.argv[1:])
    import evidence

    evidence.write_page()
