"""What a failing verdict says besides its minimal case: needs, shares, and what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import buggy
import numpy as np
import pytest
import torch
from conformance.reports import summary
from conformance.reports.causes import independent_arguments, needed_conditions
from planted import BUGS
from script_rate import backend_of
from support import cases, require_in_torch

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.diagnosis.minimize import simplify_numbers, smaller_cases
from conformance.diagnosis.mutations import single_changes
from conformance.generation.argument_columns import OTHER_VALUES, argument_columns, run_lengths
from conformance.items.planning import Item
from conformance.known.entry import applicable_entries, shipped_entries
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text, operands_text
from conformance.layers.encoding import decode_case
from conformance.model.case import COLUMN_DIGITS, Call, Case, Column, Verdict
from conformance.model.cause import CALL_NEEDS, MORE_OFTEN, NEEDS, Share
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork


def _verdict(backend: Any, layer: str, check: str = "values", seed: int = 0) -> Verdict:
    return Engine(backend, 60, seed).run(Item(layer, check, "float32", "cpu"))


def _backend_with_bug(layer: str, wrong: Callable[[Any, torch.Tensor], bool]) -> ModuleBackend:
    base = getattr(torch.nn, layer)

    class Wrong(base):  # type: ignore[misc, valid-type]
        def forward(self, input: torch.Tensor, *rest: Any) -> Any:
            result = super().forward(input, *rest)
            if not wrong(self, input):
                return result
            return (result[0] + 1, *result[1:]) if isinstance(result, tuple) else result + 1

    Wrong.__name__ = Wrong.__qualname__ = layer
    return ModuleBackend("wrong", nn=SimpleNamespace(**{layer: Wrong}))


def test_a_bug_of_two_arguments_needs_both_and_no_other() -> None:
    verdict = _verdict(buggy.grouped_dilation, "Conv2d")
    assert set(needed_conditions(verdict)) == {"groups > 1", "dilation > 1"}
    assert {"bias", "padding"} <= set(independent_arguments(verdict))
    (cluster,) = summary.clusters([verdict])
    assert set(cluster.needs) == {"groups > 1", "dilation > 1"}


def test_a_bug_of_a_mask_needs_the_mask() -> None:
    bug = next(bug for bug in BUGS if bug.name == "mha-padding-true-takes-part")
    verdict = _verdict(backend_of(bug), bug.layer, seed=1)  # no empty batch, which torch refuses
    assert set(needed_conditions(verdict)) == {"key_padding_mask given"}


def _run_of(*verdicts: Verdict) -> Any:
    from test_report import run_of

    return run_of(*verdicts)


def _is_long(module: Any, x: Any) -> bool:
    """A batch of more than two steps, not packed."""
    return getattr(x, "ndim", 0) == 3 and not module.batch_first and len(x) > 2


@pytest.mark.parametrize(
    ("layer", "wrong", "phrases"),
    [
        ("LSTM", lambda m, x: m.bidirectional and m.bias, {"bidirectional=True", "bias=True"}),
        ("Linear", lambda m, x: m.bias is not None, {"bias=True"}),
        ("Conv1d", lambda m, x: True, set()),
        ("Conv2d", lambda m, x: m.padding == "same", {"padding='same'"}),
        ("Linear", lambda m, x: m.in_features == m.out_features, {"in_features = out_features"}),
        ("Linear", lambda m, x: m.in_features > 5, {"in_features > 5"}),
        ("Linear", lambda m, x: m.in_features == 1, {"in_features=1"}),
        ("Conv1d", lambda m, x: x.shape[-1] > 3, {"input.shape[-1] > 3"}),
        ("LSTM", _is_long, {"input.shape[-3] > 2"}),
        ("ReLU", lambda m, x: bool((x > 6).any()), {"input.max > 6"}),
        ("BatchNorm2d", lambda m, x: m.training, {"train mode"}),
    ],
)  # fmt: skip
def test_needs_are_told_in_words(layer: str, wrong: Any, phrases: set[str]) -> None:
    verdict = _verdict(_backend_with_bug(layer, wrong), layer, seed=1)
    assert verdict.status == "failed"
    assert set(needed_conditions(verdict)) == phrases
    assert not phrases & set(independent_arguments(verdict))
    share = verdict.share
    assert share is not None
    assert share.failing + sum(cause.failed for cause in verdict.others) == share.of_failing
    assert share.of_failing == verdict.examples.failed
    assert 0 < share.of_passing <= verdict.examples.checked - verdict.examples.failed
    assert share.passing <= share.of_passing / 4 or not phrases
    assert share.relation == NEEDS or verdict.others


@pytest.mark.parametrize(
    ("counts", "relation"),
    [
        ((6, 6, 0, 14), NEEDS),
        ((1, 1, 0, 39), NEEDS),
        ((18, 18, 20, 140), NEEDS),
        ((27, 27, 84, 91), MORE_OFTEN),
        ((6, 9, 2, 14), MORE_OFTEN),
        ((4, 6, 9, 10), CALL_NEEDS),
        ((9, 9, 0, 0), NEEDS),
        ((9, 9, 5, 5), CALL_NEEDS),
    ],
)
def test_failure_needs_what_all_failing_and_few_passing_cases_meet(
    counts: tuple[int, int, int, int], relation: str
) -> None:
    assert Share(("dim=None",), *counts).relation == relation


@pytest.mark.parametrize("bug", ["grucell-reset", "conv1d-later-groups-undilated"])
@pytest.mark.usefixtures("searched")
def test_the_numbers_of_a_minimal_case_are_plain(bug: str) -> None:
    """Zeros and small integers, whatever the seed of the arrays drew."""
    planted = next(x for x in BUGS if x.name.startswith(bug))
    verdict = _verdict(backend_of(planted), planted.layer)
    case = decode_case(verdict.case)
    numbers = np.concatenate([x.reshape(-1) for x in case.operands])
    assert numbers.size
    assert set(np.abs(numbers)) <= {0.0, 1.0, 2.0}


@pytest.mark.usefixtures("searched")
def test_passing_cases_are_told_from_failing_ones_by_what_all_of_these_have() -> None:
    """If the minimal case needs only some number, the share says which numbers fail."""
    verdict = _verdict(_backend_with_bug("ReLU", lambda m, x: bool((x < -3).any())), "ReLU")
    assert verdict.share is not None
    assert verdict.share.terms[-1] == "input.min < -3"
    assert (verdict.share.failing, verdict.share.passing) == (verdict.examples.failed, 0)


@pytest.mark.parametrize("layer", CATALOGUE)
def test_changed_cases_are_valid_calls(layer: str) -> None:
    """torch accepts them, and the check passes: no need rests on an invalid call."""
    require_in_torch(layer)
    engine, item, count = Engine(torch_backend, 1, 0), Item(layer, "shape", "float32", "cpu"), 0
    entries = applicable_entries(shipped_entries("torch"), item, "torch")
    known = Excuses(tuple(entries.values()))
    for case in cases(layer, "float32", 30):
        changed_cases = [(change.argument, change.case) for change in single_changes(case)]
        changed_cases += [("smaller", other) for other in smaller_cases(case)]
        for name, other in changed_cases:
            outcome = engine.outcome(item, other)
            if known.find_explanation(other, outcome.message, outcome.failure):
                continue
            assert outcome.status == "passed", (case_text(case), name, case_text(other), outcome)
            count += outcome.comparisons > 0
    assert count >= 20


def test_a_failing_item_counts_which_of_its_examples_fail() -> None:
    verdict = _verdict(buggy.grouped_dilation, "Conv2d")
    examples = verdict.examples
    assert (examples.drawn, examples.checked) == (60, 60)
    assert 0 < examples.failed < 30
    assert verdict.outcomes.count("f") > 1
    (space,) = summary.spaces(_run_of(verdict))
    assert (space.cases, space.failed) == (60, examples.failed)
    dilation = next(a for a in space.arguments if a.name == "dilation")
    plain = next(value for value in dilation.values if value.text == "1")
    assert plain.failed == 0
    assert plain.cases > 0
    assert sum(value.failed for value in dilation.values) == examples.failed


def test_cases_are_described() -> None:
    engine = Engine(torch_backend, 20, 0)
    first, second, values, errors = (
        engine.run(Item("Linear", check, "float32", "cpu"))
        for check in ("shape", "special", "values", "errors")
    )
    assert first.drawn is not None
    assert second.drawn == first.drawn
    # Some of these have planned sizes.
    item = Item("Linear", "values", "float32", "cpu")
    assert values.drawn == argument_columns(engine.cases(item)) != first.drawn
    assert errors.drawn is not None
    assert set(errors.drawn) == {"broken constraint"}
    assert len(first.drawn["bias"].cases) == 20
    assert values.worst is not None
    assert values.worst.startswith("Linear(")
    assert sum(values.ratios.values()) > 0


@pytest.mark.parametrize("layer", CATALOGUE)
def test_every_layer_can_be_described(layer: str) -> None:
    drawn = cases(layer, "float32", 30, tiled=True)
    case_columns = argument_columns(drawn)
    assert case_columns["regime"].value_texts(30) == [str(case.labels["regime"]) for case in drawn]
    for name, column in case_columns.items():
        assert len(column.cases) == 30, name
        assert set(column.value_texts(30)) == set(column.values), name


def test_more_values_than_digits_share_the_last() -> None:
    plain = cases("Linear")[0]
    size = len(COLUMN_DIGITS) + 3
    labelled = tuple(replace(plain, labels={"regime": str(k)}) for k in range(size))
    column = argument_columns(labelled)["regime"]
    own_digits = len(COLUMN_DIGITS) - 1
    assert column.values == (*map(str, range(own_digits)), OTHER_VALUES)
    assert column.value_texts(size) == [
        *map(str, range(own_digits)),
        *[OTHER_VALUES] * (size - own_digits),
    ]


def test_cases_that_a_column_does_not_tell_of_are_unknown() -> None:
    assert Column(("a", "b"), "01z").value_texts(4) == ["a", "b", "?", "?"]
    assert run_lengths("ppfp") == "2p1f1p"


def test_an_infinity_that_a_failure_needs_stays() -> None:
    case = replace(cases("ReLU")[0], inputs=(np.array([3.5, -np.inf]),))

    def fails(other: Case) -> bool:
        (x,) = other.inputs
        return x is not None and bool(np.isinf(x).any())

    (x,) = simplify_numbers(case, fails).inputs
    assert x is not None
    np.testing.assert_array_equal(x, [0.0, -np.inf])


def test_only_small_operands_are_written_out() -> None:
    weight, x = np.array([[0.0, 1.5]]), np.zeros((5, 2))
    arguments = {"in_features": 2, "out_features": 1}
    case = Case(Call("Linear", arguments, {"weight": weight}, "float32", "cpu"), (x,))
    assert operands_text(case) == "weight = [0, 1.5]"
    assert operands_text(case, 10) == f"input = [{', '.join('0' * 10)}], weight = [0, 1.5]"
