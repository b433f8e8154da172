"""A session of the project's tests runs a sample, or the tests that the user names."""

from __future__ import annotations

from pathlib import Path

import conftest
import pytest

from conformance.layers import CATALOGUE

SAMPLED = sorted(conftest.sampled_layers())[0]
OTHER = next(name for name in CATALOGUE if name not in conftest.sampled_layers())
TESTS = f"""
import pytest

@pytest.mark.parametrize("layer", ["{SAMPLED}", "{OTHER}"])
def test_layer(layer): pass

@pytest.mark.parametrize("number", range(3))
def test_planted_bug_is_caught(number): pass

@pytest.mark.nightly
def test_long(): pass
"""
ALWAYS = [
    f"test_layer[{SAMPLED}]",
    "test_planted_bug_is_caught[0]",
    "test_planted_bug_is_caught[2]",
]
EACH = [*ALWAYS, f"test_layer[{OTHER}]", "test_planted_bug_is_caught[1]"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], ALWAYS),
        (["test_it.py"], ALWAYS),
        (["-k", "test"], EACH),
        (["-k", OTHER], [f"test_layer[{OTHER}]"]),
        (["-k", "long"], []),
        ([f"test_it.py::test_layer[{OTHER}]"], [f"test_layer[{OTHER}]"]),
        (["test_it.py::test_long"], ["test_long"]),
    ],
)
def test_what_is_asked_for_by_name_is_not_left_out(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    wanted: list[str],
) -> None:
    monkeypatch.delenv("NN_CONFORMANCE_TESTS", raising=False)
    pytester.makeini("[pytest]\nmarkers = nightly")
    pytester.makeconftest(Path(conftest.__file__).read_text(encoding="utf-8"))
    pytester.makepyfile(test_it=TESTS)
    pytest_options = ("-p", "no:cacheprovider", "-p", "no:conformance", "--collect-only", "-q")
    result = pytester.runpytest_inprocess(*pytest_options, *arguments)
    collected = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert sorted(collected) == sorted(wanted)
