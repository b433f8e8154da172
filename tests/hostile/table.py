"""The table of outcomes, by point of the first list and by theme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

POINTS = {
    0: "beyond the list",
    1: "arrays that lie",
    2: "answers that belong to no request",
    3: "exceptions of the suite's own",
    4: "a dishonest backend in this process",
    5: "the current directory",
    6: "what a results file names",
    7: "members of a backend",
    8: "a start that hangs",
    9: "exceptions that end a process",
    10: "faults of backends taken for the suite's",
    11: "an import that ends the run",
    12: "outputs that cannot be written",
    13: "interrupted workers",
    14: "known failures",
    15: "results that contradict themselves",
    16: "results that end in a traceback",
    17: "outputs over inputs",
    18: "options",
    19: "text for a terminal",
}
Found = Mapping[str, Any]


def render(outcomes: Sequence[Found], before: Sequence[Found] = ()) -> str:
    """Render outcomes as Markdown.

    Args:
        outcomes: outcomes as `run.py` writes them.
        before: outcomes of an earlier version.
    """
    earlier = {found["name"]: not found["deviations"] for found in before}
    parts = [
        _table("point", outcomes, earlier, lambda x: x["point"], _point),
        _table(
            "theme", outcomes, earlier, lambda x: x["theme"], lambda x: str(x).replace("_", " ")
        ),
    ]
    deviating = [
        f"- `{x['name']}`: {'; '.join(x['deviations'])}" for x in outcomes if x["deviations"]
    ]
    return "\n".join([*parts, *deviating, ""])


def _point(number: Any) -> str:
    return f"{number} {POINTS[number]}"


def _table(
    title: str,
    outcomes: Sequence[Found],
    earlier: Mapping[str, bool],
    key: Callable[[Found], Any],
    shown: Callable[[Any], str],
) -> str:
    then = " as expected before |" if earlier else ""
    lines = [
        f"| {title} | tried |{then} as expected | seconds |",
        "|---" * (4 + bool(earlier)) + "|",
    ]
    groups = [(shown(k), list(g)) for k, g in groupby(sorted(outcomes, key=key), key)]
    for name, found in [*groups, ("all", list(outcomes))]:
        was = sum(earlier.get(x["name"], False) for x in found)
        cell = f" {was} |" if earlier else ""
        due, seconds = sum(not x["deviations"] for x in found), sum(x["seconds"] for x in found)
        lines.append(f"| {name} | {len(found)} |{cell} {due} | {seconds:.0f} |")
    return "\n".join([*lines, ""])
