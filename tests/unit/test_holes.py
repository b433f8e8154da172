"""`tools/holes.py` sees a known failure that hides mistakes, and one that hides none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch

import holes
import pytest

from conformance.known.entry import KnownFailure, load_entries, parse_entries

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


@pytest.mark.parametrize("mistake", ["negated", "gradient doubled"])
def test_an_entry_that_blames_chance_for_everything_hides_mistakes(mistake: str) -> None:
    entry = _entry('chance = "what memory holds"\n')
    assert holes.examine(entry, 0, (entry,), mistake).result == "hidden"


@pytest.mark.parametrize("mistake", ["negated", "gradient doubled"])
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
    def lose_child(indices: Sequence[int], *flags: str) -> dict[int, str]:
        return dict.fromkeys(indices, "ended with -11")

    monkeypatch.setattr(holes, "examine_in_child", lose_child)
    monkeypatch.setattr("sys.argv", ["holes.py", "--entry", "0"])
    assert holes.main() == 1
    assert "not examined: 1" in capsys.readouterr().out


CRASH = """
[[known]]
layer = "ReLU"
check = "values"
status = "crashed"
when = { "input.ndim" = ">0" }
strict = false
reason = "crash: now and then"
"""
ACCEPTED = """
[[known]]
layer = "Linear"
check = "errors"
when = { broken = "*" }
strict = false
reason = "accepted invalid: now and then"
"""


@pytest.mark.parametrize(
    ("text", "mistake", "seen"),
    [(CRASH, "process ended", "values float32"), (ACCEPTED, holes.ACCEPTED, "errors float32")],
)
def test_ends_of_the_process_and_accepted_calls_are_hidden_only_by_chance(
    text: str, mistake: str, seen: str
) -> None:
    results = []
    for more in ("", 'chance = "what memory holds"\n'):
        (entry,) = parse_entries(text + more, "here")
        entry = replace(entry, backend="*", base="torch")
        assert mistake in holes.mistakes_for(entry)
        results.append(holes.examine(entry, 0, (entry,), mistake))
    assert seen in results[0].seen
    assert (results[1].seen, seen in results[1].hidden) == ((), True)


@pytest.mark.parametrize(
    ("layer", "reason", "mistake"),
    [
        ("functional.linear", "refused valid: linear(input, weight, bias)", holes.ACCEPTED),
        ("LazyConv*", "wrong state: in_channels stays 0", holes.STATE_OFF),
    ],
)
def test_where_nothing_can_be_negated_answers_and_states_are_wrong(
    layer: str, reason: str, mistake: str
) -> None:
    known = load_entries("holes", base="torch")
    matching = (
        k
        for k, entry in enumerate(known)
        if fnmatch(entry.layer, layer) and entry.reason.startswith(reason)
    )
    index = next(matching)
    assert holes.examine(known[index], index, known, mistake).result == "seen"


LAYOUT = """
[[known]]
layer = "Linear"
check = "layout"
when = { "input.layout" = "transposed" }
strict = false
reason = "wrong gradient: of a transposed input"
"""


def test_a_mistake_in_a_layout_is_made_in_that_layout_only() -> None:
    (entry,) = parse_entries(LAYOUT, "here")
    entry = replace(entry, backend="*", base="torch")
    for mistake in ("negated", "gradient doubled"):
        # A gradient that is wrong in every layout is left to another check.
        assert "layout float32" in holes.examine(entry, 0, (entry,), mistake).seen


def test_an_entry_for_another_cpu_is_examined() -> None:
    entry = replace(_entry(""), cpu={"no such set": True})
    assert holes.examine(entry, 0, (entry,), "negated").result == "seen"
