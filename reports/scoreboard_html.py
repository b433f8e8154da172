"""The scoreboard as one self-contained HTML page without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from conformance.reports.page import render_page
from conformance.reports.scoreboard import BackendColumn, Board, ScoreCell

MAX_FAILURES = 100
"""Failures listed of one backend."""

_NARROW = "\u202f"


def render(board: Board) -> str:
    """Render a scoreboard as HTML that needs no other file, no network and no script.

    The same board gives the same page, and the text always encodes as UTF-8.
    """
    return render_page(
        "scoreboard.html",
        ("base", "media", "scoreboard"),
        (),
        board=board,
        identity=board.identity,
        headings=_headings(board.columns),
        identities=[_environment(column) for column in board.columns],
        rows=[
            (layer, [column.cells[k] for column in board.columns])
            for k, layer in enumerate(board.layers)
        ],
        totals=[column.total for column in board.columns],
        failing=_failure_counts,
        percent=percent,
        width=width,
        listed=MAX_FAILURES,
    )


def percent(share: Fraction) -> str:
    """Format a share from 0 to 1 as a percentage; 0 % and 100 % appear only if they are exact."""
    if share in (0, 1):
        return f"{int(share) * 100}{_NARROW}%"
    number = min(max(float(share) * 100, 0.1), 99.9)
    return f"{number:.1f}{_NARROW}%"


def width(share: Fraction) -> str:
    """The width of a bar for a share; any share above zero is visible."""
    return f"{0 if share == 0 else max(float(share) * 100, 1):.4g}"


def _failure_counts(cell: ScoreCell) -> str:
    """The numbers of failures and of known failures, in words."""
    parts = []
    if cell.failures:
        parts.append(f"{len(cell.failures)} failure{'' if len(cell.failures) == 1 else 's'}")
    if cell.known:
        parts.append(f"{len(cell.known)} known")
    return " · ".join(parts)


def _headings(columns: Sequence[BackendColumn]) -> list[tuple[str, str]]:
    """For each column the backend's name, and facts that distinguish it: version and device."""
    headings = []
    for column in columns:
        twins = [c for c in columns if c.backend == column.backend and c is not column]
        facts = _facts(column)
        differs = [
            f"{name} {value}"
            for name, value in facts.items()
            if any(_facts(twin).get(name) != value for twin in twins)
        ]
        version = facts.get(column.backend) or facts.get("version")
        notes = differs[:2] or ([version] if version and not twins else [])
        headings.append((column.backend, " · ".join([*notes, column.device])))
    return headings


def _facts(column: BackendColumn) -> dict[str, str]:
    who = column.identity
    return {"torch": who.torch or "not installed", **{str(k): str(v) for k, v in who.info.items()}}


def _environment(column: BackendColumn) -> list[tuple[str, str]]:
    """The environment that a backend's results come from, as (term, value) pairs."""
    who = column.identity
    numerics = [
        f"{dtype}: " + (", ".join(f"{k} = {v}" for k, v in deviations.items()) or "as IEEE 754")
        for dtype, deviations in column.numerics.items()
    ]
    assert column.total is not None
    stopped = [v for p in column.parts for v in p.verdicts if v.examples.stopped]
    starts = ", ".join(part.identity.started for part in column.parts)
    gaps = [*column.gaps]
    if column.total.run < column.total.items:
        gaps.append(f"{column.total.items - column.total.run} items of the space were not run")
    return [
        ("device", column.device),
        *((str(k), str(v)) for k, v in who.info.items()),
        *([] if "torch" in who.info else [("torch", who.torch or "not installed")]),
        ("NumPy", who.numpy),
        ("Hypothesis", who.hypothesis),
        ("Python", who.python),
        ("OS", who.os),
        ("CPU", who.cpu),
        ("dtypes", ", ".join(column.dtypes)),
        ("numerics declared", "; ".join(numerics) or "not recorded"),
        ("runs", f"{len(column.parts)}, started {starts}"),
        *([("stopped by budget", f"{len(stopped)} items")] if stopped else []),
        ("incomplete", "; ".join(gaps) or "no"),
    ]
