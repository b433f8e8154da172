"""The kill rate: what is run of a bug, what it comes to, and when the campaign fails."""

from __future__ import annotations

import json
from pathlib import Path

import kill_rate
import numpy as np
import planted
import pytest
import torch
from kill_table import Campaign, Run, facts, full
from planted.bug import alter_gradient
from remembered import Memory
from support import LAYERS, cases
from torch import nn

from conformance.arithmetic.rounded import exact_operand
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import numerics_of
from conformance.checks import CHECKS
from conformance.checks.trial import Trial
from conformance.items.planning import PROFILES, Item
from conformance.layers import CATALOGUE, DTYPES
from conformance.model.case import Call, Case

FAITHFUL = planted.Bug("linear-as-it-is", "Linear", "values", "Nothing is wrong.", nn.Linear)


def _checks_of_linear() -> set[str]:
    return {name for name, check in CHECKS.items() if check.applies(CATALOGUE["Linear"])}


def _find_bug(name: str) -> planted.Bug:
    return next(bug for bug in planted.BUGS if bug.name == name)


def _campaign(runs: list[Run], seeds: tuple[int, ...] = (0,)) -> Campaign:
    return Campaign("1.0", "2.0", seeds, 20, "all", runs)


def _run(bug: str, check: str, killed: bool, seed: int = 0, examples: int = 20) -> Run:
    return Run(seed, bug, "Linear", "values", check, "float32", killed, examples, 0.5)


def test_every_check_runs_at_the_first_seed_and_few_at_the_others() -> None:
    runs = kill_rate.survey(_find_bug("linear-square-weight-untransposed"), "all", 20, (0, 1))
    assert runs[0].check == "values"
    assert {run.check for run in runs if run.seed == 0} == _checks_of_linear()
    assert [(run.check, run.killed) for run in runs if run.seed == 1] == [("values", True)]
    assert "errors" not in _campaign(runs).killers()["linear-square-weight-untransposed"]


def test_declared_check_goes_through_the_dtypes_and_no_further() -> None:
    (run,) = kill_rate.survey(_find_bug("linear-surplus-features-ignored"), "declared", 200, (0,))
    assert (run.check, run.dtype, run.killed) == ("errors", "float32", True)
    runs = kill_rate.survey(FAITHFUL, "declared", 4, (0,))
    assert [(run.check, run.dtype) for run in runs] == [("values", d) for d in kill_rate.DTYPES]
    assert not any(run.killed for run in runs)


def test_check_that_the_suite_lacks_is_replaced_by_the_others() -> None:
    bug = planted.Bug("linear-x", "Linear", "later", "", nn.Linear)
    assert set(kill_rate.checks_of(bug)) == _checks_of_linear()
    runs = kill_rate.survey(bug, "declared", 2, (0,))
    items = [Item("Linear", c, d, "cpu") for d in DTYPES for c in sorted(_checks_of_linear())]
    pairs = {(i.check, i.dtype) for i in PROFILES["standard"].choose_items(items, 0)}
    assert {(r.check, r.dtype) for r in runs} == pairs


def test_known_failure_of_torch_is_no_kill() -> None:
    # At seed 0 torch accepts some calls that its documentation forbids.
    bug = planted.Bug("conv2d-as-it-is", "Conv2d", "errors", "", nn.Conv2d)
    assert not kill_rate.attempt(bug, "errors", "float32", 200, 0).killed


def test_what_torch_itself_shows_is_no_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_rate, "known_failures", lambda *item: ())
    bug = planted.Bug("conv2d-as-it-is", "Conv2d", "errors", "", nn.Conv2d)
    run = kill_rate.attempt(bug, "errors", "float32", 200, 0)
    assert not run.killed
    assert run.torch_too


# Of a probability of 0 torch's gradient of the target is infinite, as listed.
_CERTAIN = Case(
    Call("BCELoss", {"reduction": "sum"}, {}, "float32", "cpu"),
    (np.array([0.0]), np.array([0.0])),
    labels={},
    seed=0,
)


