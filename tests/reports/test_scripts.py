"""Scripts of failures: with the bug they exit 1, with torch's own layer 0."""

from __future__ import annotations

import contextlib
import io
import math
import re
from functools import reduce
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sampled_layers
from planted import BUGS
from planted.bug import attribute_path
from printed import find_missing_numbers, script_message
from script_rate import backend_of, run_in_new_process, run_script, scripts
from support import cases
from torch import nn

from conformance.backends import FunctionBackend, ModuleBackend, implements
from conformance.checks import CHECKS
from conformance.checks.trial import Trial
from conformance.diagnosis.reproducer import NOT_REPRODUCED, make_reproducer
from conformance.layers import CATALOGUE
from conformance.model.case import Unsupported
from conformance.model.failure import Failure, Inapplicable

pytestmark = pytest.mark.in_fork

_UNDER_TEST = re.compile(r"^from \S+ import (\w+)  # the implementation under test$", re.M)
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
    status, printed = run_script(source, bug.implementation, backend_of(bug))
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


class Scaled(FunctionBackend):
    """A GELU and a ReLU on NumPy whose results are multiplied by a factor."""

    name = "scaled"

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    @implements("GELU")
    def gelu(self, state: Any, input: Any, *, approximate: str = "none") -> Any:
        """x·Φ(x), with no cancellation far below 0, and the operand multiplied by the factor."""
        if approximate != "none":
            raise Unsupported("approximate")
        x = torch.from_numpy(np.asarray(input, np.float64))
        return (0.5 * x * torch.erfc(-x * self.factor / math.sqrt(2))).numpy().astype(input.dtype)

    @implements("ReLU")
    def relu(self, state: Any, input: Any, *, inplace: bool = False) -> Any:
        """max(x, 0), times the factor if x has more than one dimension."""
        return np.maximum(input, 0) * input.dtype.type(1 if input.ndim < 2 else self.factor)

    @implements("Softplus")
    def softplus(
        self, state: Any, input: Any, *, beta: float = 1.0, threshold: float = 20.0
    ) -> Any:
        """log(1 + exp(βx))/β, times the factor if β is not 1."""
        x = torch.from_numpy(np.asarray(input, np.float64))
        y = nn.functional.softplus(x, beta, threshold) * (1 if beta == 1 else self.factor)
        return y.numpy().astype(input.dtype)


def module_backend(factor: float) -> ModuleBackend:
    """Torch's layers, except a GELU, a ReLU and a Softplus wrong by a factor."""

    class GELU(nn.GELU):
        def forward(self, input: Any) -> Any:
            if self.approximate != "none":
                return super().forward(input)
            x = input.double()
            return (0.5 * x * torch.erfc(-x * factor / math.sqrt(2))).to(input.dtype)

    class ReLU(nn.ReLU):
        def forward(self, input: Any) -> Any:
            return super().forward(input) * (1 if input.ndim < 2 else factor)

    class Softplus(nn.Softplus):
        def forward(self, input: Any) -> Any:
            return super().forward(input) * (1 if self.beta == 1 else factor)

    layers = {layer.__name__: layer for layer in (GELU, ReLU, Softplus)}
    for name, layer in layers.items():
        layer.__qualname__ = name  # as if it could be imported
    return ModuleBackend("scaled", nn=SimpleNamespace(**layers))


@pytest.mark.parametrize("make_backend", [Scaled, module_backend])
@pytest.mark.parametrize(
    ("layer", "law"),
    [("GELU", "tail"), ("Softplus", "beta_twice"), ("ReLU", "")],  # "" = any law
    ids=["constant-side", "computed-side", "equality"],
)
def test_a_script_of_a_law_judges_the_layer_that_it_runs(
    layer: str, law: str, make_backend: Any
) -> None:
    source = law_script(layer, law, make_backend(1.25))
    for factor, status in ((1.25, 1), (1.5, 1), (0.75, 1), (1, 0)):
        backend = make_backend(factor)
        implementation = getattr(getattr(backend, "nn", None), layer, None)
        tested = _UNDER_TEST.sub(r"\1 = implementation", source).replace("load('scaled')", "given")
        printed = io.StringIO()
        with pytest.raises(SystemExit) as raised, contextlib.redirect_stdout(printed):
            exec(
                compile(tested, "script.py", "exec"),
                {"given": backend, "implementation": implementation},
            )
        assert (raised.value.code or 0) == status, (factor, source)
        assert printed.getvalue().rstrip().endswith("FAILED" if status else "passed")
    torch.set_grad_enabled(True)


def law_script(layer: str, law: str, backend: Any) -> str:
    """The script of the first case in which the law fails."""
    for case in cases(layer, "float64"):
        trial = Trial(backend, CATALOGUE[layer], case)
        try:
            CHECKS["laws"].run(trial)
        except (Inapplicable, Unsupported):
            continue
        except Failure as failure:
            if law in ("", failure.finding.law):
                return make_reproducer(trial, "laws", str(failure))
    raise AssertionError(f"law {law!r} of {layer} never failed")


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
        # Twice an output that equals another output by chance.
        ("softplus-beta-outside-only", "laws"),
        # The output is an input of the next call, but integers.
        ("identity-integers-become-floats", "laws"),
    ],
)
def test_a_script_shows_what_once_hid(name: str, check: str) -> None:
    bug = next(bug for bug in BUGS if bug.name == name)
    source = scripts(bug, checks=(check,))[check]
    assert run_script(source, bug.implementation, backend_of(bug))[0] == 1, source
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
