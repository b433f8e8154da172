"""Shared by all tests: pytest's own test runner, a quiet torch, and a sample of the layers.

Tests with a parameter for each layer, or for each layer's planted bugs, run for some layers of each
family. Tests with many laws or bugs as parameters run for some of them. Tests marked `nightly`
take sessions or waits of many seconds, and have a cheaper twin. `NN_CONFORMANCE_TESTS=all` runs
all tests, as `tox -e nightly` does. Tests chosen by `-k` run, except those marked `nightly`; a test
named by its id always runs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import forked
import pytest
import warm

os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]

_SAMPLED_LAYERS = frozenset(
    (
        *("Conv2d", "LazyConv1d", "LSTM", "BatchNorm2d", "functional.max_pool2d", "Embedding"),
        *("CrossEntropyLoss", "Dropout", "functional.scaled_dot_product_attention"),
    )
)
"""One layer of each family with many layers, and one of each form."""

_SAMPLING_STEPS = {
    "test_a_call_that_is_accepted_and_fails_is_no_unsupported_one": 3,
    "test_a_command_ends_with_a_status": 2,
    "test_a_script_shows_the_failure": 5,
    "test_a_script_shows_the_failure_of_a_foreign_backend": 2,
    "test_a_scoreboard_shuts_nobody_out": 3,
    "test_a_verdicts_message_is_the_text_of_its_failure": 3,
    "test_a_wrong_rewrite_fails": 2,
    "test_broken_contract_is_a_failed_verdict": 2,
    "test_compiled_layers_pass": 2,
    "test_conditions_on_the_page_are_met_by_cases": 5,
    "test_each_law_holds_of_torch_and_is_seen_failing": 3,
    "test_each_law_is_seen_failing": 3,
    "test_each_law_of_a_method_is_seen_failing": 3,
    "test_every_element_is_representable": 3,
    "test_every_law_is_reached_and_torch_obeys_it": 2,
    "test_every_value_and_pair_is_reached_at_the_standard_profile": 2,
    "test_exported_programs_pass": 2,
    "test_faithful_backend_passes": 4,
    "test_needs_are_told_in_words": 2,
    "test_nobody_is_shut_out": 3,
    "test_null_backend_fails_values": 6,
    "test_oracle_agrees_with_brute_force": 2,
    "test_planted_bug_is_caught": 2,
    "test_the_action_says_what_is_wrong_with_an_input": 3,
    "test_the_planted_operator_is_named": 3,
    "test_the_script_of_a_death_does_what_the_check_did_until_then": 2,
    "test_torch_passes": 4,
    "test_true_values_and_slopes_are_within_the_bounds": 3,
    "test_what_a_call_raises_is_the_backends": 2,
    "test_what_is_wrong_names_the_operator_and_the_call": 2,
}
"""Test → n: of its many parameters, other than layers, only every n-th runs."""


def pytest_configure(config: pytest.Config) -> None:
    """Start the process that others are forked from; one serves all workers."""
    if config.getoption("collectonly"):
        return
    if getattr(config.option, "numprocesses", None):
        warm.start()
        return
    warm.install()
    warm.shorten_search()
    config.pluginmanager.register(forked.Plugin(), forked.Plugin.NAME)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing cases are made as small and plain as for users; see `warm.shorten_search`."""
    monkeypatch.setenv(warm.SEARCH, "1")


def sampled_layers() -> set[str]:
    """Layers whose tests run: the chosen ones, and the first of every other family."""
    from conformance.layers import CATALOGUE

    first = {CATALOGUE[name].family: name for name in _SAMPLED_LAYERS}
    for name, spec in CATALOGUE.items():
        first.setdefault(spec.family, name)
    return {*_SAMPLED_LAYERS, *first.values()}


def _layer_of(item: pytest.Item) -> str | None:
    """The layer that is a parameter of a test; None if there is none."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    bug, row = callspec.params.get("bug"), callspec.params.get("row")
    return getattr(bug, "layer", callspec.params.get("layer", getattr(row, "name", None)))


def _take_every_nth(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Take every n-th item of a test with many parameters, and all items of other tests."""
    counts: Counter[str] = Counter()
    for item in items:
        path, _, name = item.nodeid.partition("[")[0].rpartition("::")
        step = _SAMPLING_STEPS.get(name, 1) if hasattr(item, "callspec") else 1
        if counts[path + name] % step == 0:
            yield item
        counts[path + name] += 1


def _sample_items(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Take the items of sampled layers, and few items of tests with many other parameters."""
    from conformance.layers import CATALOGUE

    others = CATALOGUE.keys() - sampled_layers()
    return _take_every_nth([item for item in items if _layer_of(item) not in others])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out `nightly` tests, layers outside the sample, and most items of large tests."""
    if os.environ.get("NN_CONFORMANCE_TESTS") == "all" or any("::" in x for x in config.args):
        return
    kept = [item for item in items if not item.get_closest_marker("nightly")]
    if not config.getoption("keyword"):
        kept = list(_sample_items(kept))
    kept_ids = set(map(id, kept))
    left_out = [item for item in items if id(item) not in kept_ids]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
