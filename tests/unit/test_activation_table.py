"""A new activation needs no more than the steps that CONTRIBUTING.md lists."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import conformance.reports
import conformance.strategies
import pytest

import conformance
from conformance.layers import CATALOGUE
from conformance.layers.activation.kinds import KINDS
from conformance.model.activations import (
    ACTIVATIONS,
    Activation,
    ActivationError,
    Parameter,
    activation_of,
    require_complete,
    require_known,
)

TESTS = Path(__file__).resolve().parents[1]
OPTIONS = ["-v", "-rs", "-p", "no:cacheprovider", "-k", "added_for_a_test or AddedForATest"]
TABLE = "conformance/model/activations.py"
ORACLES = "conformance/oracles/activation/smooth.py"
KINDS_FILE = "conformance/layers/activation/kinds.py"
# File → one of its lines, and the text inserted before that line to add AddedForATest.
ADDED = {
    TABLE: (
        '    Activation(\n        "Tanhshrink",',
        """    Activation(
        "AddedForATest", "functional.added_for_a_test", "2 x/(1 + |x|)", in_torch=False
    ),
""",
    ),
    ORACLES: (
        "def tanhshrink(",
        """def added_for_a_test(state: State, input: Rounded) -> Rounded | Updated:
    one = constant(1.0, input)
    return finish_activation(input / (one + absolute(input)) * constant(2.0, input), input)


""",
    ),
    KINDS_FILE: (
        '    "Tanhshrink": Kind(',
        '    "AddedForATest": Kind(smooth.added_for_a_test, (laws.odd,)),\n',
    ),
}
# The brute-force reference of the new activation.
REFERENCE = (
    '    "Tanhshrink": lambda',
    '    "AddedForATest": lambda x: 2 * x / (1 + abs(x)),\n',
)
# Prints the statuses of both forms in every check that applies, for a right and a wrong layer.
JUDGED = """
from types import SimpleNamespace

import torch

from conformance.backends import ModuleBackend
from conformance.checks import CHECKS
from conformance.layers import CATALOGUE
from conformance.generation.drawing import draw_cases
from conformance.run.engine import Engine
from conformance.items.planning import Item

def backend(factor):
    def added_for_a_test(input):
        return input / (1 + input.abs()) * factor

    class AddedForATest(torch.nn.Module):
        def forward(self, input):
            return added_for_a_test(input)

    nn = SimpleNamespace(AddedForATest=AddedForATest)
    functional = SimpleNamespace(added_for_a_test=added_for_a_test)
    return ModuleBackend("mine", nn=nn, functional=functional)

for layer in ("AddedForATest", "functional.added_for_a_test"):
    row = CATALOGUE[layer]
    print(layer, row.family, len(list(draw_cases(layer, "float32", 12, 0))))
    for check, facts in CHECKS.items():
        if facts.applies(row):
            for dtype in ("float32", "bfloat16"):
                verdict = Engine(backend(2.0), 12, 0).run(Item(layer, check, dtype, "cpu"))
                print(layer, check, dtype, verdict.status)
    verdict = Engine(backend(1.5), 12, 0).run(Item(layer, "values", "float32", "cpu"))
    print("wrong", layer, verdict.status)
