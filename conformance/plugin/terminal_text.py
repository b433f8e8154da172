"""Lines of the terminal: no wider than it, and each with a style."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.model.plain_text import visible

HEADING = "heading"
TIED = "\u00a0"
"""A space at which no line is broken."""


@dataclass(frozen=True)
class Line:
    """A line of the terminal.

    Args:
        text: without line feeds.
        style: the status that it tells of, or `HEADING`; empty for plain text.
    """

    text: str
    style: str = ""


def columns() -> int:
    """Columns of the terminal; 80 where there is none."""
    return shutil.get_terminal_size().columns


def wrapped(text: str, width: int, indent: str = "  ") -> Sequence[str]:
    """Text in lines that are not wider than the terminal.

    Args:
        text: anything; what cannot be seen is shown or left out.
        width: columns of the terminal.
        indent: of all lines but the first.
    """
    lines = textwrap.wrap(
        visible(text), width, subsequent_indent=indent[: max(width // 4, 1)],
        break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(TIED, " ") for line in lines] or [""]


def styled(text: str, width: int, indent: str = "  ", style: str = "") -> Sequence[Line]:
    """The same with a style.

    Args:
        text, width, indent: see `wrapped`.
        style: see `Line`.
    """
    return [Line(line, style) for line in wrapped(text, width, indent)]
