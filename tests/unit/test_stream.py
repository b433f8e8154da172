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
from conformance.generation.cases import Every
from conformance.items.planning import PROFILES, Item, asked_of
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE, DTYPES
from conformance.model.case import Case
from conformance.model.checks import IN_FULL, MEDIUM
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

EXAMPLES = 30


def _cases(check: str, dtype: str, layer: str = "Linear") -> tuple[Item, Sequence[Case]]:
    item = Item(layer, check, dtype, "cpu")
    return item, Engine(torch_backend, EXAMPLES, 0).cases(item)


@pytest.mark.parametrize("check", list(CHECKS))
def test_all_or_most_cases_in_one_dtype_and_some_in_others(check: str) -> None:
    layer = "Dropout" if check == "random" else "Linear"
    item, cases = _cases(check, IN_FULL, layer)
    assert len(cases) == asked_of(item, EXAMPLES) > 1
    in_full, share = item.step(EXAMPLES), CATALOGUE[layer].generation.examples
    assert in_full == CHECKS[check].sampling.step(share, IN_FULL)
    item, cases = _cases(check, "float64", layer)
    assert len(cases) == asked_of(item, EXAMPLES)
    assert item.step(EXAMPLES) == CHECKS[check].sampling.step(share, "float64") >= in_full


def test_of_a_layer_with_a_share_of_the_examples_fewer_are_left_out() -> None:
    laws, errors = CHECKS["laws"].sampling, CHECKS["errors"].sampling
    many, some, few = (
        CATALOGUE[name].generation.examples for name in ("Linear", "Dropout", "MaxPool1d")
    )
    assert few < MEDIUM <= some < 1
    assert laws.step(many, "float64") == laws.of_many > 2
    assert laws.step(some, "float64") == laws.of_medium > 1
    assert CHECKS["special"].sampling.step(some, "float64") == 1
    assert laws.step(few, "float64") == laws.step(many, IN_FULL) == 1
    assert errors.step(few, "float64") == errors.every > 1


def test_the_cases_are_those_of_other_checks() -> None:
    (_, some), (item, whole) = _cases("state", "float64"), _cases("values", "float64")
    assert isinstance(some, Every)
    assert item.step(EXAMPLES) == 1
    assert list(some) == [whole[k] for k in range(0, len(whole), CHECKS["state"].sampling.every)]
    assert some[-1] is some[len(some) - 1]
    assert some[1:3] == (some[1], some[2])


def test_a_case_is_drawn_again_where_it_was_drawn() -> None:
    item, _ = _cases("state", "float64")
    stream, every = Stream(item, EXAMPLES, 0), CHECKS["state"].sampling.every
    assert [stream.drawn_as(k) for k in (0, 1, 3)] == [(0, 0), (0, every), (0, 3 * every)]
    count = len(stream.cases())
    assert stream.drawn_as(count + 2) == (1, 2 * every)
    whole = Stream(Item("Linear", "values", "float64", "cpu"), EXAMPLES, 0)
    assert stream[2] is whole[2 * every]


def test_of_invalid_calls_no_more_are_drawn_than_are_looked_at() -> None:
    item = Item("Linear", "errors", "float64", "cpu")
    stream, every = Stream(item, EXAMPLES, 0), CHECKS["errors"].sampling.every
    assert every > 1
    assert stream.examples == len(stream.cases()) == asked_of(item, EXAMPLES)
    assert stream.drawn_as(3) == (0, 3)


@pytest.mark.parametrize("check", ["values", "errors"])
def test_a_stream_is_asked_for_the_profiles_examples(check: str) -> None:
    """If a layer uses only a share of the examples, the stream has just those cases."""
    item = Item("LazyLinear", check, IN_FULL, "cpu")
    stream = Stream(item, EXAMPLES, 0)
    assert len(stream.cases()) == asked_of(item, EXAMPLES) < EXAMPLES


def _items(layer: str, dtypes: Sequence[str] = DTYPES) -> list[Item]:
    checks = [name for name, check in CHECKS.items() if check.applies(CATALOGUE[layer])]
    return [Item(layer, check, dtype, "cpu") for dtype in dtypes for check in checks]


def test_the_quick_profile_asks_every_check_in_the_first_dtype_and_some_in_others() -> None:
    quick, chosen = PROFILES["quick"], list[Item]()
    for layer in CATALOGUE:
        there = _items(layer)
        ours = quick.chosen(there)
        assert [i.check for i in ours if i.dtype == IN_FULL] == [
            i.check for i in there if i.dtype == IN_FULL
        ]
        chosen += ours
    further = {(item.check, item.dtype) for item in chosen if item.dtype != IN_FULL}
    asked = {name for name, check in CHECKS.items() if check.sampling.further}
    # Over all layers, each of these checks runs in every dtype.
    assert further == {(check, dtype) for check in asked for dtype in DTYPES if dtype != IN_FULL}
    for layer in ("Linear", "ReLU"):
        for check in CHECKS:
            count = sum(
                i.layer == layer and i.check == check and i.dtype != IN_FULL for i in chosen
            )
            assert count in (0, CHECKS[check].sampling.further)
    assert [i.id for i in PROFILES["smoke"].chosen(_items("GRU"))] == [i.id for i in _items("GRU")]


def test_a_lone_dtype_has_every_check_in_the_quick_profile() -> None:
    there = _items("Linear", ["bfloat16"])
    assert [i.id for i in PROFILES["quick"].chosen(there)] == [i.id for i in there]


@pytest.mark.parametrize("layer", ["Linear", "Dropout", "MaxPool1d"])
@pytest.mark.parametrize("check", ["values", "gradients", "errors", "special"])
def test_a_quick_item_has_some_of_the_cases_that_are_drawn(layer: str, check: str) -> None:
    examples = PROFILES["quick"].examples
    for dtype in (IN_FULL, "float16"):
        item = Item(layer, check, dtype, "cpu", samples=True)
        stream = Stream(item, examples, 0)
        enough = CHECKS[check].sampling.enough_in(dtype)
        number = len(stream.cases())
        assert min(enough, item.drawn(examples)) <= number <= min(2 * enough, item.drawn(examples))
        assert number == asked_of(item, examples)


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
    asked = 0

    def compares_late(trial: Trial) -> Evidence:
        nonlocal asked
        asked += 1
        return Evidence(asked > silent)

    monkeypatch.setitem(EVERY_CHECK, "values", replace(CHECKS["values"], run=compares_late))
    verdict = Engine(torch_backend, 10, 0).run(Item("Linear", "values", "float64", "cpu"))
    assert (verdict.status, verdict.examples.drawn) == (status, drawn)
