"""Docstrings as Markdown, with characters escaped that Markdown would read as markup."""

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


def escape(text: str) -> str:
    """Escape everything in a text that Markdown would read as markup, except inline code."""
    parts = _CODE.split(text)
    return "".join(x if k % 2 else _MARKUP.sub(r"\\\1", x) for k, x in enumerate(parts))


def fill_placeholders(head: str, parts: Mapping[str, str]) -> str:
    """Insert generated parts into a hand-written page.

    Args:
        head: the page, with one placeholder `<!-- NAME -->` for each part.
        parts: name → text.

    Raises:
        ValueError: if a placeholder is missing or appears twice.
    """
    for name, text in parts.items():
        mark = f"<!-- {name} -->"
        if head.count(mark) != 1:
            raise ValueError(f"expected one {mark}")
        head = head.replace(mark, text)
    return head


def code(text: str) -> str:
    """Inline code, also for text with a backtick, or with a bar in a cell of a table."""
    text = " ".join(text.split()).replace("|", "\\|")
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def docstring_text(target: Any) -> str:
    """The docstring of a function or class, without its sections `Args:`, `Raises:` and so on."""
    while isinstance(target, partial):
        target = target.func
    text = inspect.getdoc(target) or ""
    return _SECTION.split(text, maxsplit=1)[0].strip()


def paragraphs(text: str) -> str:
    """The paragraphs of a docstring as Markdown; indented blocks become blocks of text."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        indented = all(line.startswith("    ") for line in block.splitlines())
        blocks.append(f"```text\n{inspect.cleandoc(block)}\n```" if indented else escape(block))
    return "\n\n".join(blocks)


def sentence(text: str) -> str:
    """Turn text into a sentence: capitalize it and end it with a full stop."""
    text = " ".join(text.split())
    if re.match(r"[a-z]+\b(?![_ ]*[=·(_])", text):  # A formula or a name keeps its case.
        text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?:" else f"{text}."


@cache
def _meanings(cls: type) -> Mapping[str, str]:
    text = inspect.getdoc(cls) or ""
    _, _, arguments = text.partition("\nArgs:\n")
    arguments = _SECTION.split(arguments, maxsplit=1)[0]
    meanings_by_name = {}
    for names, meaning in _ENTRY.findall(arguments):
        for name in names.split(","):
            meanings_by_name[name.strip()] = " ".join(meaning.split())
    return meanings_by_name


def field_meanings(cls: type) -> Mapping[str, str]:
    """The meaning of each field of a class, from the section `Args:` of its docstring."""
    return _meanings(cls)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
