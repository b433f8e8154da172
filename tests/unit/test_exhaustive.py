"""`nn-conformance exhaustive`: parts add up, and wrong numbers are counted and reported."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conformance.reports.exhaustive import Line, table

from conformance.arithmetic.ulps import find_farthest, unit_in_the_last_place
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.commands.cli import main
from conformance.model.exhaustive_range import RangeResult
from conformance.model.formats import all_finite_numbers
from conformance.model.max_error import Farthest
from conformance.run.exhaustive import compare_range, function_cases, function_name, number_blocks

pytestmark = pytest.mark.in_fork


def _wrong_at_one(input: torch.Tensor) -> torch.Tensor:
    y = torch.tanh(input)
    return torch.where(input == 1, y * 1.01, y)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_parts_hold_every_finite_number_once(dtype: str) -> None:
    joined = np.concatenate([x for k in range(1, 4) for x in number_blocks(dtype, k, 3)])
    wanted = all_finite_numbers(dtype)
    assert joined.size == wanted.size
    assert (np.sort(joined) == np.sort(wanted)).all()


def test_a_part_of_float32_holds_its_numbers() -> None:
    (first,) = number_blocks("float32", 1, 1 << 14)
    assert first.size == 1 << 18
    assert first.min() == 0
    assert first.max() == (2**18 - 1) * 2.0**-149


def test_what_is_wrong_is_counted_and_told() -> None:
    (case,) = function_cases(["functional.tanh"])
    faithful = compare_range(torch_backend, case, "float16", "forward")
    assert faithful.numbers == faithful.compared == all_finite_numbers("float16").size
    assert not faithful.wrong
    assert faithful.farthest is not None
    assert faithful.farthest.ulps <= 0.51
    backend = ModuleBackend("wrong", functional=SimpleNamespace(tanh=_wrong_at_one))
    wrong = compare_range(backend, case, "float16", "forward")
    assert wrong.wrong == 1
    assert wrong.farthest is not None
    assert wrong.farthest.at == 1.0
    assert wrong.farthest.ulps > 10


def test_parts_add_up() -> None:
    (case,) = function_cases(["functional.tanh"])
    full = compare_range(torch_backend, case, "bfloat16", "derivative")
    first, second = (
        compare_range(torch_backend, case, "bfloat16", "derivative", k, 2) for k in (1, 2)
    )
    assert first + second == full


def test_a_word_names_another_function() -> None:
    assert [function_name(case) for case in function_cases(["GELU"])] == [
        "GELU()",
        "GELU(approximate='tanh')",
    ]


def test_units_in_the_last_place() -> None:
    numbers = np.array([1.0, 1.5, 2.0, 0.0, 2.0**-30])
    units = unit_in_the_last_place(numbers, "float16")
    assert units.tolist() == [2.0**-10, 2.0**-10, 2.0**-9, 2.0**-24, 2.0**-24]
    distances = find_farthest(
        numbers, numbers + np.array([0, 2.0**-9, np.nan, 0, 0]), numbers, "float16"
    )
    assert distances == Farthest(2.0, 1.5, 1.5 + 2.0**-9, 1.5)
    assert find_farthest(np.array([]), np.array([]), np.array([]), "float16") is None


def test_the_table_adds_up_parts_and_says_what_is_missing() -> None:
    def line(part: int, wrong: int, ulps: float) -> Line:
        farthest = Farthest(ulps, 3.0, 1.0, 1.0)
        return Line("mine", "Tanh()", "float32", "forward", part, 4,
                    RangeResult(10, 10, wrong, 0.5, 1.0, farthest))  # fmt: skip

    lines = [line(1, 0, 0.5), line(2, 3, 0.75), line(2, 3, 0.75)]
    assert "| `Tanh()` | forward | **3 of 20 beyond the bound**; 0.75 ulp at 3" in table(lines)
    assert "1/2 of all numbers" in table(lines)
    declined = Line("mine", "ELU()", "float32", "forward", 1, 1, None, "not offered")
    assert "declined: not offered" in table([declined])


def test_the_command_writes_lines_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, page = tmp_path / "lines.jsonl", tmp_path / "table.md"
    arguments = ["exhaustive", str(lines), "--layer=functional.relu", "--dtype=float16"]
    assert main(arguments) == 0
    assert "0 of 63,488 beyond the bound" in capsys.readouterr().out
    assert main(["exhaustive", str(lines), f"--table={page}"]) == 0
    assert "equal" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--part=3/2", "--part='3/2': expected K/N with K from 1 to N"),
        ("--dtype=float64", "--dtype='float64': expected one of float16, bfloat16, float32"),
        ("--layer=Linear", "--layer='Linear': expected functions of single numbers"),
        ("--pass=back", "--pass='back': expected one of forward, derivative"),
    ],
)
def test_a_wrong_option_is_named(
    option: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exhaustive", str(tmp_path / "lines.jsonl"), option]) == 2
    assert said in capsys.readouterr().err
