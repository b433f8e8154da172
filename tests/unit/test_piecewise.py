"""Piecewise functions: values and slopes at edges, and true values of the smooth pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance.arithmetic import smooth
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.piecewise import constant_piece, identity, piecewise
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import as_read, maximum
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.layers import DTYPES
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS, round_to

mp = pytest.importorskip("mpmath")

Function = Callable[[Rounded], Rounded]


def _slope_of(
    function: Function, numbers: list[float], dtype: str, cotangent: float = 1.0
) -> Rounded:
    precision = Precision.of(dtype)
    x = leaf(np.array(numbers), precision)
    output_gradient = exact_operand(np.full(len(numbers), cotangent), precision)
    (slope,) = pull_back([function(x)], [output_gradient], [x])
    return slope


def _step_function(edge: float, above: tuple[float, ...] = ()) -> Function:
    return lambda x: piecewise(x, (edge,), (constant_piece(0.0), identity), above=above)


def test_an_edge_belongs_to_the_piece_below_it_or_above() -> None:
    x = exact_operand(np.array([0.25, 0.5, 0.75]), Precision.of("float32"))
    y = _step_function(0.5)(x)
    assert (y.value == [0.0, 0.0, 0.75]).all()
    assert (y.error == 0).all()
    assert (_step_function(0.5, above=(0.5,))(x).value == [0.0, 0.5, 0.75]).all()


@pytest.mark.parametrize("cotangent", [1.0, -1.0])
def test_at_an_edge_every_slope_between_those_of_its_sides_is_right(cotangent: float) -> None:
    slopes = _slope_of(_step_function(0.5), [0.25, 0.5, 0.75], "float32", cotangent)
    assert (slopes.value == np.array([0.0, 0.5, 1.0]) * cotangent).all()
    assert slopes.error == pytest.approx([0.0, 0.5, 0.0])


def test_the_slope_at_nan_is_that_of_any_piece() -> None:
    slopes = _slope_of(_step_function(0.5), [np.nan, 0.75], "float32")
    assert slopes.error.tolist() == [np.inf, 0.0]


def test_an_end_in_doubt_reaches_to_either_side() -> None:
    # One end is -1 for certain, the other about -1.
    def below(x: Rounded) -> Rounded:
        return smooth.exponential_unit(x, 1.7, divided=True)

    slope = _slope_of(lambda x: piecewise(x, (0.0,), (below, identity)), [0.0], "float32", -1.0)
    assert abs(slope.value[0] + 1) < 1e-7
    assert 1e-7 < slope.error[0] < 1e-6


def test_between_an_edge_and_the_number_it_is_rounded_to_either_piece_is_right() -> None:
    points = round_to(np.array([0.1]), "bfloat16")  # a little above 0.1
    y = _step_function(0.1)(exact_operand(points, Precision.of("bfloat16")))
    assert y.error[0] == pytest.approx(points[0])
    assert (
        _step_function(0.1)(exact_operand(np.array([0.1]), Precision.of("float64"))).error[0] == 0
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_only_a_number_that_may_be_read_as_zero_is_in_doubt(sign: float) -> None:
    tiny, normal = sign * 2.0**-140, sign * 2.0**-120
    numbers = np.array([tiny, normal])
    flush = Precision.of("float32", Numerics(flush_to_zero=True))
    for function in (_step_function(0.0), lambda x: maximum(as_read(x), 0)):
        strict = function(exact_operand(numbers[:, None].T, Precision.of("float32")))
        loose = function(exact_operand(numbers[:, None].T, flush))
        assert (strict.error == 0).all()
        # For the first number both it and 0 are right, for the second only itself.
        values, near = strict.value.reshape(-1), loose.error.reshape(-1)
        assert near[0] >= abs(values[0])
        assert near[1] == 0
        # Its value may be read with an error of its own size, in either of two pieces.
        assert near[0] <= 2 * abs(tiny)


def test_nan_stays_nan() -> None:
    y = _step_function(0.5)(exact_operand(np.array([np.nan]), Precision.of("float32")))
    assert np.isnan(y.value[0])
    assert y.error[0] == 0


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def _gelu_tanh(x: Any) -> Any:
    z = mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3)
    return x * mp.mpf("0.5") * (1 + mp.tanh(z))


TRUTH: dict[str, tuple[Function, Callable[[Any], Any]]] = {
    "softplus": (smooth.softplus, _softplus),
    "mish": (smooth.mish, lambda x: x * mp.tanh(_softplus(x))),
    "gelu": (smooth.gelu, lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2),
    "gelu_by_tanh": (smooth.gelu_by_tanh, _gelu_tanh),
    "elu": (lambda x: smooth.exponential_unit(x, 1.75), lambda x: 1.75 * mp.expm1(x)),
    "celu": (
        lambda x: smooth.exponential_unit(x, 1.7, divided=True),
        lambda x: mp.mpf(1.7) * mp.expm1(x / mp.mpf(1.7)),
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUTH)
def test_true_values_and_slopes_are_within_the_bounds(name: str, dtype: str) -> None:
    inner, true = TRUTH[name]

    def function(x: Rounded) -> Rounded:
        return stored(inner(widened(x)), x.precision)

    generator = np.random.default_rng(3)
    numbers = np.concatenate(
        [
            generator.standard_normal(60) * 3,
            generator.uniform(-60, 60, 60),
            generator.choice([-1, 1], 60) * 10.0 ** generator.uniform(-6, 1, 60),
        ]
    )
    if name in ("elu", "celu"):
        numbers = -np.abs(numbers)
    points = round_to(numbers, dtype)
    y, slopes = (
        function(exact_operand(points, Precision.of(dtype))),
        _slope_of(function, points.tolist(), dtype),
    )
    assert np.isfinite(y.error).all()
    with mp.workdps(300):
        for k, x in enumerate(map(mp.mpf, points.tolist())):
            for bounded, truth in ((y, true(x)), (slopes, mp.diff(true, x))):
                distance = abs(truth - mp.mpf(float(bounded.value[k])))
                # A limit that a function reaches in every format counts as reached (`saturation`).
                saturation = abs(truth) * mp.mpf(2) ** -53 + mp.mpf(FORMATS[dtype].tiny)
                assert distance <= mp.mpf(float(bounded.error[k])) + saturation, x
