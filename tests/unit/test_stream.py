"""A check that hardly depends on the dtype runs only some of a layer's cases in further dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import CHECKS, EVERY_CHECK
from conformance.checks.trial import Evidence, Trial
from conformance.generation.cases import Arranged, EveryNth
from conformance.items.planning import PROFILES, Item, case_count
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE, DTYPES
from conformance.model.case import Case
from conformance.model.checks import MAIN_DTYPE, MEDIUM_SHARE
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

EXAMPLES = 48


def _item_cases(check: str, dtype: str, layer: str = "Linear") -> tuple[Item, Sequence[Case]]:
    item = Item(layer, check, dtype, "cpu")
    return item, Engine(torch_backend, EXAMPLES, 0).cases(item)


@pytest.mark.parametrize("check", list(CHECKS))
def test_all_or_most_cases_in_one_dtype_and_some_in_others(check: str) -> None:
    layer = "Dropout" if check == "random" else "Linear"
    item, cases = _item_cases(check, MAIN_DTYPE, layer)
    assert len(cases) == case_count(item, EXAMPLES) > 1
    full_step, share = item.step(EXAMPLES), CATALOGUE[layer].generation.examples_fraction
    assert full_step == CHECKS[check].sampling.step(share, MAIN_DTYPE)
    item, cases = _item_cases(check, "float64", layer)
    assert len(cases) == case_count(item, EXAMPLES)
    assert item.step(EXAMPLES) == CHECKS[check].sampling.step(share, "float64") >= full_step


def test_of_a_layer_with_a_share_of_the_examples_fewer_are_left_out() -> None:
    laws, errors = CHECKS["laws"].sampling, CHECKS["errors"].sampling
    full_share, medium_share, small_share = (
        CATALOGUE[name].generation.examples_fraction for name in ("Linear", "Dropout", "MaxPool1d")
    )
    assert small_share < MEDIUM_SHARE <= medium_share < 1
    assert laws.step(full_share, "float64") == laws.step_full_share > 2
    assert laws.step(medium_share, "float64") == laws.step_medium_share > 1
    assert CHECKS["special"].sampling.step(medium_share, "float64") == 1
    assert laws.step(small_share, "float64") == laws.step(full_share, MAIN_DTYPE) == 1
    assert errors.step(small_share, "float64") == errors.step_other_dtypes > 1


def test_only_some_checks_test_the_extra_cases_of_a_layer_that_needs_more() -> None:
    share = CATALOGUE["Network"].generation.examples_fraction
    assert share == 3
    assert CHECKS["values"].sampling.step(share, MAIN_DTYPE) == 1
    for name in ("special", "state", "threads"):
        sampling = CHECKS[name].sampling
        assert sampling.step(share, "bfloat16") == 3 * sampling.step(1.0, "bfloat16")


def test_the_cases_are_those_of_other_checks() -> None:
    (_, sampled), (item, all_cases) = (
        _item_cases("state", "float64"),
        _item_cases("values", "float64"),
    )
    assert isinstance(sampled, EveryNth)
    assert item.step(EXAMPLES) == 1
    # Planned cases have taken the place of some.
    assert isinstance(all_cases, Arranged)
    places, step = list(all_cases.places), CHECKS["state"].sampling.step_other_dtypes
    in_both = [k for k in places if k % step == 0]
    assert len(in_both) > len(sampled) / 2
    assert [sampled[k // step] for k in in_both] == [all_cases[places.index(k)] for k in in_both]
    assert sampled[-1] is sampled[len(sampled) - 1]
    assert sampled[1:3] == (sampled[1], sampled[2])


def test_a_case_is_drawn_again_where_it_was_drawn() -> None:
    item, _ = _item_cases("state", "float64")
    stream, step = Stream(item, EXAMPLES, 0), CHECKS["state"].sampling.step_other_dtypes
    assert [stream.round_and_drawn_index(k) for k in (0, 1, 3)] == [
        (0, 0),
        (0, step),
        (0, 3 * step),
    ]
    count = len(stream.cases())
    # The next rounds are the cases that the first one left out; then others are drawn.
    starts = (EXAMPLES - 1) % step + 1
    assert 1 < starts <= step
    assert stream.round_and_drawn_index(count + 2) == (0, 1 + 2 * step)
    assert stream.round_and_drawn_index(starts * count + 2) == (1, 2 * step)
    assert stream[count + 2] is stream.cases(1)[2]
    full_stream = Stream(Item("Linear", "values", "float64", "cpu"), EXAMPLES, 0)
    places = full_stream.cases().places  # type: ignore[attr-defined]
    assert stream[2] is full_stream[places.index(2 * step)]
    assert full_stream.round_and_drawn_index(places.index(2 * step)) == (0, 2 * step)


def test_of_invalid_calls_no_more_are_drawn_than_are_looked_at() -> None:
    item = Item("Linear", "errors", "float64", "cpu")
    stream, step = Stream(item, EXAMPLES, 0), CHECKS["errors"].sampling.step_other_dtypes
    assert step > 1
    assert stream.examples == len(stream.cases()) == case_count(item, EXAMPLES)
    assert stream.round_and_drawn_index(3) == (0, 3)


@pytest.mark.parametrize("check", ["values", "errors"])
def test_a_stream_is_asked_for_the_profiles_examples(check: str) -> None:
    """If a layer uses only a share of the examples, the stream has just those cases."""
    item = Item("LazyLinear", check, MAIN_DTYPE, "cpu")
    stream = Stream(item, EXAMPLES, 0)
    assert len(stream.cases()) == case_count(item, EXAMPLES) < EXAMPLES


def _plan_items(layer: str, dtypes: Sequence[str] = DTYPES) -> list[Item]:
    checks = [name for name, check in CHECKS.items() if check.applies(CATALOGUE[layer])]
    return [Item(layer, check, dtype, "cpu") for dtype in dtypes for check in checks]


def test_the_quick_profile_asks_every_check_in_the_first_dtype_and_some_in_others() -> None:
    quick, chosen = PROFILES["quick"], list[Item]()
    for layer in CATALOGUE:
        items = _plan_items(layer)
        ours = quick.choose_items(items, 0)
        assert [i.check for i in ours if i.dtype == MAIN_DTYPE] == [
            i.check for i in items if i.dtype == MAIN_DTYPE
        ]
        chosen += ours
    further = {(item.check, item.dtype) for item in chosen if item.dtype != MAIN_DTYPE}
    further_checks = {name for name, check in CHECKS.items() if check.sampling.sampled_extra_dtypes}
    # Over all layers, each of these checks runs in every dtype.
    assert further == {
        (check, dtype) for check in further_checks for dtype in DTYPES if dtype != MAIN_DTYPE
    }
    for layer in ("Linear", "ReLU"):
        for check in CHECKS:
            count = sum(
                i.layer == layer and i.check == check and i.dtype != MAIN_DTYPE for i in chosen
            )
            assert count in (0, CHECKS[check].sampling.sampled_extra_dtypes)


def test_a_standard_run_asks_some_checks_in_one_of_some_dtypes_and_seeds_rotate_them() -> None:
    items = _plan_items("GRU")
    for check in CHECKS:
        rotated = CHECKS[check].sampling.rotated_dtypes
        per_seed = [
            [i.dtype for i in PROFILES["standard"].choose_items(items, seed) if i.check == check]
            for seed in range(6)
        ]
        assert all(set(DTYPES) - set(dtypes) <= set(rotated) for dtypes in per_seed)
        assert {len(dtypes) for dtypes in per_seed} == {len(DTYPES) - max(len(rotated) - 1, 0)}
        assert set().union(*per_seed) == set(DTYPES)
    assert PROFILES["thorough"].choose_items(items, 0) == tuple(items)


def test_a_lone_dtype_has_every_check_in_the_quick_profile() -> None:
    items = _plan_items("Linear", ["bfloat16"])
    assert [i.id for i in PROFILES["quick"].choose_items(items, 0)] == [i.id for i in items]


@pytest.mark.parametrize("layer", ["Linear", "Dropout", "MaxPool1d"])
@pytest.mark.parametrize("check", ["values", "gradients", "errors", "special"])
def test_a_quick_item_has_some_of_the_cases_that_are_drawn(layer: str, check: str) -> None:
    examples = PROFILES["quick"].examples
    for dtype in (MAIN_DTYPE, "float16"):
        item = Item(layer, check, dtype, "cpu", samples=True)
        stream = Stream(item, examples, 0)
        enough = CHECKS[check].sampling.sample_size_in(dtype)
        number = len(stream.cases())
        assert (
            min(enough, item.drawn_count(examples))
            <= number
            <= min(2 * enough, item.drawn_count(examples))
        )
        assert number == case_count(item, examples)


class _Forgets(torch.nn.Linear):
    """A module whose state lacks the bias."""

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, object]:  # type: ignore[override]
        return {k: x for k, x in super().state_dict().items() if k != "bias"}


_Forgets.__name__ = _Forgets.__qualname__ = "Linear"


def test_what_fails_in_few_cases_is_shrunk() -> None:
    backend = ModuleBackend("forgets", nn=SimpleNamespace(Linear=_Forgets))
    verdict = Engine(backend, 40, 0).run(Item("Linear", "state", "float64", "cpu"))
    assert verdict.status == "failed"
    assert verdict.examples.drawn == 10
    assert verdict.call == "Linear(1, 1) on input (1,), float64, cpu"


@pytest.mark.parametrize(
    ("silent", "drawn", "status"), [(24, 25, "passed"), (999, 100, "unchecked")]
)
def test_where_nothing_was_compared_further_cases_are_asked(
    monkeypatch: pytest.MonkeyPatch, silent: int, drawn: int, status: str
) -> None:
    """Of ten cases none may have a number with a finite bound; others of the seed have some."""
    compared = 0

    def compare_late(trial: Trial) -> Evidence:
        nonlocal compared
        compared += 1
        return Evidence(compared > silent)

    monkeypatch.setitem(EVERY_CHECK, "values", replace(CHECKS["values"], run=compare_late))
    verdict = Engine(torch_backend, 10, 0).run(Item("Linear", "values", "float64", "cpu"))
    assert (verdict.status, verdict.examples.drawn) == (status, drawn)
