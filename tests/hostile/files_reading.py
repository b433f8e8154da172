"""Results files that are not text, not JSON, not a file, or incomplete."""

from __future__ import annotations

from hostile.entry import Entry, Expected
from hostile.making import (
    CHANGED,
    FAILED,
    FOOTER,
    HEADER,
    PASSED,
    VALID,
    conformance_command,
    lines,
)

BAD = "bad.jsonl"
COMMANDS = {
    "render": ("render", BAD, "-o", "out.html"),
    "scoreboard": ("scoreboard", BAD, "-o", "out.html"),
    "bug-report": ("bug-report", BAD, "ReLU-values-float32-cpu"),
    "merge": ("merge", "good.jsonl", BAD, "-o", "out.jsonl"),
    "compare": ("compare", "good.jsonl", BAD, "-o", "out.html"),
    "badge": ("badge", BAD, "-o", "out.svg"),
    "summary": ("summary", BAD),
    "verify": ("verify", BAD),
    "replay": ("replay", BAD, "ReLU-values-float32-cpu"),
    "known": ("known", BAD, "--write", "out.toml"),
    "exhaustive": ("exhaustive", BAD, "--table", "out.md"),
}
"""Each command that reads results, called with a bad file."""
UNREADABLE: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ""),
    "binary": (bytes(range(256)) * 40, ""),
    "no-json": ("so it goes\n" * 3, "line 1"),
    "an-array": ("[1, 2, 3]\n", "line 1"),
    "a-number": ("12345\n", "line 1"),
    "deep-brackets": ("[" * 100_000 + "]" * 100_000 + "\n", "line 1"),
    "deep-tables": ('{"a":' * 100_000 + "1" + "}" * 100_000 + "\n", "line 1"),
    "utf-16": (VALID.encode("utf-16"), ""),
    "no-header": (lines(PASSED, FAILED, FOOTER), ""),
    "html": ("<!DOCTYPE html>\n<html><body>404</body></html>\n", "line 1"),
}
"""Unreadable files, and what the message says besides their name."""
SPECIAL = {
    "a-folder": "import os; os.mkdir('bad.jsonl')",
    "a-fifo": "import os; os.mkfifo('bad.jsonl')",
    "zeros": "import os; os.symlink('/dev/zero', 'bad.jsonl')",
    "a-loop": "import os; os.symlink('bad.jsonl', 'bad.jsonl')",
    "a-socket": "import socket; socket.socket(socket.AF_UNIX).bind('bad.jsonl')",
    "missing": "",
}
"""Paths that are not regular files, and the code that makes them."""
NOTHING_NEW = r"a new file: \./out|" + CHANGED
"""After an error there must be no output file."""


def _entry(
    kind: str, command: str, files: dict, patterns: tuple[str, ...], prepare: str = ""
) -> Entry:
    codes = (1, 2) if command == "verify" else 2
    return Entry(
        f"{command}-{kind}",
        16,
        {"good.jsonl": VALID, **files},
        conformance_command(*COMMANDS[command], prepare=prepare),
        Expected(codes, (r"bad\.jsonl", *patterns), never=NOTHING_NEW),
        seconds=10,
    )


def _unreadable_entries() -> list[Entry]:
    """Every kind with some commands, every command with some kinds."""
    kinds_for_all = ("empty", "deep-brackets")
    entries = []
    for kind, (content, says) in UNREADABLE.items():
        commands = COMMANDS if kind in kinds_for_all else ("verify", "merge")
        for command in commands:
            if (kind, command) == ("empty", "exhaustive"):
                continue  # without lines the command makes an empty table
            entries.append(_entry(kind, command, {BAD: content}, (says,) if says else ()))
    for kind, prepare in SPECIAL.items():
        commands = COMMANDS if kind in ("a-fifo",) else ("verify", "render")
        entries += [_entry(kind, command, {}, (), prepare) for command in commands]
    return entries


def _partly_readable_entry(
    name: str, content: str | bytes, code: int | tuple[int, ...], *patterns: str
) -> Entry:
    """An entry that verifies a file that can be read in part."""
    expected = Expected(code, patterns, never=CHANGED)
    return Entry(
        f"verify-{name}", 15, {BAD: content}, conformance_command("verify", BAD), expected, 20
    )


def _cut_short_entries() -> list[Entry]:
    """Entries of a run that was cut short: readable, and reported as incomplete."""
    cut_text = VALID[: VALID.index('"kind": "footer"') + 30]
    entries = []
    for command in ("render", "summary", "badge", "compare", "scoreboard", "bug-report"):
        status = int(command in ("summary", "badge", "compare"))  # as of a run with failures
        expected = Expected(
            status, () if command != "summary" else ("(?i)incomplete|cut short",), CHANGED
        )
        files = {"good.jsonl": VALID, BAD: cut_text}
        command_line = conformance_command(*COMMANDS[command])
        entries.append(Entry(f"{command}-cut-short", 0, files, command_line, expected, 20))
    merge_command = conformance_command("merge", BAD, "-o", "out.jsonl")
    expected = Expected(1, ("(?i)incomplete|cut short|last line",), CHANGED)
    return [*entries, Entry("merge-cut-short", 0, {BAD: cut_text}, merge_command, expected, 20)]


ENTRIES = (
    *_unreadable_entries(),
    *_cut_short_entries(),
    _partly_readable_entry("valid", VALID, 0, ": valid"),
    _partly_readable_entry("crlf", VALID.replace("\n", "\r\n"), 0, ": valid"),
    _partly_readable_entry("no-end-of-line", VALID.rstrip("\n"), 0, ": valid"),
    _partly_readable_entry("blank-lines", VALID.replace("\n", "\n\n"), 0, ": valid"),
    _partly_readable_entry("byte-order-mark", "\ufeff" + VALID, (0, 1, 2), "valid|line 1"),
    _partly_readable_entry(
        "bad-utf-8", VALID.encode().replace(b"ReLU-s", b"Re\xff\xfeU-s"), (1, 2), "line [12]"
    ),
    _partly_readable_entry(
        "nul-bytes", VALID.encode().replace(b'"tiny"', b'"ti\0ny"'), (1, 2), "line 1"
    ),
    _partly_readable_entry("nul-lines", VALID + "\0" * 4096, 1, "line 5"),
    _partly_readable_entry("truncated", VALID[:-40], 1, "line 4"),
    _partly_readable_entry(
        "cut-in-the-middle", lines(HEADER, '{"kind": "verd', FAILED, FOOTER), 1, "line 2"
    ),
    _partly_readable_entry("two-on-a-line", VALID.replace("}\n{", "}{", 2), (1, 2), "line [12]"),
    _partly_readable_entry(
        "text-between", lines(HEADER, PASSED, "Aborted", FAILED, FOOTER), 1, "line 3"
    ),
    _partly_readable_entry(
        "unknown-kind", lines(HEADER, PASSED, FAILED, {"kind": "ad"}, FOOTER), 1, "line 4.*ad"
    ),
    _partly_readable_entry(
        "kind-is-a-list", lines(HEADER, PASSED, FAILED, {"kind": [1]}, FOOTER), 1, "line 4"
    ),
    _partly_readable_entry(
        "no-kind", lines(HEADER, PASSED, FAILED, {"id": "x"}, FOOTER), 1, "line 4"
    ),
)
