"""The time budget: read, kept, and told."""

from __future__ import annotations

import time

import pytest

from conformance.backends.torch import backend
from conformance.budget import Budget, parse
from conformance.engine import Engine, Item

ITEM = Item("Linear", "values", "float32", "cpu")


def test_a_budget_of_the_run_is_shared_by_items_and_carried_on() -> None:
    assert parse("600", items=300, workers=2) == Budget(4.0, carried=True)
    assert parse(" 2.5/item ", items=300, workers=2) == Budget(2.5)


@pytest.mark.parametrize("text", ["", "0", "-3", "2/layer", "soon", "1e3"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected seconds of the whole run"):
        parse(text, 1, 1)


def test_the_rest_of_an_item_goes_to_the_next_only_if_carried() -> None:
    for carried, least, most in ((True, 19.0, 20.0), (False, 9.0, 10.0)):
        budget = Budget(10.0, carried)
        assert budget.begin()() > 9.0
        assert least < budget.begin()() <= most


def test_an_item_stops_when_its_time_is_over_and_counts_what_it_left_out() -> None:
    slow = Engine(backend, 60, 0, interrupted=lambda: bool(time.sleep(0.02)), budget=Budget(0.3))
    verdict = slow.run(ITEM)
    assert verdict.status == "passed"
    assert 0 < verdict.examples.drawn < 60
    assert verdict.examples.drawn + verdict.examples.stopped == 60
    whole = Engine(backend, 60, 0, budget=Budget(60.0)).run(ITEM)
    assert (whole.examples.drawn, whole.examples.stopped) == (60, 0)
