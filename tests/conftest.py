"""Shared by all tests: pytest's own test runner, a quiet torch, and a sample of the layers.

Tests that are asked of each layer, or of each layer's planted bugs, run for some of each family;
of tests that are asked of many laws or bugs some run; what is marked `nightly` takes sessions or
waits of many seconds, and has a cheaper twin. `NN_CONFORMANCE_TESTS=all` runs them all, as
`tox -e nightly` does. What is chosen by `-k` runs, but for `nightly`; what is named by its id runs.
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

_SAMPLE = frozenset(
    (
        *("Conv2d", "LazyConv1d", "LSTM", "BatchNorm2d", "functional.max_pool2d", "Embedding"),
        *("CrossEntropyLoss", "Dropout", "functional.scaled_dot_product_attention"),
    )
)
"""Of each family that has many layers one, and one of each form."""

_ONE_OF = {
    "test_a_call_that_is_accepted_and_fails_is_no_unsupported_one": 3,
    "test_a_command_ends_with_a_status": 2,
    "test_a_script_shows_the_failure": 5,
    "test_a_script_shows_the_failure_of_a_foreign_backend": 2,
    "test_a_scoreboard_shuts_nobody_out": 3,
    "test_a_verdicts_message_is_the_text_of_its_failure": 3,
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
"""Tests that are asked of so much beside layers that one of so many runs."""


def pytest_configure(config: pytest.Config) -> None:
    """Have a process at hand that others are forked from; one serves all workers."""
    if config.getoption("collectonly"):
        return
    if getattr(config.option, "numprocesses", None):
        warm.start()
        return
    warm.install()
    warm.hasten()
    config.pluginmanager.register(forked.Plugin(), forked.Plugin.NAME)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing cases are made as small and plain as for users; see `warm.hasten`."""
    monkeypatch.setenv(warm.SEARCH, "1")


def sample() -> set[str]:
    """Those, and of every other family its first."""
    from conformance.layers import CATALOGUE

    first = {CATALOGUE[name].family: name for name in _SAMPLE}
    for name, row in CATALOGUE.items():
        first.setdefault(row.family, name)
    return {*_SAMPLE, *first.values()}


def _layer(item: pytest.Item) -> str | None:
    """The layer that a test is asked of; None where it is asked of none."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    bug, row = callspec.params.get("bug"), callspec.params.get("row")
    return getattr(bug, "layer", callspec.params.get("layer", getattr(row, "name", None)))


def _few(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Of a test that is asked of much every n-th, of others all."""
    seen: Counter[str] = Counter()
    for item in items:
        path, _, name = item.nodeid.partition("[")[0].rpartition("::")
        step = _ONE_OF.get(name, 1) if hasattr(item, "callspec") else 1
        if seen[path + name] % step == 0:
            yield item
        seen[path + name] += 1


def _sampled(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Of tests that are asked of each layer those of the sample, of those of much beside few."""
    from conformance.layers import CATALOGUE

    others = CATALOGUE.keys() - sample()
    return _few([item for item in items if _layer(item) not in others])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked so, layers that are not in the sample, and some of what is many."""
    if os.environ.get("NN_CONFORMANCE_TESTS") == "all" or any("::" in x for x in config.args):
        return
    kept = [item for item in items if not item.get_closest_marker("nightly")]
    if not config.getoption("keyword"):
        kept = list(_sampled(kept))
    here = set(map(id, kept))
    left = [item for item in items if id(item) not in here]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept
