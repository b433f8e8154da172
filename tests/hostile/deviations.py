"""Deviations of the exit status, output and verdicts from the expected outcome."""

from __future__ import annotations

import fnmatch
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hostile.entry import NEVER, Expected

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that no output may have: controls, and those that change the direction of text."""
LARGEST = 4 << 20
"""Maximum number of bytes of a results file."""


def find_deviations(expected: Expected, code: int, output: str, results: Path) -> Iterator[str]:
    """Compare a run with its expected outcome, and describe each deviation.

    Args:
        expected: the expected outcome.
        code: the exit status.
        output: stdout and stderr together.
        results: the path of the results file, which the entry need not write.
    """
    codes = (expected.code,) if isinstance(expected.code, int) else expected.code
    if code not in codes:
        yield f"exit status {code}, expected {' or '.join(map(str, codes))}"
    for pattern in expected.says:
        if not re.search(pattern, output):
            yield f"output lacks {pattern!r}"
    for pattern in filter(None, (NEVER, expected.never)):
        if match := re.search(pattern, output):
            yield f"output has {match[0][:60]!r}"
    if match := UNPRINTABLE.search(output):
        yield f"output has an unprintable {match[0]!r}"
    if len(output) > expected.longest:
        yield f"output of {len(output):,} characters, expected at most {expected.longest:,}"
    if (expected.verdicts or expected.others) and code in (0, 1):
        yield from _check_verdicts(expected, results)


def _check_verdicts(expected: Expected, results: Path) -> Iterator[str]:
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
    verdicts = [line for line in lines if line.get("kind") == "verdict"]
    count = Counter(str(line.get("id")) for line in verdicts)
    if sorted(count.elements()) != sorted(lines[0].get("items", ())):
        item_ids = ", ".join(lines[0].get("items", ()))
        yield f"verdicts of {dict(count)}, expected one of each of {item_ids}"
    yield from _find_unlike_verdicts(expected, verdicts)


def _find_unlike_verdicts(
    expected: Expected, verdicts: Sequence[Mapping[str, object]]
) -> Iterator[str]:
    """Describe expected verdicts that are missing, and other verdicts with a wrong status."""
    explained: set[int] = set()
    for glob, pattern in expected.verdicts.items():
        matching = {
            place
            for place, line in enumerate(verdicts)
            if fnmatch.fnmatchcase(str(line["id"]), glob)
            and re.match(pattern, f"{line['status']}: {line.get('message', '')}", re.DOTALL)
        }
        if not matching:
            yield f"no verdict of {glob} is {pattern!r}"
        explained |= matching
    for place, line in enumerate(verdicts):
        if expected.others and place not in explained and line["status"] != expected.others:
            message = str(line.get("message", ""))[:200]
            yield f"{line['id']} is {line['status']}, expected {expected.others}: {message}"
