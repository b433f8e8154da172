"""Attention: rows that attend to nothing, regimes that leave nothing to round, the causal hint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support import cases

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.cotangents import expected_gradients
from conformance.checks.layout_choice import unexpandable_tensors
from conformance.checks.related_cases import varied_inputs
from conformance.checks.trial import Trial
from conformance.generation.block_sizes import set_sizes
from conformance.generation.variants import permuted
from conformance.layers import CATALOGUE, DTYPES
from conformance.oracles.attention.core import masked_scores
from conformance.oracles.attention.scaled_dot_product import (
    functional_scaled_dot_product_attention as sdpa,
)

SDPA = "functional.scaled_dot_product_attention"


def _attend(*arrays: np.ndarray | None, dtype: str = "float32", **arguments: Any) -> Any:
    precision = Precision.of(dtype)
    operands = [None if x is None else exact_operand(x, precision) for x in arrays]
    return sdpa({}, *operands, **arguments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_key_far_ahead_has_all_of_the_weight(dtype: str) -> None:
    query, key = 64 * np.eye(3), 64 * np.eye(3)
    value = np.arange(6.0).reshape(3, 2)
    output = _attend(query, key, value, scale=0.25, dtype=dtype)
    assert (output.value == value).all()
    assert not output.any_inexact


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_scores_make_an_exact_mean_of_a_power_of_two(dtype: str) -> None:
    value = np.arange(8.0).reshape(4, 2)
    output = _attend(np.zeros((1, 3)), np.ones((4, 3)), value, dtype=dtype, scale=1.0)
    assert (output.value == value.mean(0)).all()
    assert not output.any_inexact


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_only_key_that_takes_part_is_copied(dtype: str) -> None:
    draw = np.random.default_rng(0)
    query, key, value = (np.round(8 * draw.standard_normal((4, 3))) / 8 for _ in range(3))
    output = _attend(query, key, value, np.eye(4, dtype=bool), dtype=dtype)
    assert (output.value == value).all()
    assert not output.any_inexact


@pytest.mark.parametrize("mask", [np.zeros((1, 2), bool), np.full((1, 2), -np.inf)])
def test_a_row_that_attends_to_nothing_is_0_or_nan(mask: np.ndarray) -> None:
    output = _attend(np.ones((1, 1)), np.ones((2, 1)), np.ones((2, 1)), mask)
    assert isinstance(output, Choices)
    zero, missing = output.alternatives
    assert zero.value == 0
    assert zero.error == 0
    assert np.isnan(missing.value)
    assert missing.error == 0


def test_a_masked_score_has_no_certain_gradient_where_nan_comes_from_another_row() -> None:
    precision = Precision.of("float32")
    scores = leaf(np.zeros((2, 2)), precision)
    masked, _ = masked_scores(scores, None, np.array([[True, False]] * 2))
    cotangent = exact_operand(np.array([[1.0, 1.0], [np.nan, np.nan]]), precision)
    (gradient,) = pull_back([masked], [cotangent], [scores])
    assert gradient.value[0].tolist() == [1.0, 0.0]
    assert gradient.error[:, 1].tolist() == [0.0, np.inf]


def test_no_key_at_all_is_a_sum_of_nothing() -> None:
    output = _attend(np.ones((2, 1)), np.ones((0, 1)), np.ones((0, 3)))
    assert not isinstance(output, Choices)
    assert not output.value.any()
    assert not output.any_inexact


def test_a_sum_of_values_that_is_divided_at_the_end_may_overflow() -> None:
    huge, large = np.full((2, 1), 3e38), np.array([[3e38], [1e37]])
    for value, known in ((huge, False), (large, True)):
        output = _attend(np.ones((1, 1)), np.ones((2, 1)), value)
        assert np.isfinite(output.error).all() == known
    hidden = _attend(np.ones((1, 1)), np.ones((2, 1)), huge, np.array([[True, False]]))
    assert np.isfinite(hidden.error)


@pytest.mark.parametrize("scale", [0.3, 0.25])
def test_an_operand_that_underflows_when_it_is_scaled_is_within_the_bound(scale: float) -> None:
    query, key = np.full((1, 64), 7e-45, np.float32), np.zeros((2, 64), np.float32)
    key[0] = 3e38
    output = _attend(
        *(x.astype(float) for x in (query, key, np.array([[0.0], [1.0]]))), scale=scale
    )
    query *= np.float32(scale)  # as algorithms do that scale the query once
    score = float((query.astype(float) @ key[0].astype(float))[0])
    assert abs(1 / (1 + np.exp(score)) - output.value) <= output.error


def _is_decided(answer: Any) -> bool:
    """Whether any alternative of an answer has an element that is decided."""
    alternatives = answer.alternatives if isinstance(answer, Choices) else (answer,)
    return any(x.decided.any() for x in alternatives)


def test_a_wrong_hint_decides_nothing() -> None:
    hinted = (c for c in cases("MultiheadAttention") if c.keywords.get("is_causal"))
    case = next(c for c in hinted if c.inputs[4].shape[0] > 1 and c.inputs[0].size)
    expected = Trial(torch_backend, CATALOGUE["MultiheadAttention"], case).expected[0]
    inputs = (*case.inputs[:4], case.inputs[4][::-1].copy())
    wrong_case = replace(case, inputs=inputs)
    wrong = Trial(torch_backend, CATALOGUE["MultiheadAttention"], wrong_case).expected[0]
    assert _is_decided(expected)
    assert not _is_decided(wrong)
    spec = CATALOGUE["MultiheadAttention"]
    right, unhinted = (
        expected_gradients(Trial(torch_backend, spec, c)).inputs[0] for c in (case, wrong_case)
    )
    assert _is_decided(right)
    assert not _is_decided(unhinted)


def test_what_a_hint_says_of_a_mask_stays_true() -> None:
    spec, compared = CATALOGUE["MultiheadAttention"], 0
    for case in cases("MultiheadAttention"):
        if not case.keywords.get("is_causal"):
            continue
        tiled = set_sizes(spec, case, {"embed_dim": 16})
        for other in (case, permuted(case, 1), tiled):
            mask = None if other is None else other.inputs[4]
            if mask is not None:
                masked = mask if mask.dtype == bool else np.isneginf(mask)
                assert (masked == ~np.tril(np.ones(mask.shape, bool))).all()
                compared += other is tiled
                # A layout that repeats elements, or other numbers in a second call, would belie it.
                assert 4 in unexpandable_tensors(other)
                for seed in range(5):
                    reseeded = Trial(torch_backend, spec, replace(other, seed=seed))
                    assert varied_inputs(reseeded)[0] != "attn_mask"
    assert compared > 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_regimes_without_rounding_are_exact_in_a_good_share(dtype: str) -> None:
    exact = 0
    for case in cases(SDPA, dtype):
        if case.labels["regime"] in ("zero", "saturated"):
            expected = Trial(torch_backend, CATALOGUE[SDPA], case).expected[0]
            exact += not isinstance(expected, Choices) and not expected.any_inexact
    assert exact >= 10
