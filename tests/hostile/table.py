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
OutcomeRecord = Mapping[str, Any]


def render(outcomes: Sequence[OutcomeRecord], before: Sequence[OutcomeRecord] = ()) -> str:
    """Render outcomes as Markdown.

    Args:
        outcomes: outcomes as `run.py` writes them.
        before: outcomes of an earlier version.
    """
    expected_before = {found["name"]: not found["deviations"] for found in before}
    parts = [
        _render_table("point", outcomes, expected_before, lambda x: x["point"], _point_text),
        _render_table(
            "theme",
            outcomes,
            expected_before,
            lambda x: x["theme"],
            lambda x: str(x).replace("_", " "),
        ),
    ]
    deviating = [
        f"- `{x['name']}`: {'; '.join(x['deviations'])}" for x in outcomes if x["deviations"]
    ]
    return "\n".join([*parts, *deviating, ""])


def _point_text(number: Any) -> str:
    return f"{number} {POINTS[number]}"


def _render_table(
    title: str,
    outcomes: Sequence[OutcomeRecord],
    earlier: Mapping[str, bool],
    key: Callable[[OutcomeRecord], Any],
    key_text: Callable[[Any], str],
) -> str:
    before_heading = " as expected before |" if earlier else ""
    lines = [
        f"| {title} | tried |{before_heading} as expected | seconds |",
        "|---" * (4 + bool(earlier)) + "|",
    ]
    groups = [(key_text(k), list(g)) for k, g in groupby(sorted(outcomes, key=key), key)]
    for name, group in [*groups, ("all", list(outcomes))]:
        count_before = sum(earlier.get(x["name"], False) for x in group)
        cell = f" {count_before} |" if earlier else ""
        as_expected, seconds = (
            sum(not x["deviations"] for x in group),
            sum(x["seconds"] for x in group),
        )
        lines.append(f"| {name} | {len(group)} |{cell} {as_expected} | {seconds:.0f} |")
    return "\n".join([*lines, ""])
