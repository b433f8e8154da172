"""Write the table of grades in docs/grades.md from results files, one file for each backend.

    python tools/grades.py torch.jsonl mlx.jsonl

A run has to have `values` and `gradients` of all layers in the dtypes of the table.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.reports import grades, results
from conformance.reports.results import Run
from conformance.reports.statuses import unique_verdicts

PAGE = Path(__file__).parents[1] / "docs" / "grades.md"
BEGIN, END = "<!-- grades -->", "<!-- end of grades -->"
DTYPES = ("float32", "bfloat16", "float16")
CHECKS = ("values", "gradients")


def grade_lines(runs: Sequence[Run]) -> Iterable[str]:
    """The lines of the table: families × backends, and in each cell the letters of `DTYPES`."""
    names = [" ".join(_name(run)) for run in runs]
    families = dict.fromkeys(facts.family for run in runs for facts in run.identity.layers.values())
    yield f"Each cell is for {', '.join(DTYPES)}; · where the backend offers nothing."
    yield ""
    yield f"| family | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(runs)}"
    for family in families:
        cells = [" ".join(_letter(run, family, dtype) for dtype in DTYPES) for run in runs]
        if any(set(cell) - {" ", "·"} for cell in cells):
            yield f"| {family} | {' | '.join(cells)} |"


def _letter(run: Run, family: str, dtype: str) -> str:
    verdicts = (
        verdict
        for verdict in unique_verdicts(run)
        if verdict.check in CHECKS
        and verdict.dtype == dtype
        and run.identity.layers[verdict.layer].family == family
    )
    return grades.letter(grades.worst_of(verdicts)) or "·"


def _name(run: Run) -> tuple[str, str]:
    who = run.identity
    return who.backend, who.info.get(who.backend, "")


def main(paths: Sequence[str]) -> None:
    """Replace the table of the page."""
    lines = grade_lines([results.read(Path(path)) for path in paths])
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text("\n".join([before + BEGIN, *lines, END + after]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
