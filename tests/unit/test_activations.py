"""Bounds of activations cover operands with an error and every usual formula, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.arithmetic import activations
from conformance.arithmetic import rounded as rounding
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS, round_to
from conformance.oracles.recurrent.cells import affine, gru_cell

DTYPES = tuple(FORMATS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu"])
def test_activation_bounds_cover_every_operand_within_its_error(name: str, dtype: str) -> None:
    generator = np.random.default_rng(2)
    value = generator.standard_normal(2000) * np.exp2(generator.integers(-9, 6, 2000))
    error = np.abs(value) * np.exp2(generator.integers(-30, 2, 2000))
    x = Rounded(value, error, Precision.of(dtype))
    y = getattr(activations, name)(x)
    reference = {
        "tanh": np.tanh,
        "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
        "relu": lambda v: np.maximum(v, 0),
    }[name]
    for shift in (-1.0, -0.5, 0.3, 1.0):
        perturbed = value + shift * error
        # What float64 itself rounds: the moved operand, its image and the difference.
        float64_error = 8 * 2.0**-53 * (np.abs(perturbed) + np.abs(y.value))
        assert (np.abs(reference(perturbed) - y.value) <= y.error + float64_error).all()
    assert (y.error <= 2 * error + 8 * FORMATS[dtype].unit + 1e-4 * (dtype == "float16")).all()


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize("number", [0.0, 0.5, 200.0])
def test_a_number_without_dimensions_is_as_one_with(name: str, number: float) -> None:
    function, precision = getattr(activations, name), Precision.of("float32")
    scalar, row = (
        function(exact_operand(np.full(shape, number), precision)) for shape in ((), (1,))
    )
    assert scalar.shape == ()
    assert (scalar.value, scalar.error) == (row.value, row.error)


def test_far_tail_of_the_logistic_function_keeps_its_slope() -> None:
    # 1 − σ(52) is 0 in float64: a slope computed from it would make the bound too small.
    x = Rounded(np.array([-52.0]), np.array([1e-3]), Precision.of("float64"))
    assert activations.sigmoid(x).error[0] > 0.9e-3 * np.exp(-52.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_blend_bound_covers_both_usual_forms(dtype: str) -> None:
    generator = np.random.default_rng(3)
    z, n, h = (
        round_to(v, dtype) for v in (generator.random(500), *generator.standard_normal((2, 500)))
    )
    precision = Precision.of(dtype)
    y = activations.blend(*(exact_operand(v, precision) for v in (z, n, h)))

    def fl(values: np.ndarray) -> np.ndarray:
        return round_to(values, dtype)

    for got in (fl(fl(fl(1 - z) * n) + fl(z * h)), fl(n + fl(z * fl(h - n)))):
        assert (np.abs(got - y.value) <= y.error).all()
    assert (
        y.error <= 12 * precision.unit * (np.abs(n) + np.abs(h)) + 4 * precision.underflow
    ).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_blend_of_numbers_of_few_bits_is_exact_where_neither_form_rounds(dtype: str) -> None:
    generator = np.random.default_rng(4)
    count, precision = 40000, Precision.of(dtype)
    bits = generator.integers(1, precision.bits, (3, count), endpoint=True)
    n, h, z = np.ldexp(
        generator.integers(-(2**bits) + 1, 2**bits), generator.integers(-6, 1, (3, count))
    )
    z = np.abs(z) / 2.0 ** bits[2]
    y = activations.blend(*(exact_operand(v, precision) for v in (z, n, h)))
    exact = y.error == 0

    def fl(values: np.ndarray) -> np.ndarray:
        return round_to(values, dtype)

    complement, difference, value = fl(1 - z), fl(h - n), (1 - z) * n + z * h
    sum_of_products, interpolated = fl(fl(complement * n) + fl(z * h)), fl(n + fl(z * difference))
    unrounded = (sum_of_products == value) & (interpolated == value)
    assert unrounded[exact].all()
    assert exact.sum() > 0.8 * unrounded.sum() > 0.1 * count


def _slope_at(name: str, point: float) -> Rounded:
    """The oracle's float64 derivative of an activation at a point, with its bound."""
    precision = Precision.of("float64")
    x = leaf(np.array([point]), precision)
    y = getattr(activations, name)(x)
    (slope,) = pull_back([y], [exact_operand(np.ones(1), precision)], [x])
    return slope


