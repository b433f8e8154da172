"""Alternatives, selection by index and undecided branches accept every right value and no other."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mpmath")

from arithmetic_peaks import largest_ratio

from conformance.arithmetic import choices
from conformance.arithmetic.choices import Choices, gather, interval, take, where_undecided
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.elementary import exp, log1p
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.checks.values import compare
from conformance.model.failure import Failure

SINGLE = Precision.of("float32")


def _rounded(value: object, error: object = 0.0) -> Rounded:
    array = np.asarray(value, dtype=np.float64)
    return Rounded(
        array, np.broadcast_to(np.asarray(error, np.float64), array.shape).copy(), SINGLE
    )


def test_each_alternative_of_each_element_passes_and_nothing_else() -> None:
    either = Choices((_rounded([1.0, 2.0, np.nan]), _rounded([5.0, 2.5, 0.0], [0.0, 0.25, 0.0])))
    for answer in ([1, 2, np.nan], [5, 2.75, 0], [1, 2.25, 0], [5, 2, np.nan]):
        evidence = compare("output", np.array(answer, float), either)
        assert evidence.comparisons == 3
    assert compare("output", np.array([1.0, 2.375, 0.0]), either).margin == 0.5
    for answer, wanted in (
        ([1.1, 2, 0], "wanted 1 or 5"),
        ([5, 2.8, 0], "wanted 2 or 2.5"),
        ([1, 2, 1e-30], "wanted nan or 0"),
        ([np.nan, 2, 0], "wanted 1 or 5"),
        ([1, np.inf, 0], "wanted 2 or 2.5"),
    ):
        with pytest.raises(Failure, match=wanted):
            compare("output", np.array(answer, float), either)
    with pytest.raises(Failure, match="shape of output"):
        compare("output", np.zeros(2), either)
    assert either[1:].shape == (2,)


def test_of_an_alternative_that_may_be_anything_anything_passes_but_is_not_counted() -> None:
    either = Choices((_rounded([1.0, 1.0]), _rounded([0.0, 0.0], np.inf)))
    assert compare("output", np.array([1.0, 7.0]), either).comparisons == 1
    # An answer within a bound counts, although anything would have passed.
    bounded = Choices((_rounded([0.0, 5.0], [np.inf, np.nan]), _rounded([1.0, 1.0], 0.5)))
    assert compare("output", np.array([1.25, 7.0]), bounded).margin == 0.5
    with pytest.raises(ValueError, match="expected one shape"):
        Choices((_rounded([1.0]), _rounded([1.0, 2.0])))
    with pytest.raises(ValueError, match="expected one shape"):
        Choices(())


def test_nan_without_an_error_is_to_be_nan_and_an_infinity_that_infinity() -> None:
    wanted = _rounded([np.nan, np.inf, -np.inf, 1.0])
    assert compare("y", np.array([np.nan, np.inf, -np.inf, 1.0]), wanted).comparisons == 4
    for position, wrong in (
        (0, 0.0),
        (0, np.inf),
        (1, -np.inf),
        (1, np.nan),
        (2, 3e38),
        (3, np.nan),
    ):
        got = np.array([np.nan, np.inf, -np.inf, 1.0])
        got[position] = wrong
        with pytest.raises(Failure, match=rf"y\[{position}\]"):
            compare("y", got, wanted)
    # With an error, such a value counts as unknown.
    assert compare("y", np.array([5.0]), _rounded([np.nan], np.nan)).comparisons == 0
    assert compare("y", np.array([np.nan]), _rounded([1.0], np.inf)).comparisons == 0


def test_an_interval_holds_all_between_its_ends() -> None:
    slope = interval(_rounded([-1.0, 2.0, 0.0]), _rounded([1.0, 2.0, np.inf], [1e-3, 0.0, 0.0]))
    assert slope.error[1] == 0
    assert np.isinf(slope.error[2])
    for inside in (-1.0, 0.0, 1.001):
        assert abs(inside - slope.value[0]) <= slope.error[0]
    for outside in (-1.01, 1.01):
        assert abs(outside - slope.value[0]) > slope.error[0]


@pytest.mark.parametrize("inclusive", [False, True])
def test_a_branch_in_doubt_may_be_either(inclusive: bool) -> None:
    z = _rounded([1.0, 2.0, 3.0, 2.0, 2.1, np.nan], [0.5, 0.0, 0.5, 0.1, 0.2, 0.0])
    above, below = _rounded(np.full(6, 10.0), 0.1), _rounded(np.arange(6.0), 0.01)
    y = where_undecided(z, 2.0, above, below, inclusive=inclusive)
    sides = [False, inclusive, True, None, None, False]
    for k, side in enumerate(sides):
        for branch, value, error in ((True, 10.0, 0.1), (False, float(k), 0.01)):
            for answer in (value - error, value + error):
                is_right = side is None or side == branch
                assert (abs(answer - y.value[k]) <= y.error[k] * (1 + 1e-15)) == is_right, (
                    k,
                    branch,
                )
    assert np.isinf(where_undecided(_rounded([0.0], np.inf), 2.0, above[:1], below[:1]).error[0])


def test_gradients_of_a_branch_in_doubt_are_those_of_either() -> None:
    # softplus with its threshold at 20: x itself above it, log(1 + e^x) below.
    x, c = leaf(np.array([-1.0, 20.0, 25.0]), SINGLE), _rounded([3.0, 3.0, 3.0])
    z = x.detached.with_error(np.array([1e-6, 1e-6, 1e-6]))
    y = where_undecided(z, 20.0, x, log1p(exp(x)))
    (gradient,) = pull_back([y], [c], [x])
    sigmoid_gradient = 3 / (1 + np.exp(-x.value))
    assert largest_ratio(np.array([sigmoid_gradient[0], 3.0, 3.0]), gradient) <= 1
    assert largest_ratio(np.array([sigmoid_gradient[0], sigmoid_gradient[1], 3.0]), gradient) <= 1
    assert largest_ratio(np.array([sigmoid_gradient[0], 3.0, 2.9]), gradient) > 1
    assert largest_ratio(np.array([3.0, 3.0, 3.0]), gradient) > 1


def test_maximum_of_two_widens_where_it_is_in_doubt() -> None:
    generator = np.random.default_rng(2)
    a, b = generator.standard_normal((2, 500))
    b[:100] = a[:100]
    e, f = np.abs(generator.standard_normal((2, 500))) * np.exp2(
        -generator.integers(0, 30, (2, 500))
    )
    y, z = (
        choices.maximum(_rounded(a, e), _rounded(b, f)),
        choices.minimum(_rounded(a, e), _rounded(b, f)),
    )
    for s, t in ((-1, 1), (1, -1), (1, 1), (-1, -1)):
        assert largest_ratio(np.maximum(a + s * e, b + t * f), y.with_error(y.error + 1e-15)) <= 1
        assert largest_ratio(np.minimum(a + s * e, b + t * f), z.with_error(z.error + 1e-15)) <= 1
    clear = a - e > b + f
    assert (y.error == e)[clear].all()
    assert clear.sum() > 50
    assert largest_ratio(np.minimum(a, b), y) > 1
    np.testing.assert_array_equal(
        choices.maximum(_rounded([np.nan, np.inf]), _rounded([1.0, 2.0])).value, [np.nan, np.inf]
    )
    x, threshold = leaf(np.array([[1.0, 2.0, 3.0]]), SINGLE), leaf(np.array(2.0), SINGLE)
    y = choices.maximum(x, threshold)
    x_gradient, threshold_gradient = pull_back([y], [_rounded([[5.0, 5.0, 5.0]])], [x, threshold])
    for tie in (0.0, 2.5, 5.0):
        assert largest_ratio(np.array([[0.0, tie, 5.0]]), x_gradient) <= 1
        assert largest_ratio(np.array(5.0 + tie), threshold_gradient) <= 1
    assert largest_ratio(np.array([[0.0, 5.1, 5.0]]), x_gradient) > 1
    assert largest_ratio(np.array([[0.1, 5.0, 5.0]]), x_gradient) > 1


@pytest.mark.parametrize("precision", [SINGLE, Precision.of("bfloat16")])
def test_copies_are_exact_and_their_gradients_add_up(precision: Precision) -> None:
    table = leaf(np.random.default_rng(3).standard_normal((5, 3)), precision)
    index = np.array([[4, 1, 1], [1, 0, 4]])
    rows = take(table, index)
    np.testing.assert_array_equal(rows.value, table.value[index])
    assert not rows.any_inexact
    c = np.random.default_rng(4).standard_normal((2, 3, 3))
    (gradient,) = pull_back([rows], [exact_operand(c, precision)], [table])
    wanted = np.zeros((5, 3))
    np.add.at(wanted, index, c)
    assert largest_ratio(wanted, gradient) <= 1
    assert (gradient.error == 0).all(axis=1).tolist() == [True, False, True, True, False]
    incomplete = wanted.copy()
    incomplete[1] -= c[0, 1]
    assert largest_ratio(incomplete, gradient) > 1
    integers = np.round(c)
    (gradient,) = pull_back([rows], [exact_operand(integers, precision)], [table])
    assert not gradient.any_inexact
    picked = gather(table, np.array([[2], [0], [0], [1], [1]]), 1)
    assert picked.shape == (5, 1)
    (gradient,) = pull_back([picked], [exact_operand(np.ones((5, 1)), precision)], [table])
    assert gradient.value.sum() == 5
    assert gradient.value[0].tolist() == [0.0, 0.0, 1.0]
    assert not gradient.any_inexact
