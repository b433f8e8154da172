"""`tools/holes.py` sees a known failure that hides mistakes, and one that hides none."""

from __future__ import annotations

from dataclasses import replace

import holes
import pytest

from conformance.known.entry import KnownFailure, parse_entries

pytestmark = pytest.mark.in_fork

ENTRY = """
[[known]]
layer = "ReLU"
check = "*"
when = { "input.ndim" = ">0" }
strict = false
reason = "wrong value: now and then"
"""


def _entry(more: str) -> KnownFailure:
    """An entry of torch's, as a backend of base torch inherits it."""
    (entry,) = parse_entries(ENTRY + more, "here")
    return replace(entry, backend="*", base="torch")


@pytest.mark.parametrize("mistake", holes.MISTAKES)
def test_an_entry_that_blames_chance_for_everything_hides_mistakes(mistake: str) -> None:
    entry = _entry('chance = "what memory holds"\n')
    assert holes.examine(entry, 0, (entry,), mistake).result == "hidden"


@pytest.mark.parametrize("mistake", holes.MISTAKES)
def test_an_entry_without_chance_asks_torch_and_hides_nothing(mistake: str) -> None:
    entry = _entry("")
    hole = holes.examine(entry, 0, (entry,), mistake)
    assert hole.result == "seen"
    assert {"values float32", "gradients float16"} & {*hole.seen}
    # Failures that rest on values drawn anew cannot be compared with torch's own.
    assert {*hole.hidden} <= {f"state {dtype}" for dtype in holes.DTYPES}


def test_what_no_case_meets_is_not_reached() -> None:
    entry = replace(_entry(""), when={"input.ndim": ">99"})
    assert holes.examine(entry, 0, (entry,), "negated").result == "not reached"


def test_an_entry_that_could_not_be_examined_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose_child(index: int, *, faithful: bool) -> str:
        return "ended with -11"

    monkeypatch.setattr(holes, "examine_in_child", lose_child)
    monkeypatch.setattr("sys.argv", ["holes.py", "--entry", "0"])
    assert holes.main() == 1
    assert "not examined: 1" in capsys.readouterr().out
