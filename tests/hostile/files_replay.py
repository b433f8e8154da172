"""Results files that name code for `replay`: only code that the user names runs."""

from __future__ import annotations

from typing import Any

from hostile.entry import Due, Entry
from hostile.making import CASE, CHANGED, TINY, changed, conformance, results

EVIL = 'open("ran", "w").close()\nprint("THE CODE RAN")\n\n\ndef backend():\n    return 1\n'
RAN = r"THE CODE RAN|\./ran|" + CHANGED
ID = "ReLU-values-float32-cpu"


def _replayed(name: str, content: str, due: Due, *more: str, point: int = 6, **other: Any) -> Entry:
    files = {"b.jsonl": content, "evil.py": EVIL, "tiny.py": TINY}
    line = conformance("replay", "b.jsonl", ID, *more)
    return Entry(f"replay-{name}", point, files, line, due, other.get("seconds", 60))


def _named(name: str, backend: str) -> Entry:
    """An entry whose file, but not the user, names a backend by module and attribute."""
    content = results(header={"options": {"backend": backend}})
    due = Due(2, ("--backend",), never=RAN, longest=3000)
    return _replayed(name, content, due, seconds=20)


def _case(name: str, says: str = "case|input", **changes: Any) -> Entry:
    """An entry of an invalid case; the user names a backend of their own."""
    content = results(failed={"case": changed(CASE, **changes)})
    # A case that only the backend can refuse may also end as a failing case.
    due = Due((1, 2) if says != "case|input" else 2, (says,), never=RAN, longest=5000)
    return _replayed(f"case-{name}", content, due, "--backend=tiny:backend", point=16)


def _backend(name: str, value: str, *says: str) -> Entry:
    due = Due(2, says, never=RAN, longest=3000)
    return _replayed(f"backend-{name}", results(), due, f"--backend={value}")


ENTRIES = (
    _named("of-a-server", "http.server:test"),
    _named("of-code-in-the-folder", "evil:backend"),
    _replayed(
        "of-code-as-the-backend's-name",
        results(header={"backend": "evil:backend", "options": {}}),
        Due(2, ("--backend",), RAN, longest=3000),
        seconds=20,
    ),
    _named("of-abort", "os:abort"),
    _named("of-a-shell", "pty:spawn"),
    _named("of-the-python-that-asks", "builtins:breakpoint"),
    _named("of-a-path", "../../evil:backend"),
    _named("of-an-attribute-of-attributes", "evil:backend.__globals__"),
    _replayed(
        "of-an-escape",
        results(header={"options": {"backend": "\x1b[31mtiny\x07"}}),
        Due(2, ("tiny",), longest=3000),
        seconds=20,
    ),
    _replayed("of-the-user's-own", results(), Due(0, ("passed",)), "--backend=tiny:backend"),
    _replayed(
        "of-a-passed-verdict",
        results(failed={"status": "passed", "case": None}),
        Due(2, (ID,), longest=3000),
        "--backend=tiny:backend",
    ),
    _replayed(
        "of-an-unknown-check",
        results(failed={"check": "nope", "id": "ReLU-nope-float32-cpu"}).replace(ID, "ReLU-nope"),
        Due(2, ("nope|ReLU-values",), longest=3000),
        "--backend=tiny:backend",
    ),
    _backend("empty", "", "backend"),
    _backend("unknown", "nonsense", "nonsense"),
    _backend("without-attribute", "tiny:", "tiny:"),
    _backend("of-another-attribute", "tiny:nope", "nope"),
    _backend("that-is-none", "math:pi", "math:pi"),
    _case("unknown-layer", call__layer="ReLO", says="ReLO|layer"),
    _case("unknown-dtype", call__dtype="float31", says="float31"),
    _case("unknown-device", call__device="cuda:99", says="cuda:99"),
    _case("negative-shape", inputs__input__shape=[-1]),
    _case("huge-shape", inputs__input__shape=[10**12]),
    _case("too-few-numbers", inputs__input__shape=[7, 7]),
    _case("numbers-that-are-words", inputs__input__data=["one"]),
    _case("dtype-of-objects", inputs__input__dtype="object"),
    _case("dtype-nonsense", inputs__input__dtype="a4,(2)nope"),
    _case("no-inputs", inputs={}),
    _case("inputs-a-list", inputs=[1, 2]),
    _case("unknown-layout", layouts={"input": "diagonal"}, says="layout|diagonal"),
    _case("seed-a-word", seed="x", says="seed|case"),
    _case("arguments-a-list", call__arguments=[1]),
)
