"""Files of known failures brought to the present form: pinned cases name their tensors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conformance.known.entry import MOST, parse
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.files import read_text, write_whole

_PINNED = re.compile(r"^case = '''(.*)'''$", re.MULTILINE)


def rewritten(text: str) -> str:
    """A file's text with each pinned case written anew; all else stays as it is.

    Args:
        text: TOML, a pinned case on one line.
    """

    def anew(found: re.Match[str]) -> str:
        case = encode_case(decode_case(json.loads(found[1])))
        return f"case = '''{json.dumps(case, ensure_ascii=False)}'''"

    return _PINNED.sub(anew, text)


def checked(path: Path, *, rewrite: bool = False) -> int:
    """Check a file of known failures, and rewrite its pinned cases where that changes them.

    Args:
        rewrite: whether to write it.

    Returns:
        The number of its entries.

    Raises:
        OSError, KnownError: if it is no file of known failures.
    """
    text = read_text(path, MOST)
    entries = parse(text, path.name)
    new = rewritten(text) if rewrite else text
    if new != text:
        write_whole(path, new)
    return len(entries)
