"""Piecewise functions: values and slopes at edges, and true values of the smooth pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance.arithmetic import smooth
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.piecewise import itself, level, pieces
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import as_read, maximum
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.layers import DTYPES
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS, round_to

mp = pytest.importorskip("mpmath")

Function = Callable[[Rounded], Rounded]


def _slope(function: Function, numbers: list[float], dtype: str, cotangent: float = 1.0) -> Rounded:
    precision = Precision.of(dtype)
    x = leaf(np.array(numbers), precision)
    given = exactly(np.full(len(numbers), cotangent), precision)
    (found,) = pull_back([function(x)], [given], [x])
    return found


def _step(edge: float, above: tuple[float, ...] = ()) -> Function:
    return lambda x: pieces(x, (edge,), (level(0.0), itself), above=above)


def test_an_edge_belongs_to_the_piece_below_it_or_above() -> None:
    x = exactly(np.array([0.25, 0.5, 0.75]), Precision.of("float32"))
    y = _step(0.5)(x)
    assert (y.value == [0.0, 0.0, 0.75]).all()
    assert (y.error == 0).all()
    assert (_step(0.5, above=(0.5,))(x).value == [0.0, 0.5, 0.75]).all()


@pytest.mark.parametrize("cotangent", [1.0, -1.0])
def test_at_an_edge_every_slope_between_those_of_its_sides_is_right(cotangent: float) -> None:
    found = _slope(_step(0.5), [0.25, 0.5, 0.75], "float32", cotangent)
    assert (found.value == np.array([0.0, 0.5, 1.0]) * cotangent).all()
    assert found.error == pytest.approx([0.0, 0.5, 0.0])


def test_an_end_in_doubt_reaches_to_either_side() -> None:
    # One end is -1 for certain, the other about -1.
    def below(x: Rounded) -> Rounded:
        return smooth.exponential_unit(x, 1.7, divided=True)

    found = _slope(lambda x: pieces(x, (0.0,), (below, itself)), [0.0], "float32", -1.0)
    assert abs(found.value[0] + 1) < 1e-7
    assert 1e-7 < found.error[0] < 1e-6


def test_between_an_edge_and_the_number_it_is_rounded_to_either_piece_is_right() -> None:
    at = round_to(np.array([0.1]), "bfloat16")  # a little above 0.1
    y = _step(0.1)(exactly(at, Precision.of("bfloat16")))
    assert y.error[0] == pytest.approx(at[0])
    assert _step(0.1)(exactly(np.array([0.1]), Precision.of("float64"))).error[0] == 0


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_only_a_number_that_may_be_read_as_zero_is_in_doubt(sign: float) -> None:
    tiny, normal = sign * 2.0**-140, sign * 2.0**-120
    numbers = np.array([tiny, normal])
    flush = Precision.of("float32", Numerics(flush_to_zero=True))
    for function in (_step(0.0), lambda x: maximum(as_read(x), 0)):
        strict = function(exactly(numbers[:, None].T, Precision.of("float32")))
        loose = function(exactly(numbers[:, None].T, flush))
        assert (strict.error == 0).all()
        # For the first number both it and 0 are right, for the second only itself.
        wanted, near = strict.value.reshape(-1), loose.error.reshape(-1)
        assert near[0] >= abs(wanted[0])
        assert near[1] == 0
        # Its value may be read with an error of its own size, in either of two pieces.
        assert near[0] <= 2 * abs(tiny)


def test_nan_stays_nan() -> None:
    y = _step(0.5)(exactly(np.array([np.nan]), Precision.of("float32")))
    assert np.isnan(y.value[0])
    assert y.error[0] == 0


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def _gelu_by_tanh(x: Any) -> Any:
    z = mp.sqrt(2 / mp.pi) * (x + mp.mpf(0.044715) * x**3)
    return x * mp.mpf("0.5") * (1 + mp.tanh(z))


TRUTH: dict[str, tuple[Function, Callable[[Any], Any]]] = {
    "softplus": (smooth.softplus, _softplus),
    "mish": (smooth.mish, lambda x: x * mp.tanh(_softplus(x))),
    "gelu": (smooth.gelu, lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2),
    "gelu_by_tanh": (smooth.gelu_by_tanh, _gelu_by_tanh),
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
    at = round_to(numbers, dtype)
    y, slope = function(exactly(at, Precision.of(dtype))), _slope(function, at.tolist(), dtype)
    assert np.isfinite(y.error).all()
    with mp.workdps(300):
        for k, x in enumerate(map(mp.mpf, at.tolist())):
            for found, truth in ((y, true(x)), (slope, mp.diff(true, x))):
                distance = abs(truth - mp.mpf(float(found.value[k])))
                # A limit that a function reaches in every format counts as reached (`saturation`).
                reached = abs(truth) * mp.mpf(2) ** -53 + mp.mpf(FORMATS[dtype].tiny)
                assert distance <= mp.mpf(float(found.error[k])) + reached, x
