"""Sums, variances and softmax: bounds cover truth and usual formulas, and no wrong ones."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("mpmath")

import mpmath
import torch
from arithmetic_peaks import DTYPES, largest_ratio
from reduction_forms import ORDERS, StoredArithmetic

from conformance.arithmetic import elementary, reductions
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS, round_to

LENGTHS = (1, 2, 3, 7, 8, 33, 64)


def _draw(
    dtype: str, n: int, seed: int = 0, *, offset: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return round_to(offset + scale * generator.standard_normal((40, n)), dtype)


def _exact(values: np.ndarray, dtype: str) -> Rounded:
    return exact_operand(np.asarray(values, np.float64), Precision.of(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_sums_and_means_hold_in_any_order_and_miss_no_term(dtype: str, n: int) -> None:
    x = _draw(dtype, n, n) * np.exp2(np.random.default_rng(n).integers(-6, 6, (40, n)))
    x = round_to(x, dtype)
    summed, averaged = reductions.total(_exact(x, dtype), 1), reductions.mean(_exact(x, dtype), 1)
    for order in ORDERS:
        arithmetic = StoredArithmetic(dtype, order)
        assert largest_ratio(arithmetic.sum(x), summed) <= 1
        for reciprocal in (False, True):
            assert largest_ratio(arithmetic.mean(x, reciprocal=reciprocal), averaged) <= 1
    truth = [sum(map(Fraction, row)) for row in x.tolist()]
    assert largest_ratio(np.array([float(v) for v in truth]), summed) <= 1
    assert largest_ratio(np.array([float(v / n) for v in truth]), averaged) <= 1
    if n > 1 and dtype != "bfloat16":
        assert largest_ratio(StoredArithmetic(dtype).sum(x[:, 1:]), summed) > 1
        assert largest_ratio(StoredArithmetic(dtype).mean(x[:, 1:]), averaged) > 1
    assert n > 1 or not (summed.any_inexact or averaged.any_inexact)


def test_sums_of_whole_numbers_and_means_of_a_power_of_two_of_them_are_exact() -> None:
    x = _exact(np.random.default_rng(1).integers(-9, 9, (6, 2, 8)), "bfloat16")
    assert reductions.total(x, (1, 2)).shape == (6,)
    assert not reductions.total(x, (0, 2), keepdims=True).any_inexact
    assert not reductions.mean(x, -1).any_inexact
    assert reductions.mean(x, 0).any_inexact  # 1/6 rounds
    for n in (3, 7, 33):
        integers = np.random.default_rng(n).integers(1, 9, (300, n)) * 1.0
        means = reductions.mean(_exact(integers, "float32"), 1)
        assert (
            largest_ratio(StoredArithmetic("float32").mean(integers, reciprocal=True), means) <= 1
        )
        assert largest_ratio(StoredArithmetic("float32").mean(integers), means) <= 1
    # Each sum has its own error: a row of fractions that round leaves the other row exact.
    rows = _exact([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]], "float64")
    assert (reductions.total(rows, 1).error == 0).tolist() == [True, False]
    empty = _exact(np.zeros((3, 0)), "float32")
    assert reductions.total(empty, 1).value.tolist() == [0.0] * 3
    nothing = reductions.mean(empty, 1)
    assert np.isnan(nothing.value).all()
    assert not nothing.any_inexact


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 2.0**10])
@pytest.mark.parametrize("n", LENGTHS[1:])
def test_variances_in_two_passes_and_by_welford_are_within_bounds(
    n: int, offset: float, dtype: str
) -> None:
    if offset and dtype in ("bfloat16", "float16"):
        offset = 16.0
    for scale, outlier in ((1.0, 0.0), (0.01, 0.0), (1.0, 50.0)):
        x = _draw(dtype, n, n, offset=offset, scale=scale)
        x[:, 0] = round_to(x[:, 0] + outlier, dtype)
        for correction in (0.0, 1.0):
            v = reductions.variance(_exact(x, dtype), 1, correction=correction)
            for order in ORDERS:
                assert largest_ratio(StoredArithmetic(dtype, order).two_pass(x, correction), v) <= 1
            assert largest_ratio(StoredArithmetic(dtype).welford(x, correction), v) <= 1
            truth = []
            for row in x.tolist():
                fractions = [Fraction(value) for value in row]
                exact_mean = sum(fractions) / n
                truth.append(
                    float(
                        sum((y - exact_mean) ** 2 for y in fractions) / (n - Fraction(correction))
                    )
                )
            assert largest_ratio(np.array(truth), v) <= 1


def test_updates_divide_by_three_where_two_passes_are_exact() -> None:
    x = np.random.default_rng(5).integers(-9, 9, (200, 8)) * 1.5
    right = StoredArithmetic("float32").two_pass(x, 0.0)
    updated = StoredArithmetic("float32").welford(x, 0.0)
    assert np.count_nonzero(right != updated) > 20
    for got in (right, updated):
        assert largest_ratio(got, reductions.variance(_exact(x, "float32"), 1, correction=0.0)) <= 1
    two_pass = reductions.variance(_exact(x, "float32"), 1, correction=0.0, running=False)
    assert not two_pass.any_inexact
    assert largest_ratio(right, two_pass) == 0
    pairs = reductions.variance(_exact(x[:, :2], "float32"), 1)
    assert not pairs.any_inexact


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 8, 64])
def test_the_difference_of_two_moments_is_beyond_the_bound_of_a_variance(
    n: int, dtype: str
) -> None:
    x = _draw(dtype, n, offset=2.0**10)
    v = reductions.variance(_exact(x, dtype), 1, correction=0.0)
    assert largest_ratio(StoredArithmetic(dtype).one_pass(x, 0.0), v) > 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_unbiased_for_biased_is_beyond_it(dtype: str) -> None:
    x = _draw(dtype, 8)
    precision = Precision.of(dtype)
    widened_x = widened(exact_operand(x, precision))
    v = stored(reductions.variance(widened_x, 1, correction=0.0), precision)
    single = "float32" if precision.is_half else dtype
    right = round_to(StoredArithmetic(single).two_pass(x, 0.0), dtype)
    assert largest_ratio(right, v) <= 1
    assert largest_ratio(round_to(StoredArithmetic(single).two_pass(x, 1.0), dtype), v) > 10


def _normalize(x: Rounded, eps: float) -> Rounded:
    deviation = x - reductions.mean(x, 1, keepdims=True, running=True)
    v = reductions.variance(x, 1, correction=0.0, keepdims=True)
    return deviation * elementary.reciprocal_sqrt(v + constant(eps, x))


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_eps_outside_the_root_is_beyond_the_bound_of_a_norm(scale: float) -> None:
    x = _draw("float32", 8, scale=scale)
    y = _normalize(_exact(x, "float32"), 1e-5)
    s = x.astype(np.float32)
    d, v = s - s.mean(1, keepdims=True), s.var(1, keepdims=True)
    eps = np.float32(1e-5)
    assert largest_ratio(d / np.sqrt(v + eps), y) <= 1
    assert largest_ratio(torch.nn.functional.layer_norm(torch.from_numpy(s), (8,)).numpy(), y) <= 1
    assert largest_ratio(d / (np.sqrt(v) + eps), y) > 3
    assert largest_ratio(d / np.sqrt(v), y) > 3


def test_the_logarithm_of_a_logistic_function_is_beyond_the_bound_of_logsigmoid() -> None:
    x = np.linspace(1, 20, 300, dtype=np.float32)
    rounded = _exact(x, "float32")
    y = -elementary.log1p(elementary.exp(-rounded))
    assert largest_ratio(torch.nn.functional.logsigmoid(torch.from_numpy(x)).numpy(), y) <= 1
    assert largest_ratio(np.log(1 / (1 + np.exp(-x))), y) > 1e4


def test_a_maximum_is_copied_and_no_further_off_than_what_may_be_it() -> None:
    precision = Precision.of("float32")
    value = np.array(
        [[1.0, 3.0, 2.9], [1.0, 3.0, 2.0], [np.nan, 1.0, 2.0], [-np.inf, -np.inf, -np.inf]]
    )
    x = Rounded(value, np.array([[0, 0, 0.5], [5e-1, 1e-3, 1e-3], [0, 0, 0], [0, 0, 0]]), precision)
    y = reductions.maximum(x, 1)
    np.testing.assert_array_equal(y.value, [3.0, 3.0, np.nan, -np.inf])
    np.testing.assert_allclose(y.error, [0.4, 1e-3, 0.0, 0.0], rtol=1e-12)
    assert reductions.maximum(x, 1, keepdims=True).shape == (4, 1)
    x = leaf(np.array([[1.0, 3.0, 2.0], [3.0, 1.0, 3.0]]), precision)
    c = exact_operand(np.array([5.0, 7.0]), precision)
    (gradient,) = pull_back([reductions.maximum(x, 1)], [c], [x])
    assert gradient.value[0].tolist() == [0.0, 5.0, 0.0]
    assert gradient.error[0].tolist() == [0.0] * 3
    for tied in ([7.0, 0.0, 0.0], [0.0, 0.0, 7.0], [3.5, 0.0, 3.5]):
        assert largest_ratio(np.array([[0, 5.0, 0], tied]), gradient) <= 1
    assert largest_ratio(np.array([[0, 5.0, 0], [7.5, 0.0, 0.0]]), gradient) > 1


def test_nan_that_is_certain_makes_maximum_and_softmax_nan_beside_numbers_in_doubt() -> None:
    precision = Precision.of("float32", Numerics(unit_roundoff=2.0**-8, operand_roundoff=2.0**-8))
    x = exact_operand(np.array([[np.nan, 1.0], [1.0, 2.0]]), precision)
    assert reductions.maximum(x, 1).decided.tolist() == [True, True]
    for function in (reductions.softmax, reductions.log_softmax):
        values = function(x, 1)
        assert np.isnan(values.value[0]).all()
        assert values.decided.all()
        with_infinity = function(exact_operand(np.array([[np.inf, 1.0]]), precision), 1)
        assert np.isnan(with_infinity.value).all()
        assert with_infinity.decided.all()
    doubtful_nan = Rounded(np.array([[np.nan, 1.0]]), np.array([[np.inf, 0.5]]), precision)
    assert not reductions.maximum(doubtful_nan, 1).decided.any()
    assert not reductions.softmax(doubtful_nan, 1).decided.any()


def _true_softmax(x: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """p, log p and the gradients of both, by 40 digits."""
    columns: list[list[list[float]]] = [[], [], [], []]
    with mpmath.workdps(40):
        for row, weights in zip(x.tolist(), c.tolist(), strict=True):
            e = [mpmath.exp(mpmath.mpf(v)) for v in row]
            s, w = sum(e), [mpmath.mpf(v) for v in weights]
            p = [v / s for v in e]
            weighted, total = sum(a * b for a, b in zip(w, p, strict=True)), sum(w)
            columns[0].append([float(v) for v in p])
            columns[1].append([float(mpmath.log(v)) for v in p])
            columns[2].append([float(a * (b - weighted)) for a, b in zip(p, w, strict=True)])
            columns[3].append([float(b - a * total) for a, b in zip(p, w, strict=True)])
    return tuple(np.array(part) for part in columns)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 5, 33])
@pytest.mark.parametrize("scale", [0.1, 3.0, 12.0])
def test_softmax_and_its_logarithm_in_every_form(dtype: str, n: int, scale: float) -> None:
    precision = Precision.of(dtype)
    x = leaf(_draw(dtype, n, n, scale=scale), precision)
    c = exact_operand(_draw(dtype, n, n + 1), precision)
    p, logs = (
        stored(function(widened(x), 1), precision)
        for function in (reductions.softmax, reductions.log_softmax)
    )
    (p_gradient,), (log_gradient,) = (pull_back([y], [c], [x]) for y in (p, logs))
    truth = _true_softmax(x.value, c.value)
    for true, bounded in zip(truth, (p, logs, p_gradient, log_gradient), strict=True):
        assert largest_ratio(round_to(true, dtype), bounded) <= 1
    working_dtype = "float32" if precision.is_half else dtype
    for order in ORDERS:
        arithmetic = StoredArithmetic(working_dtype, order)
        for from_logarithm in (False, True):
            q = round_to(arithmetic.softmax(x.value, reciprocal=from_logarithm), dtype)
            assert largest_ratio(q, p) <= 1
            r = round_to(arithmetic.log_softmax(x.value, together=from_logarithm), dtype)
            assert largest_ratio(r, logs) <= 1
            inner = arithmetic.sum(arithmetic.rounded(c.value * q))[:, None]
            for got in (
                arithmetic.rounded(q * arithmetic.rounded(c.value - inner)),
                arithmetic.rounded(arithmetic.rounded(c.value * q) - arithmetic.rounded(q * inner)),
            ):
                assert largest_ratio(round_to(got, dtype), p_gradient) <= 1
            summed = arithmetic.sum(c.value)[:, None]
            got = arithmetic.rounded(
                c.value - arithmetic.rounded(arithmetic.rounded(np.exp(r)) * summed)
            )
            assert largest_ratio(round_to(got, dtype), log_gradient) <= 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("n", [2, 5, 33])
def test_a_softmax_of_stored_steps_is_within_the_bound_of_a_stepwise_backend(
    n: int, dtype: str
) -> None:
    precision = Precision.of(dtype, Numerics(stepwise=True))
    x = exact_operand(_draw(dtype, n, n, scale=2.0), precision)
    p, logs = (
        stored(function(widened(x), 1), precision)
        for function in (reductions.softmax, reductions.log_softmax)
    )
    for order in ORDERS:
        for from_logarithm in (False, True):
            arithmetic = StoredArithmetic(dtype, order)
            assert largest_ratio(arithmetic.softmax(x.value, reciprocal=from_logarithm), p) <= 1
            assert (
                largest_ratio(arithmetic.log_softmax(x.value, together=from_logarithm), logs) <= 1
            )
    assert largest_ratio(p.value * 1.5, p) > 1
    assert np.isfinite(logs.error).all()
    assert largest_ratio(logs.value * 1.5 - 1, logs) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_wrong_softmax_is_beyond_its_bound(dtype: str) -> None:
    precision = Precision.of(dtype)
    x = leaf(_draw(dtype, 9, scale=3.0), precision)
    c = exact_operand(_draw(dtype, 9, 1), precision)
    p, logs = (
        stored(function(widened(x), 1), precision)
        for function in (reductions.softmax, reductions.log_softmax)
    )
    (p_gradient,) = pull_back([p], [c], [x])
    (log_gradient,) = pull_back([logs], [c], [x])
    right, *_ = _true_softmax(x.value, c.value)
    e = np.exp(x.value - x.value.max(1, keepdims=True))
    assert largest_ratio(e / (e.sum(1, keepdims=True) + 0.05), p) > 2
    assert largest_ratio(e / e[:, 1:].sum(1, keepdims=True), p) > 2
    assert largest_ratio(x.value - x.value.max(1, keepdims=True), logs) > 2
    assert largest_ratio(right * c.value, p_gradient) > 2
    assert largest_ratio(c.value - right, log_gradient) > 2
    if dtype == "bfloat16":
        assert largest_ratio(StoredArithmetic(dtype).softmax(x.value), p) > 1
        assert largest_ratio(StoredArithmetic(dtype).log_softmax(x.value), logs) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_sharp_softmax(dtype: str) -> None:
    precision = Precision.of(dtype)
    for count in (1, 2, 4, 8):
        x = np.full((1, 8), -2000.0)
        x[0, :count] = 3.0
        p = stored(reductions.softmax(widened(_exact(x, dtype)), 1), precision)
        assert not p.any_inexact
        assert p.value.tolist() == [[1 / count] * count + [0.0] * (8 - count)]
    uniform = reductions.softmax(widened(_exact(np.zeros((1, 3)), dtype)), 1)
    assert uniform.all_inexact
    logs = reductions.log_softmax(widened(_exact([[5.0, 5.0 - 2048]], dtype)), 1)
    assert logs.value.tolist() == [[0.0, -2048.0]]
    assert not logs.any_inexact
    largest = FORMATS[dtype].largest
    p = reductions.softmax(_exact([[largest, -largest]], dtype), 1)
    assert p.value.tolist() == [[1.0, 0.0]]
    assert not p.any_inexact


def test_infinities_and_nan_in_a_softmax() -> None:
    inf, nan = np.inf, np.nan
    x = _exact([[-inf, 0.0, 0.0], [-inf, -inf, -inf], [inf, 0.0, 0.0], [nan, 1.0, 2.0]], "float32")
    p, logs = reductions.softmax(x, 1), reductions.log_softmax(x, 1)
    np.testing.assert_array_equal(p.value, [[0.0, 0.5, 0.5]] + [[nan] * 3] * 3)
    assert not p.any_inexact
    assert logs.value[0, 0] == -inf
    assert logs.error[0, 0] == 0 < logs.error[0, 1] < 1e-6
    assert np.isnan(logs.value[1:]).all()
    assert not logs.error[1:].any()
    lse = reductions.log_sum_exp(x, 1)
    np.testing.assert_array_equal(lse.value[1:], [-inf, inf, nan])
    assert lse.error[1] == lse.error[2] == 0
    doubtful = Rounded(np.zeros((1, 2)), np.array([[np.inf, 0.0]]), Precision.of("float32"))
    assert np.isinf(reductions.softmax(doubtful, 1).error).all()
    with_nan = Rounded(np.array([[nan, 0.0]]), doubtful.error, doubtful.precision)
    assert np.isinf(reductions.softmax(with_nan, 1).error).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_composed_gradients_are_those_of_torch(dtype: str) -> None:
    precision = Precision.of(dtype)
    native = torch.from_numpy(_draw(dtype, 9)).to(getattr(torch, dtype)).requires_grad_()
    x = leaf(_draw(dtype, 9), precision)
    for ours, theirs in (
        (reductions.mean(x, 1), native.mean(1)),
        (reductions.total(x, 1), native.sum(1)),
        (reductions.variance(x, 1), native.var(1)),
        (reductions.variance(x, (0, 1), correction=0), native.var((0, 1), correction=0)),
        (reductions.softmax(x, 1), native.softmax(1)),
        (reductions.log_softmax(x, 0), native.log_softmax(0)),
        (reductions.log_sum_exp(x, 1), native.logsumexp(1)),
        (_normalize(x, 1e-5), torch.nn.functional.layer_norm(native, (9,))),
    ):
        c = round_to(np.random.default_rng(3).standard_normal(ours.shape), dtype)
        (gradient,) = pull_back([ours], [exact_operand(c, precision)], [x])
        cotangent = torch.from_numpy(np.asarray(c)).to(native.dtype)
        (got,) = torch.autograd.grad(theirs, native, cotangent)
        assert largest_ratio(theirs.detach().numpy(), ours) <= 1
        assert largest_ratio(got.numpy(), gradient) <= 1
        if np.ptp(got.numpy()) > 1e-3:
            assert largest_ratio(got.numpy() * 1.001, gradient) > 1
