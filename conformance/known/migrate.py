"""Migrate files of known failures to the current form, in which pinned cases name tensors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conformance.known.entry import MOST, parse
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.files import read_text, write_whole

_PINNED = re.compile(r"^case = '''(.*)'''$", re.MULTILINE)


def rewritten(text: str) -> str:
    """Encode each pinned case in a file's text again, and leave all else unchanged.

    Args:
        text: TOML with each pinned case on one line.
    """

    def anew(found: re.Match[str]) -> str:
        case = encode_case(decode_case(json.loads(found[1])))
        return f"case = '''{json.dumps(case, ensure_ascii=False)}'''"

    return _PINNED.sub(anew, text)


def checked(path: Path, *, rewrite: bool = False) -> int:
    """Validate a file of known failures and return the number of its entries.

    Args:
        rewrite: also write the file if its pinned cases are in an older form.

    Raises:
        OSError, KnownError: if it cannot be read, or an entry is invalid.
    """
    text = read_text(path, MOST)
    entries = parse(text, path.name)
    new = rewritten(text) if rewrite else text
    if new != text:
        write_whole(path, new)
    return len(entries)
