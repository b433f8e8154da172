"""Migrate files of known failures to the current form, in which pinned cases name tensors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conformance.known.entry import MAX_FILE_BYTES, parse_entries
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.files import read_text, write_atomically

_PINNED = re.compile(r"^case = '''(.*)'''$", re.MULTILINE)


def rewrite_pinned_cases(text: str) -> str:
    """Encode each pinned case in a file's text again, and leave all else unchanged.

    Args:
        text: TOML with each pinned case on one line.
    """

    def reencode(match: re.Match[str]) -> str:
        case = encode_case(decode_case(json.loads(match[1])))
        return f"case = '''{json.dumps(case, ensure_ascii=False)}'''"

    return _PINNED.sub(reencode, text)


def check_file(path: Path, *, rewrite: bool = False) -> int:
    """Validate a file of known failures and return the number of its entries.

    Args:
        rewrite: also write the file if its pinned cases are in an older form.

    Raises:
        OSError, KnownError: if it cannot be read, or an entry is invalid.
    """
    text = read_text(path, MAX_FILE_BYTES)
    entries = parse_entries(text, path.name)
    new_text = rewrite_pinned_cases(text) if rewrite else text
    if new_text != text:
        write_atomically(path, new_text)
    return len(entries)