@pytest.mark.parametrize(
    ("name", "at", "true"), [("tanh", 20.0, 1.6993e-17), ("sigmoid", 40.0, 4.2483e-18)]
)
def test_at_its_limit_a_slope_is_nothing_or_what_it_is_in_truth(
    name: str, at: float, true: float
) -> None:
    slope = _slope_at(name, at)
    assert slope.value[0] == pytest.approx(true, rel=1e-4)
    # 1/cosh² and 0 pass, one rounding of 1 does not.
    assert slope.value[0] <= slope.error[0] < 1.01 * true
    # Where the true slope underflows, only 0 is right.
    assert _slope_at(name, 800.0).error[0] == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_slope_bounds_cover_the_truth_and_every_usual_form(name: str, dtype: str) -> None:
    generator, precision = np.random.default_rng(5), Precision.of(dtype)
    log_uniform = generator.choice([-1, 1], 3000) * 10 ** generator.uniform(-9, 3, 3000)
    points = round_to(np.concatenate([log_uniform, generator.uniform(-25, 25, 3000), [0.0]]), dtype)
    x = leaf(points, precision)
    (slopes,) = pull_back(
        [getattr(activations, name)(x)], [exact_operand(np.ones(points.shape), precision)], [x]
    )

    def fl(values: np.ndarray) -> np.ndarray:
        return round_to(values, dtype)

    size, ones = np.abs(points), fl(np.ones(points.shape))
    with np.errstate(over="ignore"):
        if name == "tanh":
            t, cosh = fl(np.tanh(points)), fl(np.cosh(points))
            decay, factor, true_slope = fl(np.exp(-2 * size)), 4, 1 / np.cosh(points) ** 2
            from_result = fl(1 - fl(t * t)), fl(fl(1 - t) * fl(1 + t))
            from_cosh = fl(ones / fl(cosh * cosh)), fl(fl(ones / cosh) * fl(ones / cosh))
        else:
            s, decay, factor = fl(1 / (1 + np.exp(-points))), fl(np.exp(-size)), 1
            true_slope = np.exp(-size) / (1 + np.exp(-size)) ** 2
            from_result, from_cosh = (fl(fl(1 - s) * s),), ()
        from_decay = fl(fl(factor * decay) / fl(fl(1 + decay) * fl(1 + decay)))
    for got in (true_slope, *from_result, *from_cosh, from_decay):
        assert (np.abs(got - slopes.value) <= slopes.error).all()
    assert slopes.error[-1] == 0
    assert (slopes.error <= 13 * precision.unit + 8 * 2.0**-53 + 4 * precision.underflow).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_a_blend_cover_both_usual_forms(dtype: str) -> None:
    generator, precision = np.random.default_rng(6), Precision.of(dtype)
    a = round_to(generator.uniform(-50, 50, 2000), dtype)
    n = round_to(generator.choice([-1.0, 0.0, 1.0], 2000), dtype)
    h = round_to(
        n + generator.standard_normal(2000) * np.exp2(-generator.integers(0, 9, 2000)), dtype
    )
    g = exact_operand(round_to(generator.standard_normal(2000), dtype), precision)
    z, complement = activations.sigmoid_and_complement(exact_operand(a, precision))
    leaves = [leaf(v, precision) for v in (z.value, n, h)]
    z = rounding.with_node(z, leaves[0].node)
    y = activations.blend(z, *leaves[1:], complement)
    z_gradient, n_gradient, _ = pull_back([y], [g], [z, *leaves[1:]])

    def fl(values: np.ndarray) -> np.ndarray:
        return round_to(values, dtype)

    rounded_z = fl(z.value)
    for got in (fl(g.value * fl(h - n)), fl(fl(g.value * h) - fl(g.value * n))):
        assert (np.abs(got - z_gradient.value) <= z_gradient.error).all()
    for got in (
        fl(g.value * fl(1 - rounded_z)),
        fl(g.value - fl(g.value * rounded_z)),
        g.value / (1 + np.exp(a)),
    ):
        assert (np.abs(got - n_gradient.value) <= n_gradient.error).all()


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_a_declared_absolute_error_is_allowed_and_no_more(name: str) -> None:
    numerics = Numerics(absolute={"tanh": 1e-6, "sigmoid": 1e-6})
    value = np.array([-18.0, -3.0, 0.5])
    plain = getattr(activations, name)(exact_operand(value, Precision.of("float32")))
    loose = getattr(activations, name)(exact_operand(value, Precision.of("float32", numerics)))
    assert np.allclose(loose.error - plain.error, [1e-6] * 3, rtol=1e-3)


