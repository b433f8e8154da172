"""Sizes at which floating point is off by one are those of the search, and catch such bugs."""

from __future__ import annotations

import math

import planted
import pytest
import rounded_sizes as search
from conformance.strategies import rounded_sizes as tables
from planted.bug import replacement_namespaces
from planted.grid import rounded as of_grids
from planted.interpolation import rounded as of_interpolation
from planted.pooling import rounded as of_pooling
from support import first_failure

from conformance.backends import ModuleBackend

MODULES = {module.__name__ for module in (of_grids, of_interpolation, of_pooling)}
BUGS = [bug for bug in planted.BUGS if bug.implementation.__module__ in MODULES]


def test_tables_are_those_of_the_search() -> None:
    text = search.TABLES.read_text(encoding="utf-8")
    assert search.write_tables(text) == text


def test_a_bound_of_floating_point_is_wrong_in_its_row() -> None:
    assert any(
        [int(i * (length / outputs)) for i in range(outputs)]
        != [i * length // outputs for i in range(outputs)]
        for length, outputs in tables.REGIONS
    )


def test_every_formula_is_wrong_in_a_row_for_regions() -> None:
    shown = frozenset[str]().union(*(search.wrong_bounds(*row) for row in tables.REGIONS))
    formulas = {(end, name) for end in ("start", "end") for name in search.MULTIPLES}
    assert len(shown) == len(formulas) * len(search.FORMATS)


@pytest.mark.parametrize(("length", "factor"), [*tables.FACTORS, *tables.RATIOS])
def test_float64_and_exact_numbers_agree_on_the_length_of_an_output(
    length: int, factor: float
) -> None:
    """Where they differ, nobody knows which of two lengths is right."""
    numerator, denominator = factor.as_integer_ratio()
    assert length * numerator // denominator == math.floor(length * factor)


@pytest.mark.in_fork
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_at_such_sizes_is_caught(bug: planted.Bug) -> None:
    backend = ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))
    searches = (
        first_failure(backend, bug.layer, bug.check, dtype) for dtype in ("float32", "bfloat16")
    )
    assert any(not search.passed for search in searches)
