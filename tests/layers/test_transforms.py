"""The check `transforms`: wrong forward modes, second derivatives, batching rules fail it alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import planted
import pytest
import torch
from planted.bug import replacement_namespaces
from support import cases, first_failure

from conformance.backends import ModuleBackend
from conformance.checks import CHECKS
from conformance.checks.recorded_call import record_call
from conformance.checks.tangents import (
    draw_direction,
    expected_product,
    expected_second_derivatives,
    has_moderate_operands,
    with_moderate_operands,
)
from conformance.checks.trial import Trial
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, Unsupported
from conformance.run.engine import Engine

BUGS = [bug for bug in planted.BUGS if bug.check == "transforms"]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_of_transforms_fails_this_check_alone(bug: planted.Bug) -> None:
    backend = ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))
    # Not by what torch's own transforms get wrong: those failures are known, and do not count.
    searches = (first_failure(backend, bug.layer, "transforms", x) for x in ("float32", "float64"))
    assert any(search.failure for search in searches), bug.story
    for check in ("values", "gradients"):
        assert not first_failure(backend, bug.layer, check, enough=20).failure


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("layer", ["Linear", "functional.gelu", "LayerNorm", "GRUCell", "Conv1d"])
def test_torch_passes(layer: str, dtype: str) -> None:
    verdict = Engine(ModuleBackend("torch"), 60, 0).run(Item(layer, "transforms", dtype, "cpu"))
    assert verdict.status == "passed", verdict.message


def test_a_backend_without_transforms_says_so() -> None:
    class Plain(ModuleBackend):
        def build(self, call: Any) -> Any:
            layer = super().build(call)
            for member in ("jvp", "double_vjp", "vmap"):
                setattr(layer, member, None)
            return layer

    verdict = Engine(Plain("plain"), 40, 0).run(Item("Linear", "transforms", "float32", "cpu"))
    assert verdict.status == "unsupported"
    assert "transforms not offered" in str(verdict)


def test_where_a_transform_is_declined_the_next_one_is_made() -> None:
    class WithoutVmap(ModuleBackend):
        def build(self, call: Any) -> Any:
            layer = super().build(call)

            def decline(*operands: Any, **keywords: Any) -> Any:
                raise Unsupported("no batching rule")

            layer.vmap = decline
            return layer

    item = Item("Linear", "transforms", "float64", "cpu")
    verdict = Engine(WithoutVmap("without vmap"), 40, 0).run(item)
    assert verdict.status == "passed"
    assert not verdict.examples.unsupported
    # In half precision vmap is all there is: no further cases are drawn to be declined.
    half = Engine(WithoutVmap("without vmap"), 40, 0).run(replace(item, dtype="bfloat16"))
    assert half.status == "unsupported"
    assert half.examples.drawn <= 40


def test_operands_are_scaled_by_powers_of_two() -> None:
    large, tiny = np.array([512.0, -3.0, 0.0]), np.array([-(2.0**-40), -1.0])
    call = Call("functional.linear", {}, {"weight": np.array([16.0])}, "float32", "cpu")
    moved = with_moderate_operands(Case(call, (large, large, tiny, None)))
    assert np.array_equal(moved.inputs[0], large / 256)
    assert moved.inputs[1] is moved.inputs[0]
    assert np.array_equal(moved.inputs[2], [-(2.0**-10), -1.0])
    assert moved.call.state["weight"] is call.state["weight"]
    moderate = Case(call, (np.ones(3),))
    assert with_moderate_operands(moderate) is moderate


def test_layers_that_always_draw_have_no_such_item() -> None:
    applies = CHECKS["transforms"].applies
    assert not applies(CATALOGUE["functional.gumbel_softmax"])
    assert applies(CATALOGUE["functional.dropout"])


def _trials(layer: str, count: int) -> list[Trial]:
    spec, backend = CATALOGUE[layer], ModuleBackend("torch")
    drawn = [case for case in cases(layer, "float64", 60, 0) if has_moderate_operands(case)]
    return [Trial(backend, spec, case) for case in drawn[:count]]


@pytest.mark.parametrize("layer", ["functional.tanh", "functional.softmax"])
def test_expected_derivatives_are_those_of_autograd(layer: str) -> None:
    function = getattr(torch.nn.functional, layer.partition(".")[2])
    compared = 0
    for trial in _trials(layer, 12):
        if "dtype" in trial.case.call.arguments:
            continue
        call = record_call(trial)
        direction = draw_direction(trial, call)
        u = np.random.default_rng(0).standard_normal(trial.shapes[0])
        expected = expected_second_derivatives(trial, call, direction, [u])
        product = expected_product(call, direction, [u])
        x, v = torch.tensor(trial.case.inputs[0]), torch.tensor(direction.inputs[0])

        def scalar(x: Any, trial: Trial = trial, u: Any = u) -> Any:
            return (function(x, **trial.case.call.arguments) * torch.tensor(u)).sum()

        _, second = torch.autograd.functional.vhp(scalar, x, v)
        _, first = torch.autograd.functional.jvp(scalar, x, v)
        if expected is None or product is None:
            continue
        got, (wanted,) = second.numpy(), expected.values()
        known = np.isfinite(wanted.error)
        assert (np.abs(got - wanted.value)[known] <= wanted.error[known]).all()
        assert abs(float(first) - product.value) <= product.error
        compared += int(known.any())
    assert compared


def test_a_corner_has_no_second_derivative() -> None:
    """relu's slope jumps at 0, so a difference quotient says nothing there."""
    (trial, *_) = [t for t in _trials("functional.relu", 40) if (t.case.inputs[0] == 0).any()]
    call = record_call(trial)
    u = np.ones(trial.shapes[0])
    expected = expected_second_derivatives(trial, call, draw_direction(trial, call), [u])
    assert expected is None or np.isinf(expected["input"].error).all()
