"""Make foreign text safe for a terminal, a message and a file: printable, of bounded length."""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 2000
"""Characters that are kept of a text from a backend."""
_ANSI_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_PRINTABLE = re.compile(r"[\t\n -~]*")
_INVISIBLE_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """Make text safe to print.

    ANSI sequences are removed. Line feeds and tabs stay. Other control characters, format
    characters (direction overrides) and lone surrogates become escapes: `\\x00`, `\\u202e`.
    """
    if _PRINTABLE.fullmatch(text):
        return text
    text = _ANSI_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return "".join(map(_printable_character, text))


def bounded(text: str, max_length: int = MAX_LENGTH) -> str:
    """Make text printable and cut it after `max_length` characters.

    A cut text ends with a note of its original length.
    """
    if len(text) <= max_length:
        return visible(text)
    return f"{visible(text[:max_length])} … cut, {len(text):,} characters"


def _printable_character(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE_CATEGORIES:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
