"""The scoreboard as one self-contained HTML page without scripts."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from . import summary
from .scoreboard import PARTLY, Board, Cell, Column
from .text import cut, grouped, visible

SHORT = 300
LISTED = 100
"""Failures listed of one backend."""

_NARROW = "\u202f"
_WORDS: Mapping[str, str] = {"passed": "conforms", "missing": "not run"}
_GLYPHS = {**summary.GLYPHS, PARTLY: "◐"}


def render(board: Board) -> str:
    """The page of a scoreboard; the same board gives the same page.

    Args:
        board: what to show.

    Returns:
        HTML that needs no other file, no network and no script, and always encodes as UTF-8.
    """
    environment = _environment()
    assert environment.loader is not None
    sheet = environment.loader.get_source(environment, "scoreboard.css")[0]
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    page = environment.get_template("scoreboard.html.j2").render(
        board=board,
        identity=board.identity,
        headings=_headings(board.columns),
        identities=[_identity(column) for column in board.columns],
        rows=[
            (layer, [column.cells[k] for column in board.columns])
            for k, layer in enumerate(board.layers)
        ],
        totals=[column.total for column in board.columns],
        glyphs=_GLYPHS,
        word=lambda status: _WORDS.get(status, status),
        failing=_failing,
        listed=LISTED,
        sheet=Markup(sheet),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
    )
    return page.encode("utf-8", "backslashreplace").decode()


def percent(share: Fraction) -> str:
    """A percentage that says 0 and 100 only where it means them.

    Args:
        share: from 0 to 1.
    """
    if share in (0, 1):
        return f"{int(share) * 100}{_NARROW}%"
    number = min(max(float(share) * 100, 0.1), 99.9)
    return f"{number:.1f}{_NARROW}%"


def width(share: Fraction) -> str:
    """A share as the width of a bar; what is not zero can be seen."""
    return f"{0 if share == 0 else max(float(share) * 100, 1):.4g}"


def _failing(cell: Cell) -> str:
    """How many failures, and how many known ones, in words."""
    parts = []
    if cell.failures:
        parts.append(f"{len(cell.failures)} failure{'' if len(cell.failures) == 1 else 's'}")
    if cell.known:
        parts.append(f"{len(cell.known)} known")
    return " · ".join(parts)


def _headings(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Name and what tells a backend from others of its name: version and device."""
    names = [column.backend for column in columns]
    found = []
    for column in columns:
        twins = [c for c in columns if c.backend == column.backend and c is not column]
        facts = _facts(column)
        differs = [
            f"{name} {value}"
            for name, value in facts.items()
            if any(_facts(twin).get(name) != value for twin in twins)
        ]
        version = facts.get(column.backend) or facts.get("version")
        told = differs[:2] or ([version] if version and names.count(column.backend) == 1 else [])
        found.append((column.backend, " · ".join([*told, column.device])))
    return found


def _facts(column: Column) -> dict[str, str]:
    who = column.identity
    return {"torch": who.torch or "not installed", **{str(k): str(v) for k, v in who.info.items()}}


def _identity(column: Column) -> list[tuple[str, str]]:
    """What a backend's numbers rest on."""
    who = column.identity
    numerics = [
        f"{dtype}: " + (", ".join(f"{k} = {v}" for k, v in said.items()) or "as IEEE 754")
        for dtype, said in column.numerics.items()
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


def _breakable(text: str) -> Markup:
    """A name as markup that may be broken after its dots."""
    return Markup(str(escape(visible(cut(text)))).replace(".", ".<wbr>"))


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("conformance.reports"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        cut=cut, grouped=grouped, percent=percent, width=width, breakable=_breakable
    )
    return environment


def _finalize(value: Any) -> Any:
    """Whatever a template prints is cut and made visible, unless it is markup already."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(cut(value, 4 * SHORT))
    return value
