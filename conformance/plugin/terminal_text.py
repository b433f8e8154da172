"""Lines of text that fit the terminal, each with a style."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.model.plain_text import visible

HEADING = "heading"
NO_BREAK_SPACE = "\u00a0"
"""A space at which a line must not break."""


@dataclass(frozen=True)
class Line:
    """A line of the terminal.

    Args:
        text: the text, without line feeds.
        style: a status or `HEADING`; empty for plain text.
    """

    text: str
    style: str = ""


def terminal_width() -> int:
    """Columns of the terminal; 80 if there is no terminal."""
    return shutil.get_terminal_size().columns


def wrapped(text: str, width: int, indent: str = "  ") -> Sequence[str]:
    """Wrap text to a width; invisible characters are escaped or removed.

    Args:
        width: columns of the terminal.
        indent: prefix of all lines except the first.
    """
    lines = textwrap.wrap(
        visible(text), width, subsequent_indent=indent[: max(width // 4, 1)],
        break_on_hyphens=False,
    )  # fmt: skip
    return [line.replace(NO_BREAK_SPACE, " ") for line in lines] or [""]


def styled(text: str, width: int, indent: str = "  ", style: str = "") -> Sequence[Line]:
    """Wrap text as `wrapped` does, into lines of one style."""
    return [Line(line, style) for line in wrapped(text, width, indent)]
