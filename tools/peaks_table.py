"""torch's largest errors beside their bounds, by layer: `docs/data/peaks.json` from results files.

    python tools/peaks_table.py results-*.jsonl

A layer stays as it was measured before where the results lack it. A bound four times as wide as the
largest error is too wide, or has a reason: a layer without one in `REASONS` is an error.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from measured import DATA, read, table, write

from conformance.layers import CATALOGUE

DATA_FILE = DATA / "peaks.json"
DTYPES = ("float32", "float64", "float16", "bfloat16")
CHECKS = ("values", "gradients")
COLUMNS = tuple(f"{check} {dtype}" for check in CHECKS for dtype in DTYPES)
MIN_RATIO = 0.25
"""The least share of a bound that torch's errors should reach."""
NAMED = 6
"""Layers with a reason that are named; more are counted."""

REASONS: Sequence[tuple[str, str, str]] = (
    (
        "*",
        "float64",
        "float64: the oracle rounds as torch does, and its own rounding is in the bound",
    ),
    ("*anh", "float32", "tanh may err 2.5 units, as in other vector libraries; torch's errs 0.5"),
    ("*og*igmoid", "float32", "exp and log1p may err 2 units each; torch's err 0.6"),
    ("*oft*argin*", "float32", "exp and log1p may err 2 units each; torch's err 0.6"),
    ("*_with_logits", "bfloat16", "three ways of adding up the page's sum are in the bound"),
    ("*ctc_loss", "float32", "errors of all steps add up in the bound, and cancel in a run"),
    ("*alpha_dropout", "float32", "three constants of many digits, each rounded to the dtype"),
)
"""Glob of layers, glob of dtypes, and why their bound is wide."""

Peaks = dict[str, dict[str, float]]


def largest_ratios(lines: Iterable[str]) -> Peaks:
    """The largest error ÷ bound by layer, then by check and dtype.

    Args:
        lines: lines of results files.
    """
    peaks_by_layer: Peaks = defaultdict(dict)
    for line in lines:
        verdict: dict[str, Any] = json.loads(line)
        if verdict.get("kind") != "verdict" or not verdict.get("comparisons"):
            continue
        key = f"{verdict['check']} {verdict['dtype']}"
        if key in COLUMNS and verdict.get("margin") is not None:
            ratios = peaks_by_layer[verdict["layer"]]
            ratios[key] = round(max(ratios.get(key, 0.0), verdict["margin"]), 4)
    return dict(peaks_by_layer)


def reasons(layer: str, row: Mapping[str, float]) -> list[str]:
    """Why bounds of a layer are wider than four times its largest error.

    Args:
        layer: the layer's name.
        row: its entry in `largest_ratios`; 0 means that nothing rounded.

    Raises:
        KeyError: if `REASONS` has no reason.
    """
    found: dict[str, None] = {}
    for place, largest in row.items():
        if not 0 < largest < MIN_RATIO:
            continue
        dtype = place.split()[1]
        known = (
            why for name, of, why in REASONS if fnmatchcase(dtype, of) and fnmatchcase(layer, name)
        )
        why = next(known, None)
        if why is None:
            raise KeyError(f"{layer} {place}: no reason for a bound of {1 / largest:.1f} errors")
        found[why] = None
    return list(found)


def measured() -> Peaks:
    """The largest errors that are kept, by layer in the order of the catalogue."""
    layers: Peaks = read(DATA_FILE)["layers"]
    return {layer: layers[layer] for layer in CATALOGUE if layer in layers}


def main(paths: list[str]) -> None:
    """Put what results files show in place of what is kept of their layers."""
    lines = (line for path in paths for line in Path(path).read_text("utf-8").splitlines())
    lines_by_layer = {**measured(), **largest_ratios(lines)}
    for layer, row in lines_by_layer.items():
        reasons(layer, row)
    ordered = {layer: lines_by_layer[layer] for layer in CATALOGUE if layer in lines_by_layer}
    write(DATA_FILE, "tools/peaks_table.py", {"layers": ordered})


def section() -> str:
    """The section of `docs/evidence.md`: by family the nearest layer, and why bounds are wider."""
    families: dict[str, list[dict[str, float]]] = {}
    wider: dict[str, list[str]] = {}
    for layer, row in measured().items():
        families.setdefault(CATALOGUE[layer].family, []).append(row)
        for why in reasons(layer, row):
            wider.setdefault(why, []).append(layer)
    rows = [[family, len(ours), *_nearest(ours)] for family, ours in families.items()]
    return f"""\
The largest error ÷ bound of torch's elements in passing cases: of the nearest layer of a family, in
values and in gradients. 1 is as near as can be, 0 means no difference, and – that nothing had a
bound.

{table(("family", "layers", *DTYPES), rows)}

A bound should be at most four times the largest error. Where it is wider there is a reason:

{chr(10).join(_reason_lines(wider))}

`python tools/peaks_table.py RESULTS.jsonl` takes layers anew from a run of torch at the standard
profile."""


def _nearest(rows: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """The largest numbers of a family in each dtype: values, gradients."""
    for dtype in DTYPES:
        yield ", ".join(
            _number(max((row[place] for row in rows if place in row), default=None))
            for place in (f"{check} {dtype}" for check in CHECKS)
        )


def _number(share: float | None) -> str:
    return "–" if share is None else f"{share:.2f}"


def _reason_lines(wider: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for why, layers in wider.items():
        names = ", ".join(f"`{layer}`" for layer in layers)
        yield f"- {why} ({names if len(layers) <= NAMED else f'{len(layers)} layers'})"


def full_page() -> str:
    """The site's page with a row for each layer."""
    rows = (
        [layer, *(_number(row.get(place)) for place in COLUMNS), "; ".join(reasons(layer, row))]
        for layer, row in measured().items()
    )
    lines = table(("layer", *COLUMNS, "why wider"), rows)
    return (
        "# Errors and bounds by layer\n\nFor those who ask how tight the bounds of a layer are.\n\n"
        f"The largest error ÷ bound of torch's elements in passing cases.\n\n{lines}\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
    import evidence

    evidence.write_page()
