"""Make foreign text safe for a terminal, a message and a file: printable, of bounded length."""

from __future__ import annotations

import re
import unicodedata

MOST = 2000
"""Characters that are kept of a text from a backend."""
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_PLAIN = re.compile(r"[\t\n -~]*")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """Make text safe to print.

    ANSI sequences are removed. Line feeds and tabs stay. Other control characters, format
    characters (direction overrides) and lone surrogates become escapes: `\\x00`, `\\u202e`.
    """
    if _PLAIN.fullmatch(text):
        return text
    text = _SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return "".join(map(_symbol, text))


def bounded(text: str, most: int = MOST) -> str:
    """Make text printable and cut it after `most` characters.

    A cut text ends with a note of its original length.
    """
    if len(text) <= most:
        return visible(text)
    return f"{visible(text[:most])} … cut, {len(text):,} characters"


def _symbol(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
