"""The error bounds cover arithmetic in the format, and are not so wide that they say nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conformance.arithmetic import rounded as rounding
from conformance.arithmetic.half_precision import converted, with_stored_product
from conformance.arithmetic.precision import Precision
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS, round_to

DTYPES = tuple(FORMATS)


def _exact_operand(
    values: np.ndarray, dtype: str, numerics: Numerics | None = None
) -> rounding.Rounded:
    return rounding.exact_operand(round_to(values, dtype), Precision.of(dtype, numerics))


def _exact_dot(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("i,oi->o", x, w))


def _sequential_dot(x: np.ndarray, w: np.ndarray, dtype: str) -> np.ndarray:
    """A dot product in which every operation rounds to the format."""
    total = np.zeros(len(w))
    for k in range(len(x)):
        total = round_to(total + round_to(x[k] * w[:, k], dtype), dtype)
    return total


@pytest.mark.parametrize("dtype", DTYPES)
def test_bound_holds_for_any_order_and_is_not_void(dtype: str) -> None:
    generator = np.random.default_rng(1)
    detected = 0
    for _ in range(200):
        n = int(generator.integers(1, 30))
        x = _exact_operand(generator.standard_normal(n), dtype)
        w = _exact_operand(generator.standard_normal((4, n)), dtype)
        y = rounding.multilinear(_exact_dot, x, w, terms=n)
        got = _sequential_dot(x.value, w.value, dtype)
        assert (np.abs(got - y.value) <= y.error).all()
        without_first_term = (
            _sequential_dot(x.value[1:], w.value[:, 1:], dtype) if n > 1 else np.zeros(4)
        )
        unit = FORMATS[dtype].unit
        is_large = np.abs(x.value[0] * w.value[:, 0]) > 4 * n * unit * np.abs(w.value) @ np.abs(
            x.value
        )
        assert (np.abs(without_first_term - y.value) > y.error)[is_large].all()
        detected += np.count_nonzero(is_large)
    assert detected > 50


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_up_to_the_limit_are_exact_and_beyond_it_are_not(dtype: str) -> None:
    limit = 2.0 ** FORMATS[dtype].bits
    two_terms = _exact_operand(np.array([limit / 2, 1.0]), dtype)
    at_limit = _exact_operand(np.array([[1.0, limit / 2]]), dtype)
    assert rounding.multilinear(_exact_dot, two_terms, at_limit, terms=2).error[0] == 0
    beyond_limit = _exact_operand(
        np.array([[1.0, limit / 2 + 2 if dtype != "float64" else limit]]), dtype
    )
    assert rounding.multilinear(_exact_dot, two_terms, beyond_limit, terms=2).error[0] > 0
    scaled = _exact_operand(np.array([3.0, 5.0]) * 2.0**-7, dtype)
    assert (
        rounding.multilinear(
            _exact_dot, scaled, _exact_operand(np.ones((1, 2)), dtype), terms=2
        ).error
        == 0
    )


def test_an_inexact_algorithm_is_never_held_to_equality() -> None:
    numerics = Numerics(inexact=("winograd",))
    x = _exact_operand(np.array([1.0, 2.0]), "float32", numerics)
    w = _exact_operand(np.ones((1, 2)), "float32", numerics)
    assert rounding.multilinear(_exact_dot, x, w, terms=2).error[0] > 0


def test_declared_accumulation_changes_the_bound() -> None:
    x, w = np.full(16, 0.1), np.full((1, 16), 0.3)
    errors = []
    for numerics in (None, Numerics(accumulation="float32"), Numerics(accumulation="bfloat16")):
        a, b = _exact_operand(x, "bfloat16", numerics), _exact_operand(w, "bfloat16", numerics)
        errors.append(float(rounding.multilinear(_exact_dot, a, b, terms=16, wide=True).error[0]))
    assert errors[0] == errors[1] < errors[2] / 8


def test_flush_to_zero_is_allowed_only_where_declared() -> None:
    tiny = FORMATS["float32"].normal / 4
    for declared in (False, True):
        numerics = Numerics(flush_to_zero=declared)
        x = _exact_operand(np.array([tiny]), "float32", numerics)
        y = rounding.multilinear(
            _exact_dot, x, _exact_operand(np.ones((1, 1)), "float32", numerics), terms=1
        )
        assert (y.error[0] >= tiny) == declared


def test_round_to_bfloat16_is_nearest_even() -> None:
    values = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 3.4e38, 1e-45, -0.0, np.inf, np.nan])
    rounded = round_to(values, "bfloat16")
    assert rounded[0] == 1.0
    assert rounded[1] == 1 + 2.0**-6
    assert rounded[2] == np.inf  # more than half a unit beyond the largest number
    assert rounded[3] == 0
    assert np.signbit(rounded[4])
    assert np.isinf(rounded[5])
    assert np.isnan(rounded[6])
    torch = pytest.importorskip("torch")
    many = np.random.default_rng(0).standard_normal(5000) * np.exp2(np.arange(5000) % 260 - 140)
    single = many.astype(np.float32)  # torch would round a float64 twice
    ours = round_to(single.astype(np.float64), "bfloat16")
    theirs = torch.from_numpy(single).to(torch.bfloat16).double().numpy()
    np.testing.assert_array_equal(ours, theirs)
    assert np.count_nonzero((ours != 0) & (ours != single)) > 4000


def test_round_to_refuses_what_is_no_format() -> None:
    with pytest.raises(ValueError, match="dtype='int8'"):
        round_to(np.zeros(1), "int8")


def test_a_product_may_be_stored_before_its_bias_but_not_where_nothing_rounds() -> None:
    precision = Precision.of("bfloat16")
    product = 1 + 2.0**-8
    stored_answer = float(round_to(np.array(product), "bfloat16")) - 1.0
    fused = rounding.Rounded(np.array([2.0**-8]), np.array([2.0**-17]), precision)
    rounded_product = rounding.Rounded(
        np.array([product]), np.array([2.0**-8 * product]), precision
    )
    bound = with_stored_product(fused, rounded_product).error
    assert fused.error < abs(stored_answer - fused.value) <= bound
    exact = fused.with_error(np.zeros(1))
    assert with_stored_product(exact, rounded_product).error == 0


def test_a_cast_operand_has_the_accuracy_that_is_declared_for_its_dtype() -> None:
    declared = Precision.of("float64", Numerics(ulp={"exp": 700.0}))
    x = rounding.exact_operand(np.ones(1), replace(Precision.of("float16"), others=(declared,)))
    assert converted(x, "float64").precision.ulp("exp") == 700.0
    assert converted(x, "float32").precision.ulp("exp") == Precision.of("float16").ulp("exp")
