"""Tests in a fork: if the fork dies, one test fails; its reports look like those of other tests."""

from __future__ import annotations

import os
from typing import Any

import forked
import pytest

pytestmark = pytest.mark.skipif(not forked.FORKS, reason="tests run in pytest's process here")


def _run_session(pytester: pytest.Pytester, text: str, folder: str = "layers") -> Any:
    """Run a session of one test file in a folder, and return its result."""
    pytester.makeini("[pytest]\nmarkers = in_fork")
    pytester.makeconftest(
        "import forked\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(forked.Plugin(), forked.Plugin.NAME)\n"
    )
    (pytester.path / folder).mkdir(exist_ok=True)
    (pytester.path / folder / "test_it.py").write_text(text)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:conformance", "-rA")


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV"])
def test_a_test_in_which_the_process_dies_fails_and_the_others_go_on(
    pytester: pytest.Pytester, name: str
) -> None:
    result = _run_session(
        pytester,
        "import os, signal\n"
        "def test_one(): pass\n"
        f"def test_two(): os.kill(os.getpid(), signal.{name})\n"
        "def test_three(): pass\n",
    )
    result.assert_outcomes(passed=2, failed=1)
    death = f"died of {name}"
    result.stdout.fnmatch_lines(
        [f"its process {death}, a new one {death}", "FAILED layers/test_it.py::test_two - *"]
    )


def test_a_test_that_dies_of_an_earlier_one_passes_in_a_new_process(
    pytester: pytest.Pytester,
) -> None:
    result = _run_session(
        pytester,
        "import os\n"
        "HARMED = []\n"
        "def test_one(): HARMED.append(1)\n"
        "def test_two(): HARMED and os.abort()\n"
        "def test_three(): assert not HARMED\n",
    )
    result.assert_outcomes(passed=3, warnings=1)
    result.stdout.fnmatch_lines(["*DiedInTestWarning: *SIGABRT; in a new one the test is as*"])


KINDS = """
import os, warnings
import pytest

@pytest.fixture(scope="module")
def kept():
    yield []
    print("torn down")

@pytest.mark.parametrize("number", [1, 2])
def test_fixtures(kept, number, tmp_path):
    kept.append(number)
    assert kept == list(range(1, number + 1))

def test_failing(capfd):
    print("printed")
    assert {"a": 1} == {"a": 2}

def test_skipped(): pytest.skip("not here")

@pytest.mark.xfail(reason="wrong", raises=ZeroDivisionError)
def test_expected(): 1 / 0

@pytest.fixture
def broken(): raise LookupError("no fixture")

def test_error(broken): pass

def test_warning(record_property):
    record_property("name", "value")
    warnings.warn("mind", FutureWarning)
"""


def test_reports_are_those_of_any_test(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    for forks in (True, False):
        monkeypatch.setattr(forked, "FORKS", forks)
        result = _run_session(pytester, KINDS)
        result.assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1, errors=1, warnings=1)
        reports.append(
            [line for line in result.outlines if line.startswith(("E  ", "torn", "  /"))]
        )
    assert reports[0] == reports[1]
    assert reports[0]


@pytest.mark.parametrize(
    ("mark", "forks"), [("", False), ("pytestmark = pytest.mark.in_fork", True)]
)
def test_tests_elsewhere_run_in_a_fork_where_they_are_marked(
    pytester: pytest.Pytester, mark: str, forks: bool
) -> None:
    text = (
        "import os, pytest\n"
        "STARTED = os.getpid()\n"
        f"{mark}\n"
        f"def test_it(): assert (os.getpid() != STARTED) is {forks}\n"
    )
    _run_session(pytester, text, folder="unit").assert_outcomes(passed=1)


def test_a_function_called_in_a_fork_returns_raises_or_ends_it() -> None:
    calls: list[int] = []
    assert forked.call_in_fork(lambda: calls.append(1) or len(calls)) == 1
    assert calls == []
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        forked.call_in_fork(lambda: 1 / 0)
    with pytest.raises(forked.EndedError) as ended:
        forked.call_in_fork(lambda: os._exit(3))
    assert ended.value.args == (3,)
