"""Scripts of failures of foreign backends, each in a new process, with and without the bug."""

from __future__ import annotations

import pytest
from foreign import ForeignBug, bugs
from foreign_script_rate import Script, scripts
from printed import find_missing_numbers, script_message
from support import cases

from conformance.backends.registry import load
from conformance.checks.trial import Trial
from conformance.diagnosis.reproducer import NOT_REPRODUCED, make_reproducer
from conformance.layers import CATALOGUE

BUGS = {bug.name: bug for bug in bugs()}
# One object that several calls return, state that a call changes, gradients, and refusals by the
# framework's own exceptions.
CHOSEN = (
    ("numpy_only-first-answer-kept", "repeat"),
    ("plain-nothing-remembered", "repeat"),
    ("mlx-gradient-doubled", "gradients"),
    ("onnxruntime-invalid-gets-zeros", "errors"),
)


@pytest.mark.parametrize(("name", "check"), CHOSEN)
def test_a_script_shows_the_failure_of_a_foreign_backend(name: str, check: str) -> None:
    if name not in BUGS:
        pytest.skip("its framework is not installed")
    bug = BUGS[name]
    script = next(scripts(bug, (check,)))
    assert NOT_REPRODUCED not in script.source
    ends, printed = script.run(bug.address)
    assert ends == 1, script.source
    assert not find_missing_numbers(script_message(script.source), printed)
    assert script.run(bug.faithful)[0] == 0, script.source


def test_what_a_faithful_adapter_declines_is_no_failure() -> None:
    bug = BUGS["plain-nothing-remembered"]
    script = next(scripts(bug, ("values",)))
    ends, printed = script.run("foreign.of_numpy_only:NumpyOnly")
    assert ends == 0
    assert printed.startswith("declined: layer BatchNorm2d")


def test_a_script_of_a_process_that_ends() -> None:
    bug = ForeignBug("ends", "foreign.of_plain:Ends", "foreign.of_plain:Plain", ("Dropout",), "")
    trial = Trial(load(bug.address), CATALOGUE["Dropout"], cases("Dropout")[0])
    source = make_reproducer(trial, "values", "the process ended", ends_process=True)
    script = Script(bug, "Dropout", "values", "the process ended", source)
    assert script.run(bug.address) == (7, "")
    assert script.run(bug.faithful) == (0, "the process is still there\n")
