"""The smallest looser declaration is found in few tries; unrelated failures get none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conformance.backends import ModuleBackend
from conformance.diagnosis.tolerance_hints import ULP_LADDER, suggest_declaration
from conformance.items.planning import Item
from conformance.model.case import STORED, ULP, Call, Case, Numerics
from conformance.model.failure import Failure
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork


def _declared_ulp(numerics: Numerics, name: str) -> float:
    return numerics.ulp.get(name, ULP[name])


class _CountingRule:
    """Passes where a rule says so, and counts."""

    def __init__(self, rule: Any) -> None:
        self._rule, self.tried = rule, list[Numerics]()

    def __call__(self, numerics: Numerics) -> bool:
        self.tried.append(numerics)
        return bool(self._rule(numerics))


@pytest.mark.parametrize("needed", ULP_LADDER)
def test_least_accuracy_of_tanh_is_found_in_a_dozen_tries(needed: int) -> None:
    rule = _CountingRule(lambda n: _declared_ulp(n, "tanh") >= needed)
    assert suggest_declaration(rule, None) == f"within ulp = {{'tanh': {needed}}}"
    assert len(rule.tried) <= 12


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda n: _declared_ulp(n, "sigmoid") > 8, "within ulp = {'sigmoid': 10}"),
        (
            lambda n: _declared_ulp(n, "sigmoid") > 5 and _declared_ulp(n, "tanh") > 6.5,
            "within ulp = {'tanh': 7, 'sigmoid': 7}",
        ),
        (lambda n: n.flush_to_zero, "within flush_to_zero = True"),
        (lambda n: "row_norm" in n.stored, "within stored = ('row_norm',)"),
        (lambda n: n.stepwise, "within stepwise = True"),
        (lambda n: n.accumulation is not None, "within accumulation = 'float32'"),
        (lambda n: n.accumulation == "bfloat16", "within accumulation = 'bfloat16'"),
        (lambda n: _declared_ulp(n, "exp") > 3, "within ulp = {'exp': 4}"),
        (
            lambda n: _declared_ulp(n, "exp") > 3 and _declared_ulp(n, "log") > 3,
            "within ulp = {'exp': 4, 'log': 4}",
        ),
        (lambda n: _declared_ulp(n, "tanh") > 40, None),
        (lambda n: False, None),
    ],
)
def test_each_kind_of_declaration_is_tried(rule: Any, said: str | None) -> None:
    counting_rule = _CountingRule(rule)
    assert suggest_declaration(counting_rule, None) == said
    assert len(counting_rule.tried) <= 12 + len(ULP)


def test_what_is_declared_stays_and_is_not_proposed_again() -> None:
    declared = Numerics(
        ulp={"tanh": 7.0}, flush_to_zero=True, accumulation="float16", inexact=("winograd",)
    )
    counting_rule = _CountingRule(lambda n: False)
    assert suggest_declaration(counting_rule, declared) is None
    assert all(
        n.flush_to_zero and n.inexact and _declared_ulp(n, "tanh") >= 7 for n in counting_rule.tried
    )
    assert {n.accumulation for n in counting_rule.tried} == {"float16", "bfloat16"}
    assert (
        suggest_declaration(lambda n: _declared_ulp(n, "tanh") > 7.5, declared)
        == "within ulp = {'tanh': 8}"
    )
    all_declared = replace(
        declared,
        ulp=dict.fromkeys(ULP, 99.0),
        accumulation="bfloat16",
        stepwise=True,
        stored=tuple(STORED),
    )
    assert suggest_declaration(lambda n: True, all_declared) is None


class GRUCell(torch.nn.GRUCell):
    """A GRUCell whose tanh is 5 units in the last place too large."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """As the documentation says."""
        h = input.new_zeros(*input.shape[:-1], self.hidden_size) if hx is None else hx
        a = torch.nn.functional.linear(input, self.weight_ih, self.bias_ih).chunk(3, -1)
        b = torch.nn.functional.linear(h, self.weight_hh, self.bias_hh).chunk(3, -1)
        r, z = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
        n = torch.tanh(a[2] + r * b[2])
        is_inside = (n.abs() > 0) & (n.abs() < 0.999)
        far = n
        for _ in range(5):
            far = torch.nextafter(far, n.sign())
        n = torch.where(is_inside, far, n)
        return n + z * (h - n)


def test_a_tanh_that_errs_by_five_units_is_told() -> None:
    backend = ModuleBackend("coarse", nn=SimpleNamespace(GRUCell=GRUCell))
    # r = ½, z = 0 and h' = n = tanh 0.5625, a little above ½: there a unit in the last place is
    # 2u·n. The error is 5 units, 10u·n. The sums of the blend account for 3u·n, i.e. 1.5 units.
    state = {
        "weight_ih": np.array([[0.0], [-800.0], [0.5625]]), "weight_hh": np.zeros((3, 1)),
        "bias_ih": np.zeros(3), "bias_hh": np.zeros(3),
    }  # fmt: skip
    call = Call("GRUCell", {"input_size": 1, "hidden_size": 1}, state, "float32", "cpu")
    case = Case(call, (np.ones((1, 1)), np.zeros((1, 1))))
    engine, item = Engine(backend, 1, 0), Item("GRUCell", "values", "float32", "cpu")

    def passes(numerics: Numerics) -> bool:
        try:
            return engine.try_case(item, case, numerics).comparisons > 0
        except Failure:
            return False

    assert not passes(Numerics())
    assert suggest_declaration(passes, None) == "within ulp = {'tanh': 4}"
