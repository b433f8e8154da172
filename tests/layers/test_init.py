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

NAMES = tuple(name for name, spec in CATALOGUE.items() if spec.family == "init")
LAWS = [(name, law.name) for name in NAMES for law in CATALOGUE[name].laws]


def _fill_copy(right: Any) -> Any:
    return lambda tensor, *args, **named: right(torch.empty_like(tensor), *args, **named)


def _keep_nonzero(right: Any) -> Any:
    def wrong(tensor: Any, *args: Any, **keywords: Any) -> Any:
        before = tensor.clone()
        return right(tensor, *args, **keywords).copy_(torch.where(before == 0, tensor, before))

    return wrong


def _add_constant(amount: float) -> Any:
    def make_wrong(right: Any) -> Any:
        return lambda tensor, *args, **named: right(tensor, *args, **named).add_(amount)

    return make_wrong


def _add_half_std(right: Any) -> Any:
    """The middle moves by a fifth of the width."""

    def wrong(tensor: Any, *args: Any, **keywords: Any) -> Any:
        output = right(tensor, *args, **keywords)
        return output.add_(0.5 * output.std(correction=0)) if output.numel() else output

    return wrong


def _shift_vectors(right: Any) -> Any:
    def wrong(tensor: Any, *args: Any, **keywords: Any) -> Any:
        return right(tensor, *args, **keywords).add_(1.0 if tensor.dim() == 1 else 0.0)

    return wrong


def _scale_long_tensors(right: Any) -> Any:
    def wrong(tensor: Any, *args: Any, **keywords: Any) -> Any:
        return right(tensor, *args, **keywords).mul_(2.0 if len(tensor) > 3 else 1.0)

    return wrong


# Law → torch's function → one that breaks it.
BROKEN: dict[str, Any] = {
    "returned": _fill_copy,
    "overwritten": _keep_nonzero,
    "constants": _add_constant(1.0),
    "flat": _shift_vectors,
    "transposed": _scale_long_tensors,
    "groups": _scale_long_tensors,
    "even": _add_half_std,
    "nothing": _add_constant(1.0),
    "fixed": _add_constant(1.0),
    "orthonormal": _add_constant(0.5),
    "zeros": _add_constant(1.0),
}


@pytest.mark.parametrize(("layer", "name"), LAWS)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    function_name = bare_name(layer)
    original = getattr(init, function_name)

    def wrong(*args: Any, **keywords: Any) -> Any:
        with torch.no_grad():
            return BROKEN[name](original)(*args, **keywords)

    namespace = SimpleNamespace(**{**vars(init), function_name: wrong})
    assert law_findings(ModuleBackend("wrong", nn=SimpleNamespace(init=namespace)), layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


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
