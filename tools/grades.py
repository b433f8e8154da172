"""Write the table of grades in docs/grades.md from results files, one file for each backend.

    python tools/grades.py torch.jsonl mlx.jsonl

A run has to have `values` and `gradients` of all layers in the dtypes of the table.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.reports import grades, results
from conformance.reports.results import Run
from conformance.reports.statuses import unique_verdicts
from contract_tables import shorten_dimensions

from conformance.model.case import Verdict

PAGE = Path(__file__).parents[1] / "docs" / "grades.md"
BEGIN, END = "<!-- grades -->", "<!-- end of grades -->"
DTYPES = ("float32", "bfloat16", "float16")
CHECKS = ("values", "gradients")


def grade_lines(runs: Sequence[Run]) -> Iterable[str]:
    """The lines of the table: layers × backends, and in each cell the letters of `DTYPES`.

    Layers of a family that have the same letters share a row.
    """
    names = [" ".join(_name(run)) for run in runs]
    families = {name: x.family for run in runs for name, x in run.identity.layers.items()}
    letters = [_letters_of_layers(run) for run in runs]
    layers_of = defaultdict[tuple[str, ...], list[str]](list)
    for layer, family in families.items():
        cells = [" ".join(by_dtype.get((layer, x), "·") for x in DTYPES) for by_dtype in letters]
        if any(set(cell) - {" ", "·"} for cell in cells):
            layers_of[family, *cells].append(layer)
    yield f"Each cell is for {', '.join(DTYPES)}; · where the backend offers nothing."
    yield ""
    yield f"| family | layers | {' | '.join(names)} |"
    yield f"|---|---|{'---|' * len(runs)}"
    order = list(dict.fromkeys(families.values()))
    for (family, *cells), layers in sorted(layers_of.items(), key=lambda x: order.index(x[0][0])):
        yield f"| {family} | {', '.join(shorten_dimensions(layers))} | {' | '.join(cells)} |"


def _letters_of_layers(run: Run) -> dict[tuple[str, str], str]:
    """The worst letter of the checks of a layer in a dtype."""
    verdicts = defaultdict[tuple[str, str], list[Verdict]](list)
    for verdict in unique_verdicts(run):
        if verdict.check in CHECKS:
            verdicts[verdict.layer, verdict.dtype].append(verdict)
    return {key: grades.letter(grades.worst_of(x)) or "·" for key, x in verdicts.items()}


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
