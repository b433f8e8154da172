"""Results files with a field of a wrong type or value: `verify` names the line and the field."""

from __future__ import annotations

import json
from typing import Any

from hostile.entry import Entry, Expected
from hostile.making import (
    CHANGED,
    FAILED,
    FOOTER,
    GONE,
    HEADER,
    PASSED,
    TIMED,
    VALID,
    changed,
    conformance_command,
    lines,
    results,
)  # fmt: skip

PLACES = {
    "header": r"line 1\b|bad\.jsonl",
    "passed": r"line 2\b|ReLU-shape-float32-cpu",
    "failed": r"line 3\b|ReLU-values-float32-cpu",
    "footer": r"line 4\b|last line",
}
HUGE = 10**40
WRONG: tuple[tuple[str, str, str, Any], ...] = (
    ("schema-a-word", "header", "schema", "three"),
    ("schema-a-list", "header", "schema", [3]),
    ("schema-negative", "header", "schema", -1),
    ("schema-broken", "header", "schema", 3.5),
    ("suite-a-number", "header", "suite", 1),
    ("backend-null", "header", "backend", None),
    ("backend-empty", "header", "backend", ""),
    ("backend-a-table", "header", "backend", {"name": "tiny"}),
    ("info-a-list", "header", "info", ["a", "b"]),
    ("info-of-numbers", "header", "info", {"tiny": 1}),
    ("devices-a-string", "header", "devices", "cpu"),
    ("dtypes-of-numbers", "header", "dtypes", [32]),
    ("seed-a-word", "header", "seed", "lucky"),
    ("examples-negative", "header", "examples", -5),
    ("items-a-string", "header", "items", "ReLU-values-float32-cpu"),
    ("items-of-lists", "header", "items", [["ReLU"]]),
    ("total-negative", "header", "total", -1),
    ("total-huge", "header", "total", HUGE),
    ("options-nested", "header", "options", {"backend": {"a": "b"}}),
    ("git-a-string", "header", "git", "main"),
    ("layers-a-list", "header", "layers", [1]),
    ("catalogue-a-list", "header", "catalogue", [1]),
    ("catalogue-negative", "header", "catalogue", {"loss": -1}),
    ("id-null", "passed", "id", None),
    ("id-a-number", "passed", "id", 7),
    ("layer-a-list", "passed", "layer", ["ReLU"]),
    ("status-unknown", "passed", "status", "passedd"),
    ("status-empty", "passed", "status", ""),
    ("status-null", "passed", "status", None),
    ("status-gone", "passed", "status", GONE),
    ("examples-a-number", "passed", "examples", 5),
    ("drawn-negative", "passed", "examples__drawn", -2),
    ("checked-a-word", "passed", "examples__checked", "all"),
    ("unsupported-negative", "passed", "examples__unsupported", {"bfloat16": -3}),
    ("failed-negative", "failed", "examples__failed", -1),
    ("comparisons-negative", "passed", "comparisons", -6),
    ("comparisons-broken", "passed", "comparisons", 6.5),
    ("margin-a-word", "passed", "margin", "small"),
    ("margin-negative", "passed", "margin", -0.5),
    ("ulps-of-words", "passed", "ulps", {"exact": "many"}),
    ("ulps-words-as-powers", "passed", "ulps", {"a lot": 3}),
    ("ulps-negative", "passed", "ulps", {"exact": -3}),
    ("ratios-words-as-powers", "passed", "ratios", {"x": 3}),
    ("outcomes-nonsense", "passed", "outcomes", "2x"),
    ("outcomes-huge", "passed", "outcomes", "9999999999999p"),
    ("drawn-short", "passed", "drawn", {"inplace": {"values": ["False"], "cases": "07"}}),
    ("message-a-list", "failed", "message", ["wrong"]),
    ("case-a-string", "failed", "case", "ReLU()"),
    ("case-empty", "failed", "case", {}),
    ("case-without-data", "failed", "case__inputs__input__data", GONE),
    ("case-of-too-few-numbers", "failed", "case__inputs__input__shape", [1000, 1000]),
    ("case-of-negative-shape", "failed", "case__inputs__input__shape", [-1]),
    ("case-of-another-layer", "failed", "case__call__layer", "Linear"),
    ("needs-a-table", "failed", "needs", {"argument": "inplace"}),
    ("excess-a-word", "failed", "excess", "enormous"),
    ("seconds-negative", "passed", "seconds", -1.5),
    ("seconds-a-word", "passed", "seconds", "long"),
    ("counts-negative", "footer", "counts__passed", -1),
    ("counts-of-words", "footer", "counts__passed", "one"),
    ("counts-unknown-status", "footer", "counts__splendid", 3),
    ("verdicts-negative", "footer", "verdicts", -2),
    ("footer-seconds-negative", "footer", "seconds", -4.5),
    ("finished-a-number", "footer", "finished", 5),
)  # fmt: skip
"""Name, record, field, value."""
TIMES: tuple[tuple[str, str, Any], ...] = (
    ("seconds-a-word", "seconds", "quick"),
    ("seconds-negative", "seconds", -1.0),
    ("seconds-zero", "seconds", 0.0),
    ("seconds-null", "seconds", None),
    ("ratio-a-list", "ratio", [1.25]),
    ("ratio-negative", "ratio", -1.25),
    ("ratio-zero", "ratio", 0),
    ("ratio-huge", "ratio", 1e308),
    ("interval-reversed", "ratio_low", 9.0),
    ("status-a-number", "status", 5),
    ("rounds-negative", "rounds", -7),
)
BAD = "bad.jsonl"


