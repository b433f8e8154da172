"""Checks that a script prints the numbers of a failure's message."""

from __future__ import annotations

import re

_FACT = re.compile(r"^ +(got|wanted) +(.*)$", re.MULTILINE)
_ABRIDGED = re.compile(r"… \d+ more|of shape .*$")
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:inf|nan|\d+\.?\d*(?:e[-+]?\d+)?)(?![\w])")


def find_missing_numbers(message: str, printed: str) -> list[str]:
    """Find numbers in a failure's message, got or wanted, that its script does not print."""
    facts: dict[str, str] = {}
    for kind, fact_text in _FACT.findall(message):
        facts.setdefault(kind, _ABRIDGED.sub("", fact_text))
    printed_numbers = [float(x) for x in _NUMBER.findall(printed.replace("−", "-"))]
    message_numbers = (
        x for text in facts.values() for x in _NUMBER.findall(text.replace("−", "-"))
    )
    return [
        text
        for text in message_numbers
        if not any(_is_same_number(text, x) for x in printed_numbers)
    ]


def script_message(source: str) -> str:
    """The failure's message, read from the docstring of a script."""
    return source.partition('"""')[2].partition('"""')[0]


def _is_same_number(text: str, x: float) -> bool:
    """Whether a number agrees with the text of one in a message, to the digits of that text."""
    number = float(text)
    if number == x or (number != number and x != x):
        return True
    digits = len(text.lower().partition("e")[0].lstrip("-+0.").replace(".", ""))
    # A script prints arrays as NumPy does, to eight digits.
    return "." in text and abs(number - x) <= 0.51 * 10.0 ** (1 - min(digits, 7)) * abs(x)