def test_an_operand_that_is_rounded_when_read_is_in_doubt_where_declared() -> None:
    value = np.array([3.0, 0.0, np.inf])
    rounded_when_read = exact_operand(
        value, Precision.of("float32", Numerics(operand_roundoff=2.0**-8))
    )
    assert rounded_when_read.error.tolist() == [3.0 * 2.0**-8, 0.0, 0.0]
    assert exact_operand(value, Precision.of("float32")).error.tolist() == [0.0] * 3
    # float32's largest number is infinite in bfloat16.
    assert (
        exact_operand(np.array([FORMATS["float32"].largest]), rounded_when_read.precision).error[0]
        == np.inf
    )


def test_the_new_gate_may_add_its_bias_first_or_last() -> None:
    generator = np.random.default_rng(4)
    precision = Precision.of("float64")
    state = {
        name: generator.standard_normal(shape)
        for name, shape in (
            ("weight_ih", (3, 2)), ("weight_hh", (3, 1)), ("bias_ih", (3,)), ("bias_hh", (3,)),
        )
    }  # fmt: skip
    # W x + b is a small integer, hence exact: only W x + s rounds.
    state["weight_ih"][2], state["bias_ih"][2] = (300.0, -200.0), -100.0
    x, h = generator.integers(-2, 3, (400, 2)) * 1.0, generator.standard_normal((400, 1))
    oracle = gru_cell(
        {name: exact_operand(value, precision) for name, value in state.items()},
        exact_operand(x, precision), exact_operand(h, precision), input_size=2, hidden_size=1,
    )  # fmt: skip
    wx, wh = x @ state["weight_ih"].T, h @ state["weight_hh"].T + state["bias_hh"]
    r, z = (1 / (1 + np.exp(-(wx + state["bias_ih"] + wh)[:, k : k + 1])) for k in range(2))
    n, s, b = wx[:, 2:], r * wh[:, 2:], state["bias_ih"][2:]
    for candidate in ((n + b) + s, (n + s) + b):
        got = (1 - z) * np.tanh(candidate) + z * h
        assert (np.abs(got - oracle.value) <= oracle.error).all()
    without_bias = (1 - z) * np.tanh(n + s) + z * h
    is_outside = np.abs(without_bias - oracle.value) > oracle.error
    is_cancelled = np.abs(n + b) < 1
    assert is_cancelled.sum() > 5
    assert is_outside[is_cancelled].all()


def test_rows_of_one_product_are_exact_each_by_itself() -> None:
    precision = Precision.of("float32")
    x = exact_operand(np.array([[3.0, 5.0], [0.1, 0.7]], np.float32).astype(np.float64), precision)
    weight = exact_operand(
        np.array([[2.0, 1.0], [0.3, 0.2]], np.float32).astype(np.float64), precision
    )
    assert (affine(x, weight, None).error == 0).tolist() == [[True, False], [False, False]]
    thirds = exact_operand(np.float32([1 / 3, 1 / 7]).astype(np.float64), precision)
    assert (affine(x, weight, thirds).error > 0).all()
