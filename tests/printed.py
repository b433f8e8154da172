"""Whether what a script prints has the numbers of a failure's message."""

from __future__ import annotations

import re

_FACT = re.compile(r"^ +(got|wanted) +(.*)$", re.MULTILINE)
_ABRIDGED = re.compile(r"… \d+ more|of shape .*$")
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:inf|nan|\d+\.?\d*(?:e[-+]?\d+)?)(?![\w])")


def missing(message: str, printed: str) -> list[str]:
    """Numbers that a message says it got and wanted, and that are not printed.

    Args:
        message: of a failure.
        printed: by its script.
    """
    facts: dict[str, str] = {}
    for kind, rest in _FACT.findall(message):
        facts.setdefault(kind, _ABRIDGED.sub("", rest))
    there = [float(x) for x in _NUMBER.findall(printed.replace("−", "-"))]
    every = (x for text in facts.values() for x in _NUMBER.findall(text.replace("−", "-")))
    return [text for text in every if not any(_alike(text, x) for x in there)]


def told(source: str) -> str:
    """The message in the docstring of a script."""
    return source.partition('"""')[2].partition('"""')[0]


def _alike(text: str, x: float) -> bool:
    """Whether a number is the one that a message writes, to as many digits."""
    wanted = float(text)
    if wanted == x or (wanted != wanted and x != x):
        return True
    digits = len(text.lower().partition("e")[0].lstrip("-+0.").replace(".", ""))
    # A script prints arrays as NumPy does, to eight digits.
    return "." in text and abs(wanted - x) <= 0.51 * 10.0 ** (1 - min(digits, 7)) * abs(x)
