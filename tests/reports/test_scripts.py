"""Scripts of failures: with the bug they exit 1, with torch's own layer 0."""

from __future__ import annotations

import re
from functools import reduce
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import sampled_layers
from planted import BUGS
from planted.bug import attribute_path
from printed import find_missing_numbers, script_message
from script_rate import run_in_new_process, run_script, scripts
from support import cases
from torch import nn

from conformance.backends import FunctionBackend, ModuleBackend, implements
from conformance.checks import CHECKS
from conformance.checks.trial import Trial
from conformance.diagnosis.reproducer import NOT_REPRODUCED, make_reproducer
from conformance.layers import CATALOGUE
from conformance.model.failure import Failure, Inapplicable

pytestmark = pytest.mark.in_fork

# One bug for each family and check, without bugs at block sizes, which few cases show.
CHOSEN = {
    (CATALOGUE[bug.layer].family, bug.check): bug
    for bug in BUGS
    if bug.layer in sampled_layers() and bug.implementation.__module__ != "planted.several.tails"
}


@pytest.mark.parametrize("bug", CHOSEN.values(), ids=lambda bug: bug.name)
def test_a_script_shows_the_failure(bug: Any) -> None:
    torch_layer = reduce(getattr, attribute_path(bug.layer), torch.nn)
    source = scripts(bug, ("float32", "float64", "float16", "bfloat16"), (bug.check,))[bug.check]
    status, printed = run_script(source, bug.implementation)
    assert status == 1, source
    assert not find_missing_numbers(script_message(source), printed), source
    assert run_script(source, torch_layer)[0] == 0, source
    assert NOT_REPRODUCED not in source


def test_a_script_needs_torch_and_numpy_only() -> None:
    bug = next(bug for bug in BUGS if bug.name == "linear-square-weight-untransposed")
    source = scripts(bug)["repeat"]
    assert set(re.findall(r"^(?:import|from) (\w+)", source, re.M)) == {"numpy", "torch", "planted"}
    assert run_in_new_process(source, bug) == 1


class DoubledRows(FunctionBackend):
    """A framework of its own, wrong for more than one row."""

    name = "doubled"

    @implements("Linear", ignores=("in_features", "out_features"))
    def linear(self, state: Any, input: Any, *, bias: bool = True) -> Any:
        """Twice the product."""
        y = input @ state["weight"].T + (state["bias"] if bias else 0)
        return y * 2 if input.ndim > 1 else y


def test_the_script_of_another_framework_goes_through_its_adapter() -> None:
    backend, spec = DoubledRows(), CATALOGUE["Linear"]
    for check in ("values", "laws", "repeat"):
        for case in cases("Linear"):
            trial = Trial(backend, spec, case)
            try:
                CHECKS[check].run(trial)
            except Inapplicable:
                continue
            except Failure as failure:
                source = make_reproducer(trial, check, str(failure))
                break
        assert "import torch" not in source
        source = source.replace("load('doubled')", "given")
        for tested_backend, status in ((backend, 1), (ModuleBackend("torch"), 0)):
            with pytest.raises(SystemExit) as raised:
                exec(compile(source, "script.py", "exec"), {"given": tested_backend})
            assert raised.value.code == status


@pytest.mark.parametrize(
    ("name", "check"),
    [
        # The state_dict lacks what the adapter itself reads.
        ("mha-separate-projections-saved", "layout"),
        ("batchnorm2d-count-not-saved", "layout"),
        # The tensors that the layer drew cannot be loaded as they were saved.
        ("linear-weight-saved-transposed", "state"),
        # A sum whose terms hold the same number as it.
        ("conv2d-subnormals-flushed", "laws"),
        # NaN where NaN is wanted, too.
        ("conv2d-scaled-against-underflow", "laws"),
        # The output is an input of the next call, but integers.
        ("identity-integers-become-floats", "laws"),
    ],
)
def test_a_script_shows_what_once_hid(name: str, check: str) -> None:
    bug = next(bug for bug in BUGS if bug.name == name)
    source = scripts(bug, checks=(check,))[check]
    assert run_script(source, bug.implementation)[0] == 1, source
    assert run_script(source, getattr(torch.nn, bug.layer))[0] == 0, source


def test_a_script_draws_the_numbers_of_its_message() -> None:
    bug = next(bug for bug in BUGS if bug.name == "dropout-unscaled")
    source = scripts(bug, checks=("values",))["values"]
    outcomes = [run_script(source, bug.implementation) for _ in range(3)]
    assert {status for status, _ in outcomes} == {1}
    assert not any(find_missing_numbers(script_message(source), printed) for _, printed in outcomes)
    assert {run_script(source, torch.nn.Dropout)[0] for _ in range(3)} == {0}


def test_a_failure_that_does_not_come_again_is_said_to_be_one() -> None:
    backend = ModuleBackend("sound", nn=SimpleNamespace(Linear=nn.Linear))
    trial = Trial(backend, CATALOGUE["Linear"], cases("Linear")[0])
    source = make_reproducer(trial, "values", "a message")
    assert NOT_REPRODUCED in source
    assert run_script(source, nn.Linear)[0] == 0


def test_a_backend_may_write_its_own_script() -> None:
    backend = ModuleBackend("own", nn=SimpleNamespace(Linear=nn.Linear))
    backend.script = lambda transcript: f"{len(transcript.steps)} steps"  # type: ignore[attr-defined]
    trial = Trial(backend, CATALOGUE["Linear"], cases("Linear")[0])
    assert make_reproducer(trial, "values", "a message") == "4 steps"
