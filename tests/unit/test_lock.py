"""The lock reports every change of drawn cases, bounds, statuses and sets of items."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import lock
import numpy as np
import pytest

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.model.case import Call, Case

RECORD: dict[str, Any] = {
    "parts": {
        "drawn and expected": {"0 Linear-values-float32-cpu": ["a", "b"]},
        "torch": {"0 Linear-values-float32-cpu": ["passed", "c"]},
    },
    "seconds": {"torch, seed 0": 2.0},
}


def test_a_digest_is_of_every_bit_of_a_case_and_of_a_bound() -> None:
    case = Case(Call("Linear", {}, {}, "float32", "cpu"), (np.ones(3),))
    other = replace(case, inputs=(np.nextafter(np.ones(3), 2),))
    assert lock.digest(case) == lock.digest(deepcopy(case)) != lock.digest(other)
    unit_value = exact_operand(np.ones(3), Precision.of("float32"))
    wider = replace(unit_value, error=unit_value.error + 1e-12)
    assert lock.digest(lock.expectation(unit_value)) != lock.digest(lock.expectation(wider))


@pytest.mark.parametrize(
    ("part", "now", "said"),
    [
        ("drawn and expected", ["x", "b"], "cases"),
        ("drawn and expected", ["a", "x"], "expected"),
        ("torch", ["failed", "x"], "passed → failed"),
        ("torch", ["passed", "x"], "passed → passed with another verdict"),
        ("torch", None, "only before"),
    ],
)
def test_what_differs_is_listed(
    part: str, now: list[str] | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    after = deepcopy(RECORD)
    if now is None:
        after["parts"][part].clear()
    else:
        after["parts"][part]["0 Linear-values-float32-cpu"] = now
    assert lock.compare(RECORD, after) == 1
    assert f"{part}: 0 Linear-values-float32-cpu: {said}\n" in capsys.readouterr().out


def test_equal_records_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert lock.compare(RECORD, deepcopy(RECORD)) == 0
    assert capsys.readouterr().out.startswith("same: 2 digests\n")
