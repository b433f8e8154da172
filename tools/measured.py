"""Measured facts in `docs/data`, and Markdown tables of them.

A file of facts is a JSON object. Its `$comment` names the script that writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "data"
LINE = 300
"""Characters of an entry that stays in one line."""


def read(path: Path) -> dict[str, Any]:
    """The facts of a file, without its comment; an empty object where there is no file."""
    if not path.exists():
        return {}
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    facts.pop("$comment", None)
    return facts


def write(path: Path, writer: str, facts: Mapping[str, Any]) -> None:
    """Write facts as JSON, short entries in a line each, so that a change shows where it is.

    Args:
        path: of the file.
        writer: the command that writes it.
        facts: to be written.
    """
    members = {"$comment": f"Written by `{writer}`.", **facts}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_spread(members) + "\n", encoding="utf-8")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _spread(value: object, indent: str = "") -> str:
    """JSON, in several lines where it is long."""
    text = _json(value)
    if indent and len(text) <= LINE:
        return text
    inner = indent + " "
    match value:
        case dict():
            items = [f"{_json(name)}: {_spread(x, inner)}" for name, x in value.items()]
        case list():
            items = [_spread(x, inner) for x in value]
        case _:
            return text
    joined = f",\n{inner}".join(items)
    return f"{text[0]}\n{inner}{joined}\n{indent}{text[-1]}"


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """A Markdown table.

    Args:
        head: the names of the columns.
        rows: with a cell for each column.
        left: number of columns, from the first, that are aligned to the left.
    """

    def lines() -> Iterator[str]:
        for cells in (head, ["---"] * left + ["---:"] * (len(head) - left), *rows):
            yield f"| {' | '.join(map(str, cells))} |"

    return "\n".join(lines())
