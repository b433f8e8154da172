"""Results files that name code for `replay`: only code that the user names runs."""

from __future__ import annotations

from typing import Any

from hostile.entry import Entry, Expected
from hostile.making import CASE, CHANGED, TINY, changed, conformance_command, results

EVIL = 'open("ran", "w").close()\nprint("THE CODE RAN")\n\n\ndef backend():\n    return 1\n'
RAN_OR_CHANGED = r"THE CODE RAN|\./ran|" + CHANGED
ID = "ReLU-values-float32-cpu"


def _replay_entry(
    name: str, content: str, expected: Expected, *options: str, point: int = 6, **fields: Any
) -> Entry:
    files = {"b.jsonl": content, "evil.py": EVIL, "tiny.py": TINY}
    line = conformance_command("replay", "b.jsonl", ID, *options)
    return Entry(f"replay-{name}", point, files, line, expected, fields.get("seconds", 60))


def _named_backend_entry(name: str, backend: str) -> Entry:
    """An entry whose file, but not the user, names a backend by module and attribute."""
    content = results(header={"options": {"backend": backend}})
    expected = Expected(2, ("--backend",), never=RAN_OR_CHANGED, longest=3000)
    return _replay_entry(name, content, expected, seconds=20)


def _wrong_case_entry(name: str, says: str = "case|input", **changes: Any) -> Entry:
    """An entry of an invalid case; the user names a backend of their own."""
    content = results(failed={"case": changed(CASE, **changes)})
    # A case that only the backend can refuse may also end as a failing case.
    expected = Expected(
        (1, 2) if says != "case|input" else 2, (says,), never=RAN_OR_CHANGED, longest=5000
    )
    return _replay_entry(f"case-{name}", content, expected, "--backend=tiny:backend", point=16)


def _backend_entry(name: str, value: str, *patterns: str) -> Entry:
    expected = Expected(2, patterns, never=RAN_OR_CHANGED, longest=3000)
    return _replay_entry(f"backend-{name}", results(), expected, f"--backend={value}")


ENTRIES = (
    _named_backend_entry("of-a-server", "http.server:test"),
    _named_backend_entry("of-code-in-the-folder", "evil:backend"),
    _replay_entry(
        "of-code-as-the-backend's-name",
        results(header={"backend": "evil:backend", "options": {}}),
        Expected(2, ("--backend",), RAN_OR_CHANGED, longest=3000),
        seconds=20,
    ),
    _named_backend_entry("of-abort", "os:abort"),
    _named_backend_entry("of-a-shell", "pty:spawn"),
    _named_backend_entry("of-the-python-that-asks", "builtins:breakpoint"),
    _named_backend_entry("of-a-path", "../../evil:backend"),
    _named_backend_entry("of-an-attribute-of-attributes", "evil:backend.__globals__"),
    _replay_entry(
        "of-an-escape",
        results(header={"options": {"backend": "\x1b[31mtiny\x07"}}),
        Expected(2, ("tiny",), longest=3000),
        seconds=20,
    ),
    _replay_entry(
        "of-the-user's-own", results(), Expected(0, ("passed",)), "--backend=tiny:backend"
    ),
    _replay_entry(
        "of-a-passed-verdict",
        results(failed={"status": "passed", "case": None}),
        Expected(2, (ID,), longest=3000),
        "--backend=tiny:backend",
    ),
    _replay_entry(
        "of-an-unknown-check",
        results(failed={"check": "nope", "id": "ReLU-nope-float32-cpu"}).replace(ID, "ReLU-nope"),
        Expected(2, ("nope|ReLU-values",), longest=3000),
        "--backend=tiny:backend",
    ),
    _backend_entry("empty", "", "backend"),
    _backend_entry("unknown", "nonsense", "nonsense"),
    _backend_entry("without-attribute", "tiny:", "tiny:"),
    _backend_entry("of-another-attribute", "tiny:nope", "nope"),
    _backend_entry("that-is-none", "math:pi", "math:pi"),
    _wrong_case_entry("unknown-layer", call__layer="ReLO", says="ReLO|layer"),
    _wrong_case_entry("unknown-dtype", call__dtype="float31", says="float31"),
    _wrong_case_entry("unknown-device", call__device="cuda:99", says="cuda:99"),
    _wrong_case_entry("negative-shape", inputs__input__shape=[-1]),
    _wrong_case_entry("huge-shape", inputs__input__shape=[10**12]),
    _wrong_case_entry("too-few-numbers", inputs__input__shape=[7, 7]),
    _wrong_case_entry("numbers-that-are-words", inputs__input__data=["one"]),
    _wrong_case_entry("dtype-of-objects", inputs__input__dtype="object"),
    _wrong_case_entry("dtype-nonsense", inputs__input__dtype="a4,(2)nope"),
    _wrong_case_entry("no-inputs", inputs={}),
    _wrong_case_entry("inputs-a-list", inputs=[1, 2]),
    _wrong_case_entry("unknown-layout", layouts={"input": "diagonal"}, says="layout|diagonal"),
    _wrong_case_entry("seed-a-word", seed="x", says="seed|case"),
    _wrong_case_entry("arguments-a-list", call__arguments=[1]),
)