"""


def _add_activation(folder: Path, left_out: str = "") -> Path:
    """Copy the package and add AddedForATest in each place except `left_out`."""
    places = {
        "conformance": conformance,
        "conformance/strategies": conformance.strategies,
        "conformance/reports": conformance.reports,
    }
    for location, package in places.items():
        source = Path(str(package.__file__)).parent
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / location, ignore=ignore, dirs_exist_ok=True)
    for name, (line, text) in ADDED.items():
        file = folder / name
        content = file.read_text(encoding="utf-8")
        assert content.count(line) == 1, name
        if name != left_out:
            file.write_text(content.replace(line, text + line), encoding="utf-8")
    return folder


def _run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_one_more_activation_is_drawn_checked_and_passed(tmp_path: Path) -> None:
    completed = _run(_add_activation(tmp_path), JUDGED)
    assert completed.returncode == 0, completed.stderr
    lines = [line.split() for line in completed.stdout.splitlines()]
    for layer in ("AddedForATest", "functional.added_for_a_test"):
        assert [layer, "activation", "12"] in lines
        assert ["wrong", layer, "failed"] in lines
        verdicts = {tuple(line[1:3]): line[3] for line in lines if line[0] == layer and line[3:]}
        assert {check for check, _ in verdicts} >= {"values", "gradients", "laws", "special"}
        assert set(verdicts.values()) == {"passed"}, verdicts


def test_of_an_activation_that_torch_lacks_tests_hold_what_they_can(tmp_path: Path) -> None:
    """Tests compare it with its reference and shapes; tests that need torch skip with a reason."""
    _add_activation(tmp_path)
    shutil.copytree(TESTS, tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TESTS.parent / "pyproject.toml", tmp_path)
    file, (line, text) = tmp_path / "tests/brute_force/activation.py", REFERENCE
    file.write_text(file.read_text("utf-8").replace(line, text + line), "utf-8")
    test_files = ["tests/layers/test_rows.py", "tests/unit/test_oracles.py"]
    script = "import sys; sys.path.insert(0, 'tests'); import planted, pytest\n"
    completed = _run(tmp_path, script + f"raise SystemExit(pytest.main({[*OPTIONS, *test_files]}))")
    assert completed.returncode == 0, completed.stdout + completed.stderr
    for form in ("AddedForATest", "functional.added_for_a_test"):
        assert f"torch has no {form}\n" in completed.stdout
        for test in ("oracle_agrees_with_brute_force", "shape_formula_is_that_of_the_values"):
            assert f"test_oracles.py::test_{test}[{form}] PASSED" in completed.stdout
        assert f"test_rows.py::test_defaults_are_torchs[{form}] SKIPPED" in completed.stdout


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (KINDS_FILE, f"activation 'AddedForATest' of {TABLE} has no entry in {KINDS_FILE}"),
        (TABLE, f"{KINDS_FILE} names an activation 'AddedForATest', which {TABLE} lacks"),
        (ORACLES, "'conformance.oracles.activation.smooth' has no attribute 'added_for_a_test'"),
    ],
)
def test_a_place_that_is_forgotten_is_named_at_import(
    left_out: str, said: str, tmp_path: Path
) -> None:
    completed = _run(_add_activation(tmp_path, left_out), "import conformance.layers")
    assert completed.returncode == 1
    assert said in completed.stderr.splitlines()[-1]


def test_each_form_of_an_activation_is_a_row_and_is_found() -> None:
    forms = [
        form
        for activation in ACTIVATIONS.values()
        for form in (activation.module, activation.function, activation.in_place)
        if form
    ]
    catalogue_names = [spec.name for spec in CATALOGUE.values() if spec.family == "activation"]
    assert sorted([*forms, "PReLU", "functional.prelu"]) == sorted(catalogue_names)
    assert {activation_of(form).module for form in forms} == set(ACTIVATIONS)
    assert activation_of("functional.leaky_relu_") is ACTIVATIONS["LeakyReLU"]


@pytest.mark.parametrize("name", ["PReLU", "functional.relu6_", "functional.ReLU", "relu"])
def test_what_is_no_activation_of_the_table_is_named(name: str) -> None:
    with pytest.raises(ActivationError, match=f"no activation '{name}'"):
        activation_of(name)


def test_a_room_is_held_against_the_table() -> None:
    require_complete(KINDS, "a room")
    with pytest.raises(ActivationError, match=r"'Tanhshrink' .* no entry in a room"):
        require_complete({*KINDS} - {"Tanhshrink"}, "a room")
    for require in (require_known, require_complete):
        with pytest.raises(ActivationError, match="a room names an activation 'softsign'"):
            require((*KINDS, "softsign"), "a room")


def test_parameters_are_drawn_and_what_is_named_is_one() -> None:
    alpha, choices = (Parameter("alpha", 1.0),), {("alpha",): ((1.0,), (2.0,))}
    valid = Activation("Bent", "functional.bent", "", alpha, choices, nonnegative_parameter="alpha")
    assert valid.defaults == {"alpha": 1.0}
    assert [valid.is_reversible({"alpha": x}) for x in (-1.0, 0.0)] == [False, True]
    with pytest.raises(ActivationError, match="'Bent': no values of 'alpha' are drawn"):
        Activation("Bent", "functional.bent", "", alpha)
    with pytest.raises(ActivationError, match="'Bent': no parameter 'alpha'"):
        Activation("Bent", "functional.bent", "", (), choices)
    with pytest.raises(ActivationError, match="'Bent': no parameter 'beta'"):
        Activation("Bent", "functional.bent", "", alpha, choices, ordering="alpha < beta")


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_the_first_values_drawn_are_the_defaults(activation: Activation) -> None:
    for names, choices in activation.drawn_values.items():
        for name, value in zip(names, choices[0], strict=True):
            assert activation.defaults.get(name, value) == value
