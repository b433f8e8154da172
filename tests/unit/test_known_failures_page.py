"""`docs/known-failures.md` and `docs/facts.md`: examples are valid, and no form is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import chain
from pathlib import Path

import pytest
from support import cases

from conformance.checks import EVERY_CHECK
from conformance.known import entry as known
from conformance.known import validation as strict
from conformance.layers import CATALOGUE
from conformance.matching import comparison as meeting
from conformance.matching import facts

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "known-failures.md").read_text(encoding="utf-8")
FACTS = (DOCS / "facts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE + FACTS, re.DOTALL)
# The last column of a table of facts: ``Linear: `in_features = ">1"` ``.
IN_TABLES = [
    f'[[known]]\nlayer = "{layer}"\ncheck = "values"\nreason = "{fact} of {layer}"\n'
    f"when = {{ {when} }}\nstrict = false\n"
    for fact, layer, conditions in re.findall(
        r"^\| (.*?) \|.*\| ([\w.]+): (`.*`) \|$", FACTS, re.MULTILINE
    )
    for when in re.findall("`(.*?)`", conditions)
]
TEXT = "\n".join(BLOCKS)
# Examples are short: most leave out the pinned case, and a comment at their start says so.
UNPINNED = [
    entry
    if re.search(r"(?m)^(case|strict) =|^\[known\.cases\]", entry)
    else f"{entry}strict = false\n"
    for entry in re.findall(r"\[\[known\]\]\n(?:(?!\[\[).*\n?)*", TEXT)
]
ENTRIES = known.parse("\n".join([*UNPINNED, *IN_TABLES]), "the pages")


def _conditions(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The conditions of a table, and those on one dimension."""
    for fact, wanted in table.items():
        yield from _conditions(wanted) if isinstance(wanted, Mapping) else [(fact, wanted)]


CONDITIONS = [
    pair for entry in ENTRIES for table in entry.alternatives for pair in _conditions(table)
]
NAMES = {name for name, _ in CONDITIONS}


def test_every_field_has_a_row_and_an_example() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## Conditions")[0], re.MULTILINE))
    accepted = {field.name for field in fields(known.Known)} - {"base"}  # which no file says
    assert rows == accepted
    shown = {name for name in accepted if re.search(rf"^\[?(known\.)?{name}\b", TEXT, re.MULTILINE)}
    assert shown == accepted


def test_every_form_of_a_condition_has_an_example() -> None:
    comparisons = {m[1] for _, w in CONDITIONS if (m := meeting.COMPARISON.match(str(w)))}
    assert comparisons == set(meeting.RELATIONS)
    assert any(isinstance(wanted, bool) for _, wanted in CONDITIONS)
    assert any("*" in str(wanted) and "," in str(wanted) for _, wanted in CONDITIONS)
    forms = (facts.PLACE, facts.AXIS, facts.FORM, facts.LAYOUT)
    for form in forms:
        assert any(form.fullmatch(name) for name in NAMES), form.pattern
    for end in (".ndim", ".size", ".layout", ".swapped"):
        assert any(name.endswith(end) for name in NAMES)
    signs = {"Add": "+", "Sub": "-", "Mult": "*", "FloorDiv": "//", "Mod": "%"}
    for node in facts.SIGNS:
        assert any(f" {signs[node.__name__]} " in name for name in NAMES), node
    assert any(strict.DIMENSION in entry.when for entry in ENTRIES)
    assert {wanted for _, wanted in CONDITIONS} >= {"given", "absent"}
    assert {entry.status for entry in ENTRIES} == set(strict.STATUSES)


def test_every_derived_fact_has_an_example() -> None:
    derived = set(chain.from_iterable(row.conditions.derived for row in CATALOGUE.values()))
    assert derived | set(facts.EVERY_ROW) <= NAMES
    described = set(re.findall(r"`(\w+)`", FACTS))
    assert derived <= described


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.when], ids=lambda e: e.reason)
def test_conditions_on_the_page_are_met_by_cases(entry: known.Known) -> None:
    layer = entry.layer.split(",")[0]
    check = EVERY_CHECK[entry.check.split(",")[0]]
    for case in cases(layer, examples=400, invalid=check.invalid):
        laid, layouts = (case, None) if check.relaid is None else check.relaid(case)
        if entry.covers(laid, layouts):
            return
    pytest.fail("no case meets the conditions")


def test_a_pinned_case_is_one_of_its_layer() -> None:
    pinned = [(entry, case) for entry in ENTRIES for case in (entry.case, *entry.cases.values())]
    found = [(entry.layer, case.call.layer) for entry, case in pinned if case is not None]
    assert found
    assert all(known.named(layer, names) for names, layer in found)
