"""Commands that join or compare several files, and names that match no verdict."""

from __future__ import annotations

from typing import Any

from hostile.entry import Entry, Expected
from hostile.making import (
    CHANGED,
    FAILED,
    FOOTER,
    HEADER,
    PASSED,
    TIMED,
    VALID,
    changed,
    conformance_command,
    lines,
    results,
)

FIRST = lines(
    changed(HEADER, shard="1/2", items=HEADER["items"][:1]),
    PASSED,
    {**FOOTER, "verdicts": 1, "counts": {"passed": 1}},
)
SECOND = lines(
    changed(HEADER, shard="2/2", items=HEADER["items"][1:]),
    FAILED,
    {**FOOTER, "verdicts": 1, "counts": {"failed": 1}},
)
PAIR = ("a.jsonl", "b.jsonl")
NEW_OR_CHANGED = CHANGED + r"|a new file: \./out"


def _two_files_entry(
    name: str,
    command: str,
    a: str,
    b: str,
    code: int | tuple[int, ...],
    *patterns: str,
    **fields: Any,
) -> Entry:
    files = dict(zip(PAIR, (a, b), strict=True))
    line = conformance_command(command, *PAIR, "-o", "out.html")
    return Entry(f"{command}-{name}", 17, files, line, Expected(code, patterns, **fields), 20)


def _unlike_entries(name: str, field: str, value: Any) -> list[Entry]:
    """Entries of two files of unlike runs, which cannot be merged, nor compared if it matters."""
    other_run = results(header={field: value})
    return [_two_files_entry(name, "merge", VALID, other_run, 2, field, never=NEW_OR_CHANGED)]


def _verdict_name_entry(
    command: str, name: str, *options: str, says: str = "", point: int = 0
) -> Entry:
    expected = Expected(2, (says,) if says else ())
    line = conformance_command(command, "b.jsonl", *options)
    return Entry(f"{command}-{name}", point, {"b.jsonl": VALID}, line, expected, 20)


NAMES = {
    "unknown-id": ("Conv2d-values-float32-cpu", "Conv2d"),
    "an-id-of-several": ("ReLU-*", "2 verdicts"),
    "empty-id": ("", ""),
    "id-of-5000-characters": ("R" * 5000, "RRR"),
    "id-of-escapes": ("\x1b[31mReLU\x07", "ReLU"),
    "id-of-other-direction": ("\u202eReLU", "ReLU"),
    "id-of-brackets": ("[" * 3000, ""),
}
ENTRIES = (
    _two_files_entry("shards", "merge", FIRST, SECOND, 1, "1 failed"),
    _two_files_entry("a-run-with-itself", "merge", VALID, VALID, 1, "1 failed"),
    _two_files_entry("a-shard-alone", "merge", FIRST, FIRST, 1, "2/2"),
    _two_files_entry(
        "shards-of-other-numbers", "merge", FIRST, results(header={"shard": "1/3"}), 2, "shard"
    ),
    _two_files_entry(
        "shard-x", "merge", FIRST, results(header={"shard": "x"}), 2, "shard", never=NEW_OR_CHANGED
    ),
    _two_files_entry(
        "shard-huge", "merge", FIRST, results(header={"shard": "1/1000000000"}), 2, "shard"
    ),
    _two_files_entry("shards-that-overlap", "merge", FIRST, VALID, (1, 2), "shard|1 failed"),
    *_unlike_entries("another-backend", "backend", "other"),
    *_unlike_entries("another-seed", "seed", 5),
    *_unlike_entries("another-total", "total", 9),
    *_unlike_entries("another-torch", "torch", None),
    _two_files_entry(
        "two-answers", "merge", VALID, results(failed={"status": "passed"}), (1, 2), "values"
    ),
    _two_files_entry(
        "shards-of-other-items", "compare", FIRST, SECOND, 2, "shard|items", never=NEW_OR_CHANGED
    ),
    _two_files_entry(
        "a-shard-and-the-whole", "compare", FIRST, VALID, 2, "shard|items", never=NEW_OR_CHANGED
    ),
    _two_files_entry(
        "shard-x",
        "compare",
        VALID,
        results(header={"shard": "x"}),
        2,
        "shard",
        never=NEW_OR_CHANGED,
    ),
    _two_files_entry(
        "another-seed",
        "compare",
        VALID,
        results(header={"seed": 7}),
        2,
        "seed",
        never=NEW_OR_CHANGED,
    ),
    _two_files_entry(
        "another-profile", "compare", VALID, results(header={"profile": "x"}), 2, "profile"
    ),
    _two_files_entry(
        "nothing-in-common",
        "compare",
        VALID,
        lines(
            changed(HEADER, items=["GELU-values-float32-cpu"], total=1),
            changed(PASSED, id="GELU-values-float32-cpu", layer="GELU", check="values"),
            {**FOOTER, "verdicts": 1, "counts": {"passed": 1}},
        ),
        (1, 2),
        "(?i)item|common|nothing",
    ),
    _two_files_entry(
        "a-header-alone", "compare", VALID, lines(HEADER), (1, 2), "(?i)incomplete|verdict|cut"
    ),
    _two_files_entry(
        "timed-and-not-timed",
        "compare",
        lines(HEADER, PASSED, FAILED, TIMED, FOOTER),
        lines(HEADER, PASSED, FAILED, changed(TIMED, status="not timed", seconds=None), FOOTER),
        0,
    ),
    _two_files_entry(
        "shard-x",
        "scoreboard",
        VALID,
        results(header={"shard": "x"}),
        2,
        "shard",
        never=NEW_OR_CHANGED,
    ),
    _two_files_entry("the-same-twice", "scoreboard", VALID, VALID, (0, 2)),
    *(
        _verdict_name_entry(command, name, text, says=says)
        for name, (text, says) in NAMES.items()
        for command in ("bug-report", "replay")
    ),
    _verdict_name_entry("bug-report", "cause-0", "ReLU-values", "--cause", "0", says="cause"),
    _verdict_name_entry("bug-report", "cause-99", "ReLU-values", "--cause", "99", says="cause"),
    _verdict_name_entry(
        "bug-report", "cause-negative", "ReLU-values", "--cause", "-1", says="cause"
    ),
    _verdict_name_entry("bug-report", "cause-a-word", "ReLU-values", "--cause", "x", says="cause"),
    _verdict_name_entry("bug-report", "known-0", "ReLU-values", "--known", "0", says="known"),
    _verdict_name_entry(
        "bug-report", "known-negative", "ReLU-values", "--known", "-3", says="known"
    ),
    _verdict_name_entry("bug-report", "known-99", "ReLU-values", "--known", "99", says="known"),
)
