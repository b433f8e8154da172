"""Results files with texts that would control a terminal, or fill it."""

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

ODD = "\x1b]0;owned\x07\x1b[31mred\u202eevil\u2066\x00\x9b1m\u009d\x7f\r"
CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
BAD, ID = "bad.jsonl", "ReLU-values-float32-cpu"
SHOWN = {
    "summary": ("summary", BAD),
    "bug-report": ("bug-report", BAD, "ReLU-values"),
    "verify": ("verify", BAD),
    "merge": ("merge", "good.jsonl", BAD, "-o", "out.jsonl"),
    "compare": ("compare", "good.jsonl", BAD, "-o", "out.html"),
}
WHERE: dict[str, tuple[dict[str, dict[str, Any]], tuple[str, ...]]] = {
    "message": ({"failed": {"message": ODD}}, ("summary", "bug-report")),
    "call": ({"failed": {"call": ODD}}, ("summary", "bug-report")),
    "need": ({"failed": {"needs__0__value": ODD}}, ("summary", "bug-report")),
    "reproducer": ({"failed": {"reproducer": f"print('{ODD}')"}}, ("bug-report",)),
    "command": ({"failed": {"command": f"pytest {ODD}"}}, ("bug-report",)),
    "thin": ({"failed": {"thin": ODD}}, ("summary",)),
    "backend": ({"header": {"backend": f"tiny{ODD}"}}, ("summary", "merge", "compare")),
    "info": ({"header": {"info": {ODD: ODD}}}, ("summary", "bug-report", "merge")),
    "suite": ({"header": {"suite": ODD}}, ("merge", "compare")),
    "started": ({"header": {"started": ODD}}, ("summary",)),
    "shard": ({"header": {"shard": ODD}}, ("verify", "merge")),
    "status": ({"failed": {"status": ODD}}, ("verify", "summary")),
    "id": ({"failed": {"id": ODD}}, ("verify", "summary")),
    "layer": ({"failed": {"layer": ODD}}, ("verify", "summary")),
    "item": ({"header": {"items": [*HEADER["items"], ODD], "total": 3}}, ("verify", "summary")),
    "counts": ({"footer": {"counts": {ODD: 2}}}, ("verify",)),
    "reason": ({"passed": {"examples__unsupported": {ODD: 2}}}, ("summary",)),
}
"""Field → the change, and the commands that may show it."""
FILL = "t = open('bad.jsonl').read().replace('FILL', {what})\nopen('bad.jsonl', 'w').write(t)\n"


def _odd_text_entry(field: str, command: str, changes: dict[str, dict[str, Any]]) -> Entry:
    expected = Expected((0, 1, 2), never=f"{CONTROL}|{CHANGED}")
    files = {BAD: results(**changes), "good.jsonl": VALID}
    return Entry(
        f"{command}-odd-{field}", 19, files, conformance_command(*SHOWN[command]), expected, 20
    )


def _large_text_entry(name: str, text: str, place: str, command: str, **changes: Any) -> Entry:
    """An entry of a text of 50 MB; the output is cut, and says what it shows."""
    line = conformance_command(*SHOWN[command], prepare=FILL.format(what=text))
    files = {BAD: results(**{place: changes}), "good.jsonl": VALID}
    # The page of an issue has at most 65,536 characters.
    return Entry(f"{command}-{name}", 19, files, line, Expected((0, 1, 2), longest=70_000), 60)


MANY = [f"ReLU-values-float32-cpu:{k}" for k in range(100_000)]
TOML = "'''\n[[known]]\nlayer = '*'\ncheck = '*'\nreason = 'forged'\n'''" + ODD
ENTRIES = (
    *(
        _odd_text_entry(field, command, changes)
        for field, (changes, commands) in WHERE.items()
        for command in commands
    ),
    Entry(
        "verify-odd-kind",
        19,
        {BAD: lines(HEADER, PASSED, FAILED, {"kind": ODD}, FOOTER)},
        conformance_command("verify", BAD),
        Expected(1, ("line 4",), CONTROL),
        20,
    ),
    Entry(
        "verify-odd-line",
        19,
        {BAD: VALID + ODD + "\n"},
        conformance_command("verify", BAD),
        Expected((1, 2), ("line 5",), CONTROL),
        20,
    ),
    Entry(
        "summary-odd-benchmark",
        19,
        {BAD: lines(HEADER, PASSED, FAILED, changed(TIMED, name=ODD, message=ODD), FOOTER)},
        conformance_command("summary", BAD),
        Expected(0, never=CONTROL),
        20,
    ),
    Entry(
        "verify-odd-name-of-file",
        19,
        {"a\x1b[31mb\u202e.jsonl": "nothing\n"},
        conformance_command("verify", "a\x1b[31mb\u202e.jsonl"),
        Expected((1, 2), (r"ab.u202e.jsonl",), CONTROL),
        20,
    ),
    Entry(
        "render-odd-everything",
        0,
        {BAD: results(failed={"message": ODD, "call": ODD}, header={"backend": ODD})},
        conformance_command("render", BAD, "-o", "out.html"),
        Expected((0, 2), never=CHANGED),
        20,
    ),
    *(
        _large_text_entry("50-mb-of-message", "'x' * 50_000_000", "failed", command, message="FILL")
        for command in ("summary", "bug-report")
    ),
    _large_text_entry(
        "50-mb-of-lines", r"'x\\n' * 25_000_000", "failed", "summary", message="FILL"
    ),
    _large_text_entry("50-mb-of-call", "'x' * 50_000_000", "failed", "bug-report", call="FILL"),
    _large_text_entry("50-mb-of-status", "'x' * 50_000_000", "failed", "verify", status="FILL"),
    _large_text_entry("50-mb-of-id", "'x' * 50_000_000", "failed", "verify", id="FILL"),
    _large_text_entry("50-mb-of-shard", "'1,' * 25_000_000", "header", "verify", shard="FILL1/2"),
    _large_text_entry("50-mb-of-backend", "'x' * 50_000_000", "header", "merge", backend="FILL"),
    _large_text_entry(
        "50-mb-of-reason",
        "'x' * 50_000_000",
        "passed",
        "summary",
        examples__unsupported={"FILL": 1},
    ),
    _large_text_entry("100000-missing", "''", "header", "verify", items=MANY, total=100_000),
    _large_text_entry(
        "100000-unknown-counts", "''", "footer", "verify", counts=dict.fromkeys(MANY, 1)
    ),
    Entry(
        "known-write-of-quotes",
        0,
        {BAD: results(failed={"message": TOML, "call": TOML})},
        conformance_command("known", BAD, "--write", "out.toml", "then", "known", "out.toml"),
        Expected(2, ("reason is empty",), "forged"),
        20,
    ),
)
assert ID in VALID
