"""The time budget: how it is parsed, respected and reported."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import torch
from support import install_backends_module, seen_here

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend
from conformance.isolation.isolated_engine import IsolatedEngine
from conformance.isolation.journal import Entry
from conformance.isolation.process import Child, ChildDied
from conformance.items import verdicts
from conformance.items.forks import ExpendableProcess
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item, order_in_rounds, plan_items
from conformance.known import entry as known_failures
from conformance.layers.describe import case_text
from conformance.layers.encoding import encode_case
from conformance.model.budget import GRACE, GUARANTEED_SHARE, Budget, parse_budget
from conformance.model.case import Case, Examples, Numerics, Verdict
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

ITEM = Item("Linear", "values", "float32", "cpu")


def test_a_budget_of_the_run_is_shared_by_items_and_carried_on() -> None:
    assert parse_budget("600", items=300, workers=2) == Budget(4.0, items=150, grace=60.0)
    assert parse_budget(" 2.5/item ", items=300, workers=2) == Budget(2.5)


@pytest.mark.parametrize("text", ["", "0", "-3", "2/layer", "soon", "1e3"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected seconds of the whole run"):
        parse_budget(text, 1, 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A time that passes only where a test says so."""
    now = [0.0]
    monkeypatch.setattr("conformance.model.budget.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def _spend(budget: Budget, clock: list[float], seconds: float) -> float | None:
    """The seconds granted to an item that takes `seconds`; None if the budget skips the item."""
    seconds_left = budget.begin()
    if seconds_left is None:
        return None
    allowed = seconds_left()
    clock[0] += seconds
    seconds_left()
    return allowed


def test_later_items_take_shares_of_what_an_item_leaves_only_if_they_share(
    clock: list[float],
) -> None:
    own = Budget(10.0)
    assert [_spend(own, clock, 2.0) for _ in range(2)] == [10.0, 10.0]
    shared = parse_budget("100", items=10, workers=1)
    # The first item leaves 8 s, of which the second takes 2 s. The third takes 1.5 s of the 6 s.
    assert [_spend(shared, clock, s) for s in (2.0, 12.0, 11.5)] == [10.0, 12.0, 11.5]


def test_the_last_items_of_a_run_use_all_that_is_left(clock: list[float]) -> None:
    budget = parse_budget("100", items=10, workers=1)
    grants = [_spend(budget, clock, 2.0) for _ in range(9)]
    assert grants[-1] == pytest.approx(10.0 + 64.0 / 2)
    assert _spend(budget, clock, 82.0) == pytest.approx(82.0)
    assert clock[0] == pytest.approx(100.0)


def test_what_an_item_takes_too_much_all_later_ones_do_without(clock: list[float]) -> None:
    budget = parse_budget("100", items=10, workers=1)
    assert _spend(budget, clock, 37.0) == 10.0
    # The item takes 27 s too long, which the nine later items share.
    assert [_spend(budget, clock, 7.0) for _ in range(9)] == pytest.approx([7.0] * 9)
    assert clock[0] == pytest.approx(100.0)


def test_dear_items_that_come_first_leave_half_a_share_to_the_others(clock: list[float]) -> None:
    budget = parse_budget("100", items=20, workers=1)
    grants = [_spend(budget, clock, 20.0 if k < 6 else 2.0) for k in range(20)]
    # The fifth begins at 80 s instead of 20 s. That is more than 10 s of grace plus half of the
    # time of sixteen items, 40 s. Each skipped item reduces the delay by 5 s, and the time to make
    # it up by 2.5 s.
    assert grants[4:8] == [None] * 4
    assert None not in grants[:4] + grants[8:]
    assert grants[8] == pytest.approx(5.0 * GUARANTEED_SHARE - 10.0 / 12)
    assert clock[0] == 4 * 20 + 12 * 2


def test_what_a_lost_process_has_spent_counts(clock: list[float]) -> None:
    times_asked: list[float] = []

    class Mortal:
        answer_count = 0

        def memory_growth(self) -> int:
            return 0

        def ask(self, request: dict[str, Any]) -> dict[str, Any]:
            times_asked.append(request["seconds"])
            clock[0] += 4.0
            if len(times_asked) == 1:
                raise ChildDied("crashed", "it died", Entry("pinned"))
            return {"verdict": msgspec.to_builtins(verdicts.left_out_verdict(ITEM, 5))}

    engine = IsolatedEngine(cast(Child, Mortal()), "mortal", 5, 0, budget=parse_budget("25", 5, 1))
    for _ in range(2):
        engine.run(ITEM)
    # The first item has 5 s and takes 8 s, of which its process took 4 s before it died. The other
    # four items share the 3 s.
    assert times_asked == [5.0, 1.0, 5.0 - 3.0 / 4]


def test_a_run_of_items_that_are_all_too_dear_is_kept(clock: list[float]) -> None:
    budget = parse_budget("100", items=50, workers=1)
    grants = [_spend(budget, clock, 6.0) for _ in range(50)]
    assert None in grants
    assert 100 <= clock[0] <= 100 * (1 + GRACE) + 6


def test_an_item_stops_when_its_time_is_over_and_counts_what_it_left_out() -> None:
    slow_engine = Engine(
        backend, 60, 0, interrupted=lambda: bool(time.sleep(0.02)), budget=Budget(0.3)
    )
    verdict = slow_engine.run(ITEM)
    assert verdict.status == "passed"
    assert 0 < verdict.examples.drawn < 60
    assert verdict.examples.drawn + verdict.examples.stopped == 60
    unlimited = Engine(backend, 60, 0, budget=Budget(60.0)).run(ITEM)
    assert (unlimited.examples.drawn, unlimited.examples.stopped) == (60, 0)


def _run_out_of_time(monkeypatch: pytest.MonkeyPatch, *first_outcomes: Outcome) -> Verdict:
    """The verdict of an item whose time is over at once and whose first cases end as given."""
    engine, remaining = Engine(backend, 60, 0, budget=Budget(0.0)), iter(first_outcomes)
    original_outcome = engine.outcome

    def outcome(item: Item, case: Case, numerics: Numerics | None = None) -> Outcome:
        return next(remaining, None) or original_outcome(item, case)

    monkeypatch.setattr(engine, "outcome", outcome)
    return engine.run(ITEM)


def test_where_a_check_never_applied_the_verdict_says_why() -> None:
    why = "the valid call raises KeyError, too"
    empty_verdict = verdicts.conclude_verdict(
        verdicts.open_verdict(ITEM, Examples(3, invalid=3)), (), why
    )
    assert empty_verdict.status == "unchecked"
    assert empty_verdict.message == f"{verdicts.NO_CASE_CHECKED} (most often: {why})"
    without_numbers = verdicts.conclude_verdict(
        verdicts.open_verdict(ITEM, Examples(3, checked=3)), ()
    )
    assert without_numbers.message == verdicts.NO_FINITE_BOUND


def test_an_item_whose_time_is_over_goes_on_until_a_case_tells_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = _run_out_of_time(monkeypatch, *[Outcome("invalid", "not for this case")] * 3)
    assert (verdict.status, verdict.examples.drawn, verdict.examples.stopped) == ("passed", 4, 56)
    # A verdict without numbers names the budget only if no case ran to its end.
    empty_verdict = verdicts.conclude_verdict(
        verdicts.open_verdict(ITEM, Examples(1, invalid=1, stopped=59)), ()
    )
    assert empty_verdict.status == "unchecked"
    assert empty_verdict.message == f"{verdicts.NO_CASE_CHECKED} (59 cases beyond the time budget)"


def test_an_item_of_which_the_rest_is_declined_goes_on_until_numbers_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_numbers = [Outcome("passed")] * 3
    verdict = _run_out_of_time(
        monkeypatch, *without_numbers, *[Outcome("unsupported", "not this one")] * 60
    )
    assert verdict.status == "passed"
    assert verdict.examples.unsupported == {"not this one": 60}
    assert 63 < verdict.examples.drawn < 70


def test_an_item_whose_first_cases_are_left_out_goes_on_until_one_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, left_out = Engine(backend, 60, 0, budget=Budget(0.0)), iter(range(3))
    original_outcome = engine.cautious_outcome

    def outcome(context: Any, case: Case) -> Outcome | None:
        return None if next(left_out, None) is not None else original_outcome(context, case)

    monkeypatch.setattr(engine, "cautious_outcome", outcome)
    verdict = engine.run(ITEM)
    assert (verdict.status, verdict.examples.checked) == ("passed", 1)
    assert (verdict.examples.left_out, verdict.examples.stopped) == (3, 56)


def test_a_case_that_is_left_out_does_not_end_the_search_for_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(backend, 60, 0, budget=Budget(0.0))
    declined = [Outcome("unsupported", "not this one")] * 58
    first_outcomes = iter([Outcome("passed"), None, *declined])
    original_outcome = engine.cautious_outcome

    def outcome(context: Any, case: Case) -> Outcome | None:
        try:
            return next(first_outcomes)
        except StopIteration:
            return original_outcome(context, case)

    monkeypatch.setattr(engine, "cautious_outcome", outcome)
    verdict = engine.run(ITEM)
    assert (verdict.status, verdict.examples.left_out) == ("passed", 1)
    assert 60 < verdict.examples.drawn < 70


def test_cases_that_leave_nothing_to_compare_come_last_within_a_budget() -> None:
    indices: list[int] = []

    def record_index(phase: str, index: int, checked: int) -> None:
        if phase == "checking":
            indices.append(index)

    engine = Engine(backend, 60, 0, budget=Budget(60.0), process=ExpendableProcess(record_index))
    engine.run(ITEM)
    cases = engine.cases(ITEM)
    has_empty_input = [any(x is not None and not x.size for x in cases[k].inputs) for k in indices]
    assert len(indices) == 60
    assert any(has_empty_input)
    assert has_empty_input == sorted(has_empty_input)


def test_a_run_that_is_too_late_leaves_items_out_until_it_is_not() -> None:
    late = Engine(backend, 60, 0, budget=Budget(0.06, items=1, grace=0.1, _saved_seconds=-0.15))
    without_result, passed = late.run(ITEM), late.run(ITEM)
    assert (without_result.status, without_result.examples.stopped) == ("unchecked", 60)
    assert without_result.message == "left out: the run is behind its time budget"
    assert (passed.status, passed.examples.drawn) == ("passed", 1)


def test_pinned_cases_are_tried_while_there_is_time() -> None:
    case = json.dumps(encode_case(Engine(backend, 5, 0).cases(ITEM)[0]))
    entry = f"[[known]]\nlayer = 'Linear'\ncheck = 'values'\nreason = 'none'\ncase = '{case}'\n"
    entry += seen_here()
    known = known_failures.parse_entries(entry, "here")
    on_time = Engine(backend, 5, 0, known, budget=Budget(60.0)).run(ITEM)
    assert (on_time.status, "passes" in str(on_time.message)) == ("failed", True)
    late = Engine(
        backend, 5, 0, known, budget=Budget(1.0, items=1, grace=9.0, _saved_seconds=-2.0)
    ).run(ITEM)
    assert (late.status, late.message) == ("passed", "1 known failure applies")


def test_within_a_budget_dtypes_take_turns_and_layers_do_not(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_backends_module(pytester, monkeypatch, "")
    chosen = ("--conformance-layer=Linear,Identity", "--conformance-check=values")
    dtypes = "--conformance-dtype=float32,float64"

    def list_items(*options: str) -> list[str]:
        result = pytester.runpytest_inprocess(
            "--pyargs", "conformance.suite", "--collect-only", "-q", *chosen, dtypes, *options
        )
        listed_ids = [line.partition("[")[2] for line in result.outlines if "test_layer[" in line]
        return [name.removesuffix("-cpu]").replace("-values", "") for name in listed_ids]

    assert list_items() == [
        "Identity-float32",
        "Identity-float64",
        "Linear-float32",
        "Linear-float64",
    ]
    assert list_items("--conformance-budget=60") == [
        "Identity-float32", "Linear-float32", "Identity-float64", "Linear-float64"
    ]  # fmt: skip


def test_of_a_compiler_the_checks_that_lead_come_first_and_each_worker_has_its_layers() -> None:
    names = ("Identity", "Linear", "ReLU")
    items = plan_items(
        backend, layers=names, checks=("shape", "values", "gradients"),
        dtypes=("float32", "float64"), devices=("cpu",), every_dtype=False,
    )  # fmt: skip
    assert [item.dtype for item in order_in_rounds(items)] == ["float32"] * 9 + ["float64"] * 9
    both = order_in_rounds(items, 2, compiled=True)
    assert sorted(item.id for item in both) == sorted(item.id for item in items)
    first, second = both[:12], both[12:]
    assert {item.layer for item in first} == {"Identity", "ReLU"}
    assert {item.layer for item in second} == {"Linear"}
    assert [(item.layer, item.check, item.dtype) for item in first] == [
        ("Identity", "values", "float32"),
        ("Identity", "gradients", "float32"),
        ("ReLU", "values", "float32"),
        ("ReLU", "gradients", "float32"),
        ("Identity", "shape", "float32"),
        ("ReLU", "shape", "float32"),
        ("Identity", "values", "float64"),
        ("Identity", "gradients", "float64"),
        ("ReLU", "values", "float64"),
        ("ReLU", "gradients", "float64"),
        ("Identity", "shape", "float64"),
        ("ReLU", "shape", "float64"),
    ]


class Compiler(ModuleBackend):
    """A backend for which every new shape is expensive."""

    compile_seconds = 0.05


def test_a_dear_structure_is_drawn_once_for_several_values() -> None:
    engine = Engine(Compiler("compiler"), 60, 0)
    assert engine.values == 5
    assert Engine(backend, 60, 0).values == 1
    cases = engine.cases(ITEM)
    assert len(cases) == 60
    for k in range(0, 60, 5):
        structure_group = cases[k : k + 5]
        assert len({case_text(case) for case in structure_group}) == 1
        for other in structure_group[1:]:
            for a, b in zip(structure_group[0].inputs, other.inputs, strict=True):
                np.testing.assert_array_equal(np.sort(np.abs(a), None), np.sort(np.abs(b), None))
    assert len({case_text(case) for case in cases}) > 6


def test_a_failure_of_one_variant_only_is_found_and_shrunk() -> None:
    class Negative(torch.nn.Linear):
        def forward(self, input):
            offset = 1.0 if (self.weight < 0).all() and self.weight.numel() else 0.0
            return super().forward(input) + offset

    compiling = Compiler("compiler", nn=SimpleNamespace(Linear=Negative))
    verdict = Engine(compiling, 200, 0).run(ITEM)
    assert verdict.status == "failed"
    assert verdict.call is not None
    assert verdict.call.startswith("Linear(1, 1")
