"""Docstrings as Markdown: what they say, and nothing that Markdown would take for markup."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

_CODE = re.compile(r"(`[^`]*`)")
_MARKUP = re.compile(r"([\\*_<>\[\]|$])")
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):\s*$", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(\w[\w, ]*):\s+(.*?)(?=^ {4}\w|\Z)", re.MULTILINE | re.DOTALL)


def escaped(text: str) -> str:
    """Text in which Markdown finds no markup but code."""
    parts = _CODE.split(text)
    return "".join(x if k % 2 else _MARKUP.sub(r"\\\1", x) for k, x in enumerate(parts))


def filled(head: str, parts: Mapping[str, str]) -> str:
    """A page that is written by hand, with what is made in the places that it names.

    Args:
        head: the page; `<!-- NAME -->` is a place, and stands there once.
        parts: by name.

    Raises:
        ValueError: for a place that is not there, or twice.
    """
    for name, text in parts.items():
        mark = f"<!-- {name} -->"
        if head.count(mark) != 1:
            raise ValueError(f"expected one {mark}")
        head = head.replace(mark, text)
    return head


def code(text: str) -> str:
    """Inline code, also of what holds a backtick, or a bar in a cell of a table."""
    text = " ".join(text.split()).replace("|", "\\|")
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def said(of: Any) -> str:
    """The docstring of a function or class, without its lists of arguments and errors."""
    while isinstance(of, partial):
        of = of.func
    text = inspect.getdoc(of) or ""
    return _SECTION.split(text, maxsplit=1)[0].strip()


def paragraphs(text: str) -> str:
    """A docstring's paragraphs as Markdown; what it indents stays as it is."""
    found = []
    for block in re.split(r"\n\s*\n", text):
        indented = all(line.startswith("    ") for line in block.splitlines())
        found.append(f"```text\n{inspect.cleandoc(block)}\n```" if indented else escaped(block))
    return "\n\n".join(found)


def sentence(text: str) -> str:
    """Text with a capital first and a full stop last."""
    text = " ".join(text.split())
    if re.match(r"[a-z]+\b(?![_ ]*[=·(_])", text):  # no formula, and no name
        text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?:" else f"{text}."


@cache
def _meanings(of: type) -> Mapping[str, str]:
    text = inspect.getdoc(of) or ""
    _, _, rest = text.partition("\nArgs:\n")
    rest = _SECTION.split(rest, maxsplit=1)[0]
    found = {}
    for names, meaning in _ENTRY.findall(rest):
        for name in names.split(","):
            found[name.strip()] = " ".join(meaning.split())
    return found


def meanings(of: type) -> Mapping[str, str]:
    """What a class's docstring says of each of its fields.

    Args:
        of: a class whose docstring has a list `Args:`.
    """
    return _meanings(of)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