def _field_entry(name: str, record: str, path: str, value: Any) -> Entry:
    code = (1, 2) if record == "header" else 1
    expected = Expected(code, (PLACES[record], path.split("__")[0]), never=CHANGED + "|: valid")
    content = results(**{record: {path: value}})
    return Entry(
        f"verify-{record}-{name}",
        15,
        {BAD: content},
        conformance_command("verify", BAD),
        expected,
        20,
    )


def _timing_entries(name: str, field: str, value: Any) -> list[Entry]:
    """Entries of a benchmark line with odd numbers: `verify` judges it, other commands show it."""
    files = {BAD: lines(HEADER, PASSED, FAILED, changed(TIMED, **{field: value}), FOOTER)}
    files["good.jsonl"] = lines(HEADER, PASSED, FAILED, TIMED, FOOTER)
    verify_expected = Expected(1, (r"line 4\b", field), never=CHANGED)
    entries = [
        Entry(
            f"verify-benchmark-{name}",
            16,
            files,
            conformance_command("verify", BAD),
            verify_expected,
            20,
        )
    ]
    if (field == "ratio" and value == 1e308) or value == 0:
        entries = []  # odd, but possible
    show_commands = {
        "render": conformance_command("render", BAD, "-o", "out.html"),
        "compare": conformance_command("compare", "good.jsonl", BAD, "-o", "out.html"),
    }
    return entries + [  # what is shown is the odd number, or its line's fault
        Entry(
            f"{command}-benchmark-{name}", 16, files, line, Expected((0, 1, 2), never=CHANGED), 20
        )
        for command, line in show_commands.items()
    ]


def _rewritten_entry(name: str, old: str, new: str, line: int) -> Entry:
    """An entry of a valid run with one text replaced, so that no JSON encoder would write it."""
    assert old in VALID
    expected = Expected((1, 2), (rf"line {line}\b|bad\.jsonl",), never=CHANGED + "|: valid")
    files = {BAD: VALID.replace(old, new, 1)}
    return Entry(f"verify-{name}", 16, files, conformance_command("verify", BAD), expected, 20)


DEEP = "[" * 100_000 + "]" * 100_000
ENTRIES = (
    *(_field_entry(*case) for case in WRONG),
    *(entry for case in TIMES for entry in _timing_entries(*case)),
    _rewritten_entry("comparisons-nan", '"comparisons": 6', '"comparisons": NaN', 2),
    _rewritten_entry("seconds-infinity", '"seconds": 1.5', '"seconds": Infinity', 2),
    _rewritten_entry("seconds-beyond-float", '"seconds": 1.5', '"seconds": 1e999', 2),
    _rewritten_entry("comparisons-huge", '"comparisons": 6', f'"comparisons": {"9" * 5000}', 2),
    _rewritten_entry("deep-arguments", '"arguments": {}', f'"arguments": {{"a": {DEEP}}}', 3),
    _rewritten_entry(
        "id-a-lone-surrogate", '"ReLU-shape-float32-cpu", "layer"', '"\\ud800", "layer"', 2
    ),
    Entry(
        "render-deep-arguments",
        16,
        {BAD: VALID.replace('"arguments": {}', f'"arguments": {{"a": {DEEP}}}')},
        conformance_command("render", BAD, "-o", "out.html"),
        Expected((0, 2), never=CHANGED),
        20,
    ),
    Entry(
        "verify-key-twice",
        15,
        {BAD: VALID.replace('"status": "failed"', '"status": "failed", "status": "passed"')},
        conformance_command("verify", BAD),
        Expected((1, 2), never=CHANGED + "|: valid"),
        20,
    ),
)
assert json.loads(VALID.splitlines()[0])["schema"] == 3
