"""Sums, variances and softmax: bounds cover truth and usual formulas, and no wrong ones."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("mpmath")

import mpmath
import torch
from arithmetic_peaks import DTYPES, ratio
from reduction_forms import ORDERS, Stored

from conformance.arithmetic import elementary, reductions
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS, round_to

LENGTHS = (1, 2, 3, 7, 8, 33, 64)


def _drawn(
    dtype: str, n: int, seed: int = 0, *, offset: float = 0.0, scale: float = 1.0
) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return round_to(offset + scale * generator.standard_normal((40, n)), dtype)


def _exact(values: np.ndarray, dtype: str) -> Rounded:
    return exactly(np.asarray(values, np.float64), Precision.of(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_sums_and_means_hold_in_any_order_and_miss_no_term(dtype: str, n: int) -> None:
    x = _drawn(dtype, n, n) * np.exp2(np.random.default_rng(n).integers(-6, 6, (40, n)))
    x = round_to(x, dtype)
    summed, averaged = reductions.total(_exact(x, dtype), 1), reductions.mean(_exact(x, dtype), 1)
    for order in ORDERS:
        form = Stored(dtype, order)
        assert ratio(form.sum(x), summed) <= 1
        for reciprocal in (False, True):
            assert ratio(form.mean(x, reciprocal=reciprocal), averaged) <= 1
    truth = [sum(map(Fraction, row)) for row in x.tolist()]
    assert ratio(np.array([float(v) for v in truth]), summed) <= 1
    assert ratio(np.array([float(v / n) for v in truth]), averaged) <= 1
    if n > 1 and dtype != "bfloat16":
        assert ratio(Stored(dtype).sum(x[:, 1:]), summed) > 1
        assert ratio(Stored(dtype).mean(x[:, 1:]), averaged) > 1
    assert n > 1 or not (summed.doubtful or averaged.doubtful)


def test_sums_of_whole_numbers_and_means_of_a_power_of_two_of_them_are_exact() -> None:
    x = _exact(np.random.default_rng(1).integers(-9, 9, (6, 2, 8)), "bfloat16")
    assert reductions.total(x, (1, 2)).shape == (6,)
    assert not reductions.total(x, (0, 2), keepdims=True).doubtful
    assert not reductions.mean(x, -1).doubtful
    assert reductions.mean(x, 0).doubtful  # 1/6 rounds
    for n in (3, 7, 33):
        whole = np.random.default_rng(n).integers(1, 9, (300, n)) * 1.0
        means = reductions.mean(_exact(whole, "float32"), 1)
        assert ratio(Stored("float32").mean(whole, reciprocal=True), means) <= 1
        assert ratio(Stored("float32").mean(whole), means) <= 1
    # Each sum has its own error: a row of fractions that round leaves the other row exact.
    rows = _exact([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]], "float64")
    assert (reductions.total(rows, 1).error == 0).tolist() == [True, False]
    empty = _exact(np.zeros((3, 0)), "float32")
    assert reductions.total(empty, 1).value.tolist() == [0.0] * 3
    nothing = reductions.mean(empty, 1)
    assert np.isnan(nothing.value).all()
    assert not nothing.doubtful


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 2.0**10])
@pytest.mark.parametrize("n", LENGTHS[1:])
def test_variances_in_two_passes_and_by_welford_are_within_bounds(
    n: int, offset: float, dtype: str
) -> None:
    if offset and dtype in ("bfloat16", "float16"):
        offset = 16.0
    for scale, outlier in ((1.0, 0.0), (0.01, 0.0), (1.0, 50.0)):
        x = _drawn(dtype, n, n, offset=offset, scale=scale)
        x[:, 0] = round_to(x[:, 0] + outlier, dtype)
        for correction in (0.0, 1.0):
            v = reductions.variance(_exact(x, dtype), 1, correction=correction)
            for order in ORDERS:
                assert ratio(Stored(dtype, order).two_pass(x, correction), v) <= 1
            assert ratio(Stored(dtype).welford(x, correction), v) <= 1
            truth = []
            for row in x.tolist():
                each = [Fraction(value) for value in row]
                middle = sum(each) / n
                truth.append(
                    float(sum((y - middle) ** 2 for y in each) / (n - Fraction(correction)))
                )
            assert ratio(np.array(truth), v) <= 1


def test_updates_divide_by_three_where_two_passes_are_exact() -> None:
    x = np.random.default_rng(5).integers(-9, 9, (200, 8)) * 1.5
    right = Stored("float32").two_pass(x, 0.0)
    updated = Stored("float32").welford(x, 0.0)
    assert np.count_nonzero(right != updated) > 20
    for got in (right, updated):
        assert ratio(got, reductions.variance(_exact(x, "float32"), 1, correction=0.0)) <= 1
    passes = reductions.variance(_exact(x, "float32"), 1, correction=0.0, running=False)
    assert not passes.doubtful
    assert ratio(right, passes) == 0
    pairs = reductions.variance(_exact(x[:, :2], "float32"), 1)
    assert not pairs.doubtful


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 8, 64])
def test_the_difference_of_two_moments_is_beyond_the_bound_of_a_variance(
    n: int, dtype: str
) -> None:
    x = _drawn(dtype, n, offset=2.0**10)
    v = reductions.variance(_exact(x, dtype), 1, correction=0.0)
    assert ratio(Stored(dtype).one_pass(x, 0.0), v) > 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_unbiased_for_biased_is_beyond_it(dtype: str) -> None:
    x = _drawn(dtype, 8)
    precision = Precision.of(dtype)
    read = widened(exactly(x, precision))
    v = stored(reductions.variance(read, 1, correction=0.0), precision)
    single = "float32" if precision.half else dtype
    right = round_to(Stored(single).two_pass(x, 0.0), dtype)
    assert ratio(right, v) <= 1
    assert ratio(round_to(Stored(single).two_pass(x, 1.0), dtype), v) > 10


def _normalised(x: Rounded, eps: float) -> Rounded:
    deviation = x - reductions.mean(x, 1, keepdims=True, running=True)
    v = reductions.variance(x, 1, correction=0.0, keepdims=True)
    return deviation * elementary.reciprocal_sqrt(v + constant(eps, x))


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_eps_outside_the_root_is_beyond_the_bound_of_a_norm(scale: float) -> None:
    x = _drawn("float32", 8, scale=scale)
    y = _normalised(_exact(x, "float32"), 1e-5)
    s = x.astype(np.float32)
    d, v = s - s.mean(1, keepdims=True), s.var(1, keepdims=True)
    eps = np.float32(1e-5)
    assert ratio(d / np.sqrt(v + eps), y) <= 1
    assert ratio(torch.nn.functional.layer_norm(torch.from_numpy(s), (8,)).numpy(), y) <= 1
    assert ratio(d / (np.sqrt(v) + eps), y) > 3
    assert ratio(d / np.sqrt(v), y) > 3


def test_the_logarithm_of_a_logistic_function_is_beyond_the_bound_of_logsigmoid() -> None:
    x = np.linspace(1, 20, 300, dtype=np.float32)
    rounded = _exact(x, "float32")
    y = -elementary.log1p(elementary.exp(-rounded))
    assert ratio(torch.nn.functional.logsigmoid(torch.from_numpy(x)).numpy(), y) <= 1
    assert ratio(np.log(1 / (1 + np.exp(-x))), y) > 1e4


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
    c = exactly(np.array([5.0, 7.0]), precision)
    (found,) = pull_back([reductions.maximum(x, 1)], [c], [x])
    assert found.value[0].tolist() == [0.0, 5.0, 0.0]
    assert found.error[0].tolist() == [0.0] * 3
    for tied in ([7.0, 0.0, 0.0], [0.0, 0.0, 7.0], [3.5, 0.0, 3.5]):
        assert ratio(np.array([[0, 5.0, 0], tied]), found) <= 1
    assert ratio(np.array([[0, 5.0, 0], [7.5, 0.0, 0.0]]), found) > 1


def test_nan_that_is_certain_makes_maximum_and_softmax_nan_beside_numbers_in_doubt() -> None:
    precision = Precision.of("float32", Numerics(unit_roundoff=2.0**-8, operand_roundoff=2.0**-8))
    x = exactly(np.array([[np.nan, 1.0], [1.0, 2.0]]), precision)
    assert reductions.maximum(x, 1).decided.tolist() == [True, True]
    for function in (reductions.softmax, reductions.log_softmax):
        found = function(x, 1)
        assert np.isnan(found.value[0]).all()
        assert found.decided.all()
        endless = function(exactly(np.array([[np.inf, 1.0]]), precision), 1)
        assert np.isnan(endless.value).all()
        assert endless.decided.all()
    perhaps = Rounded(np.array([[np.nan, 1.0]]), np.array([[np.inf, 0.5]]), precision)
    assert not reductions.maximum(perhaps, 1).decided.any()
    assert not reductions.softmax(perhaps, 1).decided.any()


def _true_softmax(x: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """p, log p and the gradients of both, by 40 digits."""
    found: list[list[list[float]]] = [[], [], [], []]
    with mpmath.workdps(40):
        for row, weights in zip(x.tolist(), c.tolist(), strict=True):
            e = [mpmath.exp(mpmath.mpf(v)) for v in row]
            s, w = sum(e), [mpmath.mpf(v) for v in weights]
            p = [v / s for v in e]
            inner, whole = sum(a * b for a, b in zip(w, p, strict=True)), sum(w)
            found[0].append([float(v) for v in p])
            found[1].append([float(mpmath.log(v)) for v in p])
            found[2].append([float(a * (b - inner)) for a, b in zip(p, w, strict=True)])
            found[3].append([float(b - a * whole) for a, b in zip(p, w, strict=True)])
    return tuple(np.array(part) for part in found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 5, 33])
@pytest.mark.parametrize("scale", [0.1, 3.0, 12.0])
def test_softmax_and_its_logarithm_in_every_form(dtype: str, n: int, scale: float) -> None:
    precision = Precision.of(dtype)
    x = leaf(_drawn(dtype, n, n, scale=scale), precision)
    c = exactly(_drawn(dtype, n, n + 1), precision)
    p, logs = (
        stored(function(widened(x), 1), precision)
        for function in (reductions.softmax, reductions.log_softmax)
    )
    (of_p,), (of_logs,) = (pull_back([y], [c], [x]) for y in (p, logs))
    truth = _true_softmax(x.value, c.value)
    for true, found in zip(truth, (p, logs, of_p, of_logs), strict=True):
        assert ratio(round_to(true, dtype), found) <= 1
    work = "float32" if precision.half else dtype
    for order in ORDERS:
        form = Stored(work, order)
        for other in (False, True):
            q = round_to(form.softmax(x.value, reciprocal=other), dtype)
            assert ratio(q, p) <= 1
            r = round_to(form.log_softmax(x.value, together=other), dtype)
            assert ratio(r, logs) <= 1
            inner = form.sum(form.fl(c.value * q))[:, None]
            for got in (
                form.fl(q * form.fl(c.value - inner)),
                form.fl(form.fl(c.value * q) - form.fl(q * inner)),
            ):
                assert ratio(round_to(got, dtype), of_p) <= 1
            summed = form.sum(c.value)[:, None]
            got = form.fl(c.value - form.fl(form.fl(np.exp(r)) * summed))
            assert ratio(round_to(got, dtype), of_logs) <= 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("n", [2, 5, 33])
def test_a_softmax_of_stored_steps_is_within_the_bound_of_a_stepwise_backend(
    n: int, dtype: str
) -> None:
    precision = Precision.of(dtype, Numerics(stepwise=True))
    x = exactly(_drawn(dtype, n, n, scale=2.0), precision)
    p, logs = (
        stored(function(widened(x), 1), precision)
        for function in (reductions.softmax, reductions.log_softmax)
    )
    for order in ORDERS:
        for other in (False, True):
            form = Stored(dtype, order)
            assert ratio(form.softmax(x.value, reciprocal=other), p) <= 1
            assert ratio(form.log_softmax(x.value, together=other), logs) <= 1
    assert ratio(p.value * 1.5, p) > 1
    assert np.isfinite(logs.error).all()
    assert ratio(logs.value * 1.5 - 1, logs) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_wrong_softmax_is_beyond_its_bound(dtype: str) -> None:
    precision = Precision.of(dtype)
    x = leaf(_drawn(dtype, 9, scale=3.0), precision)
    c = exactly(_drawn(dtype, 9, 1), precision)
    p, logs = (
        stored(function(widened(x), 1), precision)
        for function in (reductions.softmax, reductions.log_softmax)
    )
    (of_p,) = pull_back([p], [c], [x])
    (of_logs,) = pull_back([logs], [c], [x])
    right, *_ = _true_softmax(x.value, c.value)
    e = np.exp(x.value - x.value.max(1, keepdims=True))
    assert ratio(e / (e.sum(1, keepdims=True) + 0.05), p) > 2
    assert ratio(e / e[:, 1:].sum(1, keepdims=True), p) > 2
    assert ratio(x.value - x.value.max(1, keepdims=True), logs) > 2
    assert ratio(right * c.value, of_p) > 2
    assert ratio(c.value - right, of_logs) > 2
    if dtype == "bfloat16":
        assert ratio(Stored(dtype).softmax(x.value), p) > 1
        assert ratio(Stored(dtype).log_softmax(x.value), logs) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_sharp_softmax(dtype: str) -> None:
    precision = Precision.of(dtype)
    for count in (1, 2, 4, 8):
        x = np.full((1, 8), -2000.0)
        x[0, :count] = 3.0
        p = stored(reductions.softmax(widened(_exact(x, dtype)), 1), precision)
        assert not p.doubtful
        assert p.value.tolist() == [[1 / count] * count + [0.0] * (8 - count)]
    three = reductions.softmax(widened(_exact(np.zeros((1, 3)), dtype)), 1)
    assert three.vague
    logs = reductions.log_softmax(widened(_exact([[5.0, 5.0 - 2048]], dtype)), 1)
    assert logs.value.tolist() == [[0.0, -2048.0]]
    assert not logs.doubtful
    big = FORMATS[dtype].largest
    p = reductions.softmax(_exact([[big, -big]], dtype), 1)
    assert p.value.tolist() == [[1.0, 0.0]]
    assert not p.doubtful


def test_infinities_and_nan_in_a_softmax() -> None:
    inf, nan = np.inf, np.nan
    x = _exact([[-inf, 0.0, 0.0], [-inf, -inf, -inf], [inf, 0.0, 0.0], [nan, 1.0, 2.0]], "float32")
    p, logs = reductions.softmax(x, 1), reductions.log_softmax(x, 1)
    np.testing.assert_array_equal(p.value, [[0.0, 0.5, 0.5]] + [[nan] * 3] * 3)
    assert not p.doubtful
    assert logs.value[0, 0] == -inf
    assert logs.error[0, 0] == 0 < logs.error[0, 1] < 1e-6
    assert np.isnan(logs.value[1:]).all()
    assert not logs.error[1:].any()
    lse = reductions.log_sum_exp(x, 1)
    np.testing.assert_array_equal(lse.value[1:], [-inf, inf, nan])
    assert lse.error[1] == lse.error[2] == 0
    doubtful = Rounded(np.zeros((1, 2)), np.array([[np.inf, 0.0]]), Precision.of("float32"))
    assert np.isinf(reductions.softmax(doubtful, 1).error).all()
    missing = Rounded(np.array([[nan, 0.0]]), doubtful.error, doubtful.precision)
    assert np.isinf(reductions.softmax(missing, 1).error).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_composed_gradients_are_those_of_torch(dtype: str) -> None:
    precision = Precision.of(dtype)
    native = torch.from_numpy(_drawn(dtype, 9)).to(getattr(torch, dtype)).requires_grad_()
    x = leaf(_drawn(dtype, 9), precision)
    for ours, theirs in (
        (reductions.mean(x, 1), native.mean(1)),
        (reductions.total(x, 1), native.sum(1)),
        (reductions.variance(x, 1), native.var(1)),
        (reductions.variance(x, (0, 1), correction=0), native.var((0, 1), correction=0)),
        (reductions.softmax(x, 1), native.softmax(1)),
        (reductions.log_softmax(x, 0), native.log_softmax(0)),
        (reductions.log_sum_exp(x, 1), native.logsumexp(1)),
        (_normalised(x, 1e-5), torch.nn.functional.layer_norm(native, (9,))),
    ):
        c = round_to(np.random.default_rng(3).standard_normal(ours.shape), dtype)
        (found,) = pull_back([ours], [exactly(c, precision)], [x])
        cotangent = torch.from_numpy(np.asarray(c)).to(native.dtype)
        (got,) = torch.autograd.grad(theirs, native, cotangent)
        assert ratio(theirs.detach().numpy(), ours) <= 1
        assert ratio(got.numpy(), found) <= 1
        if np.ptp(got.numpy()) > 1e-3:
            assert ratio(got.numpy() * 1.001, found) > 1
