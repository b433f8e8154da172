"""Correct evaluations of drawn networks are within the networks' bounds, in whatever order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_networks import draw_network
from reordered import ReorderedMode, evaluate_reordered

from conformance.networks.bounds import trace_bounds

DTYPES = ("float32", "bfloat16", "float16")


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_correct_evaluation_is_no_false_alarm(seed: int, dtype: str) -> None:
    network, x = draw_network(seed)
    network, x = network.to(getattr(torch, dtype)), x.to(getattr(torch, dtype))
    want = trace_bounds(network, (x,), {}, None)
    assert not want.uncertified
    with torch.no_grad():
        assert want.margin(network(x)) <= 1
    for order in range(3):
        assert want.margin(evaluate_reordered(network, x, order)) <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_evaluations_differ(dtype: str) -> None:
    network, x = draw_network(3)
    network, x = network.to(getattr(torch, dtype)), x.to(getattr(torch, dtype))
    answers = [evaluate_reordered(network, x, order) for order in range(8)]
    assert len({a.double().numpy().tobytes() for a in answers}) > 1


def test_sums_run_in_several_orders() -> None:
    numbers = torch.tensor([2.0**25, 1.0, -(2.0**25), 1.0], dtype=torch.float64)
    sums = {
        float(ReorderedMode("float32", seed).add_products(numbers, torch.ones(4).double()))
        for seed in range(30)
    }
    assert sums >= {0.0, 1.0, 2.0}


def test_rounding_is_to_the_format() -> None:
    mode = ReorderedMode("float16", 0)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=500) * 10.0**-5)
    assert torch.equal(mode._rounded(x, "float16"), x.half().double())
    up_or_down = mode._rounded(x, "bfloat16", True)
    assert torch.equal(up_or_down.bfloat16().double(), up_or_down)
    assert not torch.equal(up_or_down, x.bfloat16().double())
