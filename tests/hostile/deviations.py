"""Deviations of the exit status, output and verdicts from the expected outcome."""

from __future__ import annotations

import fnmatch
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hostile.entry import NEVER, Due

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that no output may have: controls, and those that change the direction of text."""
LARGEST = 4 << 20
"""Maximum number of bytes of a results file."""


def deviations(due: Due, code: int, output: str, results: Path) -> Iterator[str]:
    """Compare a run with its expected outcome, and describe each deviation.

    Args:
        due: the expected outcome.
        code: the exit status.
        output: stdout and stderr together.
        results: the path of the results file, which the entry need not write.
    """
    codes = (due.code,) if isinstance(due.code, int) else due.code
    if code not in codes:
        yield f"exit status {code}, expected {' or '.join(map(str, codes))}"
    for pattern in due.says:
        if not re.search(pattern, output):
            yield f"output lacks {pattern!r}"
    for pattern in filter(None, (NEVER, due.never)):
        if match := re.search(pattern, output):
            yield f"output has {match[0][:60]!r}"
    if match := UNPRINTABLE.search(output):
        yield f"output has an unprintable {match[0]!r}"
    if len(output) > due.longest:
        yield f"output of {len(output):,} characters, expected at most {due.longest:,}"
    if (due.verdicts or due.others) and code in (0, 1):
        yield from _verdicts(due, results)


def _verdicts(due: Due, results: Path) -> Iterator[str]:
    if not results.exists():
        yield "no results"
        return
    if results.stat().st_size > LARGEST:
        yield f"results of {results.stat().st_size:,} bytes"
        return
    try:
        lines = [json.loads(line) for line in results.read_bytes().splitlines()]
    except ValueError as error:
        yield f"results that cannot be read: {error}"
        return
    found = [line for line in lines if line.get("kind") == "verdict"]
    count = Counter(str(line.get("id")) for line in found)
    if sorted(count.elements()) != sorted(lines[0].get("items", ())):
        wanted = ", ".join(lines[0].get("items", ()))
        yield f"verdicts of {dict(count)}, expected one of each of {wanted}"
    yield from _unlike(due, found)


def _unlike(due: Due, found: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Describe expected verdicts that are missing, and other verdicts with a wrong status."""
    explained: set[int] = set()
    for glob, pattern in due.verdicts.items():
        matching = {
            place
            for place, line in enumerate(found)
            if fnmatch.fnmatchcase(str(line["id"]), glob)
            and re.match(pattern, f"{line['status']}: {line.get('message', '')}", re.DOTALL)
        }
        if not matching:
            yield f"no verdict of {glob} is {pattern!r}"
        explained |= matching
    for place, line in enumerate(found):
        if due.others and place not in explained and line["status"] != due.others:
            message = str(line.get("message", ""))[:200]
            yield f"{line['id']} is {line['status']}, expected {due.others}: {message}"
