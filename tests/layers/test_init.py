"""Initial values: laws seen failing, distributions told apart, gains and fans as documented."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import law_findings
from torch.nn import init

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.samples import check_sample
from conformance.layers import CATALOGUE
from conformance.model.case import bare_name
from conformance.model.failure import Failure
from conformance.oracles.init import calculate_gain, orthogonality_error, truncated_ends
from conformance.spec.distributions import Distribution, Normal, Uniform, find_median
from conformance.spec.draws import Sample

NAMES = tuple(name for name, row in CATALOGUE.items() if row.family == "init")
LAWS = [(name, law.name) for name in NAMES for law in CATALOGUE[name].laws]


def _copied(right: Any) -> Any:
    return lambda tensor, *args, **named: right(torch.empty_like(tensor), *args, **named)


def _kept(right: Any) -> Any:
    def wrong(tensor: Any, *args: Any, **named: Any) -> Any:
        held = tensor.clone()
        return right(tensor, *args, **named).copy_(torch.where(held == 0, tensor, held))

    return wrong


def _moved(amount: float) -> Any:
    def made(right: Any) -> Any:
        return lambda tensor, *args, **named: right(tensor, *args, **named).add_(amount)

    return made


def _wide(right: Any) -> Any:
    """The middle moves by a fifth of the width."""

    def wrong(tensor: Any, *args: Any, **named: Any) -> Any:
        found = right(tensor, *args, **named)
        return found.add_(0.5 * found.std(correction=0)) if found.numel() else found

    return wrong


def _one_axis(right: Any) -> Any:
    def wrong(tensor: Any, *args: Any, **named: Any) -> Any:
        return right(tensor, *args, **named).add_(1.0 if tensor.dim() == 1 else 0.0)

    return wrong


def _tall(right: Any) -> Any:
    def wrong(tensor: Any, *args: Any, **named: Any) -> Any:
        return right(tensor, *args, **named).mul_(2.0 if len(tensor) > 3 else 1.0)

    return wrong


# Law → torch's function → one that breaks it.
BROKEN: dict[str, Any] = {
    "returned": _copied,
    "overwritten": _kept,
    "constants": _moved(1.0),
    "flat": _one_axis,
    "transposed": _tall,
    "groups": _tall,
    "even": _wide,
    "nothing": _moved(1.0),
    "fixed": _moved(1.0),
    "orthonormal": _moved(0.5),
    "zeros": _moved(1.0),
}


@pytest.mark.parametrize(("layer", "name"), LAWS)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    called = bare_name(layer)
    right = getattr(init, called)

    def wrong(*args: Any, **named: Any) -> Any:
        with torch.no_grad():
            return BROKEN[name](right)(*args, **named)

    space = SimpleNamespace(**{**vars(init), called: wrong})
    assert law_findings(ModuleBackend("wrong", nn=SimpleNamespace(init=space)), layer, name)[1]
    compared, found = law_findings(torch_backend, layer, name)
    assert compared
    assert not found


@pytest.mark.parametrize("slope", [0, 0.01, 0.2, 1, math.sqrt(5)])
@pytest.mark.parametrize(
    "name",
    ["linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"],
)
def test_gains_are_torchs(name: str, slope: float) -> None:
    assert calculate_gain(name, slope) == init.calculate_gain(name, slope)


@pytest.mark.parametrize(
    "distribution",
    [
        Uniform(0.0, 1.0), Uniform(-8.0, -6.0), Normal(0.0, 1.0), Normal(4.0, 0.01),
        Normal(0.0, 1.0, -2.0, 2.0), Normal(0.0, 1.0, 1.3, 2.7), Normal(0.3, 2.0, -0.3, 0.4),
    ],
)  # fmt: skip
def test_half_of_a_distribution_is_below_its_middle(distribution: Distribution) -> None:
    assert abs(distribution.cdf(np.array([find_median(distribution)]))[0] - 0.5) < 1e-12
    ends = np.array([max(distribution.low, -100.0), min(distribution.high, 100.0)])
    assert distribution.cdf(ends).tolist() == [0.0, 1.0]
    assert distribution.slack(2.0**-24) < 1e-4


def _sample(got: np.ndarray, again: np.ndarray | None = None) -> Sample:
    return Sample("a call", "tensor", got, Uniform(0.0, 1.0), 0.0, (0.0, 1.0), again)


FAIR = np.random.default_rng(0).uniform(size=(64, 64))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (FAIR + 0.5, "range"),
        (np.where(FAIR > 0.5, np.nan, FAIR), "range"),
        (FAIR**1.2, "away"),
        (FAIR[:1].repeat(64, 0), "the same numbers along axis 0"),
        (FAIR[:, :1].repeat(64, 1), "the same numbers along axis 1"),
        (FAIR * 0.98, "the largest of 4096"),
        (FAIR * 0.98 + 0.02, "the least of 4096"),
    ],
)
def test_a_sample_of_another_distribution_fails(wrong: np.ndarray, said: str) -> None:
    with pytest.raises(Failure, match=said):
        check_sample(_sample(wrong))


def test_a_fair_sample_passes_once() -> None:
    assert check_sample(_sample(FAIR)).comparisons == FAIR.size
    assert check_sample(_sample(FAIR[:0])).comparisons == 0
    with pytest.raises(Failure, match="in a second call"):
        check_sample(_sample(FAIR, FAIR))


def test_ends_are_those_that_a_dtype_has() -> None:
    assert truncated_ends(-0.3, 0.4, "float64") == (-0.3, 0.4)
    assert truncated_ends(-0.3, 0.4, "bfloat16") == (-0.30078125, 0.400390625)
    assert truncated_ends(-2.0, 2.0, "float16") == (-2.0, 2.0)


def test_the_bound_of_orthogonality_tells_a_matrix_that_is_not() -> None:
    """Rows that are only normalised have products of about one over the root of their length."""
    assert orthogonality_error((40, 40), 2.0**-24) < 1e-3
    assert orthogonality_error((3, 4, 2), 2.0**-53) < 1e-13
