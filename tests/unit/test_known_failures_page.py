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
from conformance.known import validation
from conformance.layers import CATALOGUE
from conformance.matching import comparison, facts

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
ENTRIES = known.parse_entries("\n".join([*UNPINNED, *IN_TABLES]), "the pages")


def _flat_conditions(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The conditions of a table, and those on one dimension."""
    for fact, wanted in table.items():
        yield from _flat_conditions(wanted) if isinstance(wanted, Mapping) else [(fact, wanted)]


CONDITIONS = [
    pair
    for entry in ENTRIES
    for table in entry.condition_tables
    for pair in _flat_conditions(table)
]
NAMES = {name for name, _ in CONDITIONS}


def test_every_field_has_a_row_and_an_example() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## Conditions")[0], re.MULTILINE))
    accepted = {field.name for field in fields(known.KnownFailure)} - {"base"}  # which no file says
    assert rows == accepted
    documented = {
        name for name in accepted if re.search(rf"^\[?(known\.)?{name}\b", TEXT, re.MULTILINE)
    }
    assert documented == accepted


def test_every_form_of_a_condition_has_an_example() -> None:
    comparison_signs = {m[1] for _, w in CONDITIONS if (m := comparison.COMPARISON.match(str(w)))}
    assert comparison_signs == set(comparison.RELATIONS)
    assert any(isinstance(wanted, bool) for _, wanted in CONDITIONS)
    assert any("*" in str(wanted) and "," in str(wanted) for _, wanted in CONDITIONS)
    forms = (facts.DIMENSION_PATTERN, facts.AXIS_PATTERN, facts.FORM_PATTERN, facts.LAYOUT_PATTERN)
    for form in forms:
        assert any(form.fullmatch(name) for name in NAMES), form.pattern
    for end in (".ndim", ".size", ".layout", ".swapped"):
        assert any(name.endswith(end) for name in NAMES)
    signs = {"Add": "+", "Sub": "-", "Mult": "*", "FloorDiv": "//", "Mod": "%"}
    for node in facts.ARITHMETIC_OPERATORS:
        assert any(f" {signs[node.__name__]} " in name for name in NAMES), node
    assert any(validation.DIMENSION_KEY in entry.when for entry in ENTRIES)
    assert {wanted for _, wanted in CONDITIONS} >= {"given", "absent"}
    assert {entry.status for entry in ENTRIES} == set(validation.STATUSES)


def test_every_derived_fact_has_an_example() -> None:
    derived = set(chain.from_iterable(row.conditions.derived_facts for row in CATALOGUE.values()))
    assert derived | set(facts.COMMON_FACTS) <= NAMES
    described = set(re.findall(r"`(\w+)`", FACTS))
    assert derived <= described


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.when], ids=lambda e: e.reason)
def test_conditions_on_the_page_are_met_by_cases(entry: known.KnownFailure) -> None:
    layer = entry.layer.split(",")[0]
    check = EVERY_CHECK[entry.check.split(",")[0]]
    for case in cases(layer, examples=400, invalid=check.invalid):
        variant_case, layouts = (
            (case, None) if check.layout_variant is None else check.layout_variant(case)
        )
        if entry.covers(variant_case, layouts):
            return
    pytest.fail("no case meets the conditions")


def test_a_pinned_case_is_one_of_its_layer() -> None:
    pinned_cases = [
        (entry, case) for entry in ENTRIES for case in (entry.case, *entry.cases.values())
    ]
    layer_pairs = [
        (entry.layer, case.call.layer) for entry, case in pinned_cases if case is not None
    ]
    assert layer_pairs
    assert all(known.matches_globs(layer, names) for names, layer in layer_pairs)
