"""Write `docs/peaks.md`, torch's largest error ÷ bound for each layer, from results files.

    python tools/peaks_table.py results-*.jsonl

A bound of more than four times the largest error needs a reason: a layer without one in `REASONS`
is an error.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from conformance.layers import CATALOGUE

PAGE = Path(__file__).parent.parent / "docs" / "peaks.md"
DTYPES = ("float32", "float64", "float16", "bfloat16")
CHECKS = ("values", "gradients")
COLUMNS = tuple((check, dtype) for check in CHECKS for dtype in DTYPES)
NEAR = 0.25
"""The least share of a bound that torch's errors should reach."""

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

HEAD = """# How near torch comes to its bounds

Written by `tools/peaks_table.py` from results of torch at the standard profile: the largest error
÷ bound of all elements in the cases that passed. The columns of `gradients` include the outputs of
the recorded call. 1 means that an error reached its bound; 0 that torch and the oracle rounded
alike; – that nothing was compared with a bound. If a number is below ¼, the last column says why
the bound is wider than four times the largest error. A layer's line comes from the latest results
that include it.
"""

Peaks = dict[str, dict[tuple[str, str], float]]


def peaks(lines: Iterable[str]) -> Peaks:
    """The largest error ÷ bound by layer, then by check and dtype.

    Args:
        lines: lines of results files.
    """
    found: Peaks = defaultdict(dict)
    for line in lines:
        verdict: dict[str, Any] = json.loads(line)
        if verdict.get("kind") != "verdict" or not verdict.get("comparisons"):
            continue
        place = verdict["check"], verdict["dtype"]
        if place[0] in CHECKS and verdict.get("margin") is not None:
            row = found[verdict["layer"]]
            row[place] = max(row.get(place, 0.0), verdict["margin"])
    return dict(found)


def reason(layer: str, row: Mapping[tuple[str, str], float]) -> str:
    """Why bounds of a layer exceed four times its largest error; empty if none does.

    Args:
        layer: the layer's name.
        row: its entry in `peaks`; 0 means that nothing rounded.

    Raises:
        KeyError: if `REASONS` has no reason.
    """
    found: dict[str, None] = {}
    for (check, dtype), largest in row.items():
        if not 0 < largest < NEAR:
            continue
        known = (
            why for name, of, why in REASONS if fnmatchcase(dtype, of) and fnmatchcase(layer, name)
        )
        why = next(known, None)
        if why is None:
            raise KeyError(
                f"{layer} {check} {dtype}: no reason for a bound of {1 / largest:.1f} errors"
            )
        found[why] = None
    return "; ".join(found)


def rows(found: Peaks) -> dict[str, str]:
    """The lines of the page's table, by layer.

    Args:
        found: the result of `peaks`.
    """
    lines = {}
    for layer, row in found.items():
        numbers = (f"{row[place]:.2f}" if place in row else "–" for place in COLUMNS)
        lines[layer] = f"| {layer} | " + " | ".join(numbers) + f" | {reason(layer, row)} |"
    return lines


def kept(page: str) -> dict[str, str]:
    """The table's lines on the present page, by layer; they stay if the results lack the layer.

    Args:
        page: the text of the page.
    """
    lines = (line for line in page.splitlines() if line.startswith("| "))
    found = {line.split("|")[1].strip(): line for line in lines}
    return {layer: line for layer, line in found.items() if layer in CATALOGUE}


def main(paths: list[str]) -> None:
    """Update the page from results files."""
    lines = (line for path in paths for line in Path(path).read_text("utf-8").splitlines())
    found = {**kept(PAGE.read_text("utf-8")), **rows(peaks(lines))}
    head = "| layer | " + " | ".join(f"{c} {d}" for c, d in COLUMNS) + " | why wider |"
    ordered = [found[layer] for layer in CATALOGUE if layer in found]
    table = "\n".join([head, "|---|" + "---|" * (len(COLUMNS) + 1), *ordered])
    PAGE.write_text(f"{HEAD}\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