class _Scaled(nn.BCELoss):
    """What is listed fails otherwise: the gradient of the target is NaN."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().forward(input, alter_gradient(target, lambda g: g * torch.nan))


def test_a_failure_counts_where_torch_fails_in_something_else_as_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kill_rate, "cases", lambda *item: (_CERTAIN,))
    bug = _find_bug("bceloss-certain-and-right-is-nan")
    assert kill_rate.attempt(bug, "gradients", "float32", 1, 0).killed
    monkeypatch.setattr(kill_rate, "known_failures", lambda *item: ())
    run = kill_rate.attempt(bug, "gradients", "float32", 1, 0)
    assert (run.killed, run.torch_too) == (False, 1)


def test_a_failure_does_not_count_where_torch_fails_in_the_same_as_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kill_rate, "cases", lambda *item: (_CERTAIN,))
    bug = planted.Bug("bce-loss-other-target", "BCELoss", "gradients", "", _Scaled)
    run = kill_rate.attempt(bug, "gradients", "float32", 1, 0)
    assert (run.killed, run.torch_too) == (False, 1)


def test_campaign_fails_for_survivors_and_for_a_check_that_sees_nothing_alone() -> None:
    survivors = _campaign([_run("a", "values", True), _run("a", "values", False, seed=1)], (0, 1))
    assert survivors.survived() == {"a": [1]}
    assert survivors.complaints(()) == ["a survives at seed 1"]
    runs = [_run(bug, "state", True) for bug in "abc"] + [_run("c", "errors", True)]
    assert _campaign(runs).sole("state") == ["a", "b"]
    assert _campaign(runs).complaints(["state"]) == [
        "state is the sole killer of 2 bugs, fewer than 3"
    ]
    assert _campaign([*runs, _run("d", "state", True)]).complaints(["state"]) == []


def test_checks_that_contain_values_do_not_take_its_bugs() -> None:
    runs = [_run("a", "values", True), _run("a", "repeat", True), _run("b", "values", True)]
    assert _campaign(runs).sole("values") == ["a", "b"]
    assert _campaign(runs).sole("repeat") == []
    assert _campaign([*runs, _run("b", "errors", True)]).sole("values") == ["a"]


def test_examples_are_added_up_to_the_first_kill() -> None:
    runs = [
        _run("a", "values", False),
        _run("a", "state", True, examples=3),
        _run("a", "repeat", True),
        _run("a", "state", False, seed=1),
    ]
    assert _campaign(runs, (0, 1)).effort() == {"a": [23, 20]}


def test_tables_list_survivors_and_are_the_same_after_json() -> None:
    bugs = [FAITHFUL, _find_bug("linear-square-weight-untransposed")]
    runs = [run for bug in bugs for run in kill_rate.survey(bug, "declared", 20, (0,))]
    numbers = facts(_campaign(runs), bugs, LAYERS, list(CHECKS))
    table = full(numbers)
    assert table == full(json.loads(json.dumps(numbers)))
    assert "nn-conformance 1.0, torch 2.0, seeds 0, 20 examples, all checks." in table
    assert "2 bugs, 1 of 2 kills" in table
    assert "| Linear | 1/2 |" in table
    assert "- `linear-as-it-is` (values), seed 0: Nothing is wrong." in table
    assert "Only `values`: linear-square-weight-untransposed." in table


@pytest.mark.nightly
def test_command_writes_facts_and_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    facts, table = tmp_path / "new" / "facts.jsonl", tmp_path / "table.md"
    options = ["--bug", "identity-s*", "--seeds", "0", "--examples", "20", "--jobs", "1"]
    assert kill_rate.main([*options, "--output", str(facts), "--table", str(table)]) == 0
    head, *lines = map(json.loads, facts.read_text().splitlines())
    assert head["seeds"] == [0]
    assert {line["bug"] for line in lines} == {
        "identity-size-one-squeezed",
        "identity-subnormals-flushed",
    }
    assert "| all | " in table.read_text()
    assert "Every planted bug" in table.read_text()
    options = [*options, "--checks", "declared", "--every", "2", "--table", str(table)]
    assert kill_rate.main([*options, "--output", str(facts)]) == 0
    assert {json.loads(x)["bug"] for x in facts.read_text().splitlines()[1:]} == {
        "identity-size-one-squeezed"
    }
    assert "One planted bug of 2" in table.read_text()
    with pytest.raises(SystemExit):
        kill_rate.main(["--bug", "no-such-bug"])


def test_memory_returns_what_the_oracle_says() -> None:
    memory = Memory()
    evaluate = memory.memoize(Trial.evaluate)
    for case in (*cases("GRU", examples=4), *cases("GRU", examples=4)):
        trial = Trial(torch_backend, CATALOGUE["GRU"], case, numerics_of(torch_backend, "float32"))
        wanted = trial.expected
        state = {k: exact_operand(x, trial.precision) for k, x in case.call.state.items()}
        inputs = [None if x is None else exact_operand(x, trial.precision) for x in case.inputs]
        got = evaluate(trial, state, inputs)
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_array_equal(a.value, b.value)
            np.testing.assert_array_equal(a.error, b.error)
    assert memory.saved > 0
    memory.forget()
