"""Elementary functions, quotients and wide composites: bounds cover truth and usual formulas."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("mpmath")

import mpmath
from arithmetic_peaks import (
    DTYPES,
    FUNCTIONS,
    compute_true,
    elementary_ratios,
    largest_ratio,
    operands,
)

from conformance.arithmetic import elementary
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.half_precision import stored, widened, working_precision
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.case import ULP, Numerics
from conformance.model.formats import FORMATS, round_to
from conformance.oracles.activation import smooth as smooth_layers


def _exact(
    values: list[float], dtype: str = "float32", numerics: Numerics | None = None
) -> Rounded:
    return exact_operand(np.array(values), Precision.of(dtype, numerics))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_truth_numpy_and_operands_in_doubt_are_within_bounds(name: str, dtype: str) -> None:
    ratios = elementary_ratios(name, dtype)
    assert max(ratios.values()) <= 1, ratios


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_twice_the_budget_is_beyond_it(name: str, dtype: str) -> None:
    function, form = FUNCTIONS[name], FORMATS[dtype]
    x = operands(function, dtype, 400, 3)
    y = function.oracle(_exact(x.tolist(), dtype))
    true_values = compute_true(function, x)
    # Only numbers far from underflow and overflow.
    is_usual = (np.abs(true_values) > 2.0**20 * form.normal) & (
        np.abs(true_values) < form.largest / 4
    )
    if dtype == "float16":
        is_usual = (np.abs(true_values) > 0.25) & (np.abs(true_values) < form.largest / 4)
    # 2 units in the last place, and the error of an exponent of 0.1 that is rounded.
    budget = {"power 0.1": 64.0}.get(name, 2.0)
    wrong = true_values * (1 + 2 * 2 * budget * form.unit + 8 * 2.0**-53)
    assert (np.abs(wrong - y.value) > y.error)[is_usual].all()
    assert is_usual.sum() > 50


SLOPES: dict[str, Callable[[mpmath.mpf], mpmath.mpf]] = {
    "exp": mpmath.exp,
    "expm1": mpmath.exp,
    "log": lambda x: 1 / x,
    "log1p": lambda x: 1 / (1 + x),
    "sqrt": lambda x: 1 / (2 * mpmath.sqrt(x)),
    "rsqrt": lambda x: -1 / (2 * x * mpmath.sqrt(x)),
    "erf": lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x),
    "square": lambda x: 2 * x,
    "absolute": mpmath.sign,
    "power 3": lambda x: 3 * x * x,
    "power 2.5": lambda x: mpmath.mpf(2.5) * mpmath.power(x, 1.5),
    "power 0.1": lambda x: mpmath.mpf(0.1) * mpmath.power(x, mpmath.mpf(0.1) - 1),
    "power -0.75": lambda x: mpmath.mpf(-0.75) * mpmath.power(x, mpmath.mpf(-1.75)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_true_slope_is_within_its_bound_and_a_wrong_one_is_not(name: str, dtype: str) -> None:
    function, precision = FUNCTIONS[name], Precision.of(dtype)
    x = leaf(operands(function, dtype, 300, 4), precision)
    c = exact_operand(round_to(np.random.default_rng(0).standard_normal(300), dtype), precision)
    with np.errstate(all="ignore"):
        (gradient,) = pull_back([function.oracle(x)], [c], [x])
        slopes = []
        with mpmath.workdps(60):
            for value, weight in zip(x.value.tolist(), c.value.tolist(), strict=True):
                try:
                    slopes.append(float(SLOPES[name](mpmath.mpf(value)) * mpmath.mpf(weight)))
                except ZeroDivisionError:
                    slopes.append(np.nan)
        wanted = np.where(np.isnan(slopes), gradient.value, slopes)
        assert largest_ratio(wanted, gradient) <= 1
        wrong = wanted * (1 + 64 * precision.unit)
    is_outside = np.abs(wrong - gradient.value) > gradient.error
    assert np.count_nonzero(is_outside) > 50


def test_special_values_are_those_of_annex_f_and_exact() -> None:
    inf, nan = np.inf, np.nan
    for ours, at, wanted in (
        (elementary.exp, [0.0, inf, -inf, -800.0], [1.0, inf, 0.0, 0.0]),
        (elementary.expm1, [0.0, inf, -inf], [0.0, inf, -1.0]),
        (elementary.log, [1.0, 0.0, inf, -1.0], [0.0, -inf, inf, nan]),
        (elementary.log1p, [0.0, -1.0, inf, -2.0], [0.0, -inf, inf, nan]),
        (elementary.sqrt, [0.0, inf, -1.0, nan], [0.0, inf, nan, nan]),
        (elementary.reciprocal_sqrt, [0.0, inf, -1.0], [inf, 0.0, nan]),
        (elementary.erf, [0.0, inf, -inf, 12.0], [0.0, 1.0, -1.0, 1.0]),
    ):
        y = ours(_exact(at))
        np.testing.assert_array_equal(y.value, wanted)
        assert (y.error == 0).all(), ours
    assert (elementary.power(_exact([1.0, 0.0]), 0.3).error == 0).all()
    # e² and the root of a perfect square are within a budget, not exact.
    assert (elementary.exp(_exact([1.0])).error > 0).all()
    assert (elementary.sqrt(_exact([9.0])).error > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_tail_of_a_gelu_is_nothing_or_what_it_is_in_truth(dtype: str) -> None:
    precision = Precision.of(dtype)
    points = np.array([-8.75, -10.0, -12.0, 10.0, 48.0, -48.0, np.inf])
    x = widened(exact_operand(points, precision))
    half = constant(0.5, x)
    tail = elementary.erf(x * constant(2.0**-0.5, x)) + constant(1.0, x)
    y = stored(half * Rounded(points, np.zeros(7), x.precision) * tail, precision)
    with mpmath.workdps(60):
        truth = [float(v * mpmath.ncdf(mpmath.mpf(v))) for v in points[:6].tolist()]
    for got in (truth, [0.0, 0.0, 0.0, *truth[3:5], 0.0]):
        assert largest_ratio(round_to(np.array([*got, np.inf]), dtype), y) <= 1
    assert y.error[4] == y.error[5] == 0
    wrong = -1.0 if dtype == "float16" else 1e-15  # float16 has no number as small
    assert largest_ratio(np.array([wrong, *truth[1:], np.inf]), y) > 1


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("form", ["none", "tanh"])
def test_a_gelu_that_is_a_rounded_subnormal_number_is_within_its_bound(
    dtype: str, form: str
) -> None:
    precision = Precision.of(dtype)
    ends = {"float32": (10.0, 15.0), "float16": (2.0, 6.0), "float64": (20.0, 39.0)}[dtype]
    points = round_to(-np.linspace(*ends, 301), dtype)
    y = smooth_layers.gelu({}, exact_operand(points, precision), approximate=form)
    assert isinstance(y, Rounded)
    with mpmath.workdps(60):
        truth = [_true_gelu(mpmath.mpf(x), form) for x in points.tolist()]
        # In units of the smallest number, since float64 has no number below that one.
        smallest = mpmath.mpf(precision.underflow)
        rounded = [float(mpmath.nint(v / smallest) * smallest) for v in truth]
    is_small = np.abs(rounded) < precision.normal
    assert is_small.sum() > 20
    assert (np.abs(np.array(rounded) - y.value) <= y.error)[is_small].all()


def _true_gelu(x: mpmath.mpf, form: str) -> mpmath.mpf:
    if form == "none":
        return x * mpmath.ncdf(x)
    slope = mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)
    return x / (1 + mpmath.exp(-2 * slope))


def test_where_an_operand_may_be_outside_the_domain_nothing_is_known() -> None:
    x = Rounded(np.array([1e-3, 0.0]), np.array([1e-2, 1e-30]), Precision.of("float32"))
    for ours in (elementary.log, elementary.sqrt, elementary.reciprocal_sqrt):
        assert np.isinf(ours(x).error).all()
    root = elementary.sqrt(x, nonnegative=True)
    for p in (0.0, 0.5, 1.0):
        assert (np.abs(np.sqrt(x.value + p * x.error) - root.value) <= root.error).all()
    assert (np.abs(0.0 - root.value) <= root.error).all()
    assert (root.error < [0.08, 1.01e-15]).all()
    assert np.isinf(elementary.exp(_exact([89.0])).error).all()  # beyond float32's largest
    negative = Rounded(np.array([-1.0, -1e-9]), np.array([0.5, 1e-3]), Precision.of("float32"))
    assert np.isinf(elementary.log(negative).error).all()
    assert np.isinf(elementary.log1p(Rounded(np.array([-0.9]), np.array([0.2]), x.precision)).error)


def test_vector_code_may_give_zero_below_the_root_of_two_of_the_smallest_normal_number() -> None:
    y = elementary.exp(_exact([-86.9, -87.2, -90.0]))
    assert (y.error >= y.value).tolist() == [False, True, True]
    assert y.value[1] > FORMATS["float32"].normal


def test_declared_accuracy_is_allowed_and_nothing_exact_is_asked_of_it() -> None:
    declared = Numerics(ulp={"exp": 8.0}, absolute={"erf": 1e-6})
    default, loose = (elementary.exp(_exact([0.0, 1.0], numerics=n)) for n in (None, declared))
    assert default.error[0] == 0 < loose.error[0]
    assert loose.error[1] == pytest.approx(4 * default.error[1], rel=1e-6)
    default, loose = (elementary.erf(_exact([0.5, 12.0], numerics=n)) for n in (None, declared))
    assert loose.error[0] - default.error[0] == pytest.approx(1e-6, rel=1e-3)
    assert default.error[1] == 0 < loose.error[1]
    with pytest.raises(ValueError, match="'tahn': expected one of divide, sqrt"):
        Numerics(ulp={"tahn": 1.0})
    assert all(Precision.of("float32").ulp(name) == ULP[name] for name in ULP)
    assert len({Precision.of("float32"), Precision.of("float32", declared)}) == 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_quotients_are_within_bounds_and_exact_by_powers_of_two(dtype: str) -> None:
    generator, precision = np.random.default_rng(7), Precision.of(dtype)
    a, b = round_to(
        generator.standard_normal((2, 500)) * np.exp2(generator.integers(-9, 9, (2, 500))), dtype
    )
    b[::5] = np.exp2(generator.integers(-4, 4, 100))
    ea, eb = (np.abs(v) * np.exp2(generator.integers(-30, -1, 500)) for v in (a, b))
    ea[::2] = eb[::3] = 0
    q = Rounded(a, ea, precision) / Rounded(b, eb, precision)
    for s, t in ((-1, -1), (-1, 1), (1, -1), (1, 1), (0, 0)):
        exact = [
            (Fraction(w) + s * Fraction(x)) / (Fraction(y) + t * Fraction(z))
            for w, x, y, z in zip(a.tolist(), ea.tolist(), b.tolist(), eb.tolist(), strict=True)
        ]
        assert largest_ratio(round_to(np.array([float(x) for x in exact]), dtype), q) <= 1
    quotient = exact_operand(a, precision) / exact_operand(b, precision)
    assert (quotient.error[::5] == 0).all()
    other_errors = np.delete(quotient.error, slice(None, None, 5))
    assert np.count_nonzero(other_errors) > 350
    by_reciprocal = np.array([7.0]), np.array([2.0**-20])
    assert (Rounded(*by_reciprocal, precision) / constant(2.0, q)).error[0] > 0


def test_quotients_by_nothing() -> None:
    inf, nan = np.inf, np.nan
    q = _exact([0.0, 1.0, inf, 3.0, nan, 0.0]) / _exact([0.0, 0.0, 2.0, inf, 1.0, 3.0])
    np.testing.assert_array_equal(q.value, [nan, inf, inf, 0.0, nan, 0.0])
    np.testing.assert_array_equal(q.error, [0.0, inf, 0.0, 0.0, 0.0, 0.0])
    one, doubtful = (
        _exact([1.0]),
        Rounded(np.array([0.5]), np.array([0.5]), Precision.of("float32")),
    )
    assert np.isinf((one / doubtful).error).all()
    assert np.isinf((one / doubtful.with_error(np.array([0.7]))).error).all()
    # A quotient below the smallest number is lost, even if the divisor is a power of two.
    tiny = _exact([3 * 2.0**-149]) / _exact([2.0])
    assert tiny.error[0] >= 2.0**-150
    with pytest.raises(TypeError, match="complex"):
        exact_operand(np.ones(1, complex), Precision.of("complex64")) / one


def test_gradients_of_quotients_and_broadcast_operands() -> None:
    precision, generator = Precision.of("float64"), np.random.default_rng(8)
    a, b = (
        leaf(generator.standard_normal((3, 4)), precision),
        leaf(np.array([2.5, -3, 7, 1]), precision),
    )
    c = exact_operand(generator.standard_normal((3, 4)), precision)
    a_gradient, b_gradient = pull_back([a / b], [c], [a, b])
    assert largest_ratio(c.value / b.value, a_gradient) <= 1
    assert largest_ratio((-c.value * a.value / b.value**2).sum(0), b_gradient) <= 1
    a_gradient, b_gradient = pull_back([a * b - b], [c], [a, b])
    assert largest_ratio(c.value * b.value, a_gradient) <= 1
    assert largest_ratio((c.value * (a.value - 1)).sum(0), b_gradient) <= 1
    assert b_gradient.shape == (4,)
    assert (b_gradient.error < 1e-13).all()


def test_the_slope_of_expm1_may_be_one_more_than_its_result() -> None:
    precision = Precision.of("float32")
    x = leaf(np.linspace(-15, 3, 200).astype(np.float32).astype(float), precision)
    ones = exact_operand(np.ones(200), precision)
    (gradient,) = pull_back([elementary.expm1(x)], [ones], [x])
    single = x.value.astype(np.float32)
    assert largest_ratio(np.expm1(single) + np.float32(1), gradient) <= 1
    assert largest_ratio(np.exp(single), gradient) <= 1
    assert largest_ratio(np.expm1(single), gradient) > 1e5


def test_any_slope_of_an_absolute_value_is_right_at_its_kink_and_one_elsewhere() -> None:
    precision = Precision.of("float32")
    x = leaf(np.array([0.0, 0.5, -2.0]), precision)
    doubtful = x.with_error(np.array([0.0, 1.0, 1.0]))
    c = exact_operand(np.full(3, 4.0), precision)
    (gradient,) = pull_back([elementary.absolute(doubtful)], [c], [x])
    for slope in (-1.0, 0.0, 1.0):
        assert largest_ratio(np.array([4 * slope, -4 * slope, -4.0]), gradient) <= 1
    assert largest_ratio(np.array([0.0, 0.0, 4.0]), gradient) == np.inf
    assert largest_ratio(np.array([4.1, 0.0, -4.0]), gradient) > 1


def test_a_constant_is_rounded_once() -> None:
    for dtype in DTYPES:
        like = _exact([1.0], dtype)
        for value in (0.044715, 0.5, 1e-12, 3.0):
            c = constant(value, like)
            stored_constant = float(round_to(np.array(value), dtype))
            assert abs(stored_constant - value) <= c.error
            assert (c.error == 0) == (stored_constant == value)


def _softsign(x: Rounded) -> Rounded:
    """x/(1 + |x|) in the precision of `x`."""
    return x / (elementary.absolute(x) + constant(1.0, x))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_wide_bound_holds_for_float32_and_not_for_steps(dtype: str) -> None:
    precision = Precision.of(dtype)
    x = round_to(np.random.default_rng(9).standard_normal(4000), dtype)
    bound = stored(_softsign(widened(exact_operand(x, precision))), precision)
    single = x.astype(np.float32)
    computed = single / (np.float32(1) + np.abs(single))
    assert largest_ratio(round_to(computed.astype(np.float64), dtype), bound) <= 1
    stepwise = round_to(x / round_to(1 + np.abs(x), dtype), dtype)
    assert largest_ratio(stepwise, bound) > 1.3
    declared = Precision.of(dtype, Numerics(stepwise=True))
    stepwise_bound = stored(_softsign(widened(exact_operand(x, declared))), declared)
    assert largest_ratio(stepwise, stepwise_bound) <= 1
    assert working_precision(declared) == declared
    assert working_precision(precision).dtype == "float32"
    # Beyond the range of the dtype nothing is known, even if float32 holds the number.
    extremes = round_to(np.array([FORMATS[dtype].largest, 1.0]), dtype)
    squares = stored(elementary.square(widened(exact_operand(extremes, precision))), precision)
    assert squares.error.tolist() == [np.inf, 0.0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_wide_gradient_is_stored_once_and_may_use_the_stored_result(dtype: str) -> None:
    generator, precision = np.random.default_rng(10), Precision.of(dtype)
    x = leaf(round_to(generator.uniform(-3, 3, 2000), dtype), precision)
    c = exact_operand(round_to(generator.standard_normal(2000), dtype), precision)
    y = stored(elementary.exp(widened(x)), precision)
    (gradient,) = pull_back([y], [c], [x])
    assert gradient.precision == precision
    true_result = np.exp(x.value)
    for result in (true_result, round_to(true_result, dtype)):
        assert largest_ratio(round_to(c.value * result, dtype), gradient) <= 1
    assert largest_ratio(c.value * (true_result + 1), gradient) > 10
    # Two uses of one widened operand are added before they are stored.
    inner = widened(x)
    (gradient,) = pull_back([stored(inner * inner, precision)], [c], [x])
    assert largest_ratio(round_to(2 * c.value * x.value, dtype), gradient) <= 1
    product = round_to(c.value * x.value, dtype)
    assert gradient.error.max() < 1.1 * precision.unit * np.abs(2 * product).max()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "sqrt", "rsqrt"])
def test_every_number_of_16_bits(name: str, dtype: str) -> None:
    words = np.arange(2**16, dtype=np.uint32)
    if dtype == "bfloat16":
        all_numbers = (words << 16).view(np.float32)
    else:
        all_numbers = words.astype(np.uint16).view(np.float16).astype(np.float32)
    x, precision = all_numbers.astype(np.float64), Precision.of(dtype)
    function = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        y = stored(function.oracle(widened(exact_operand(x, precision))), precision)
        nearest = round_to(function.implementation(x), dtype)
        single = round_to(np.asarray(function.implementation(all_numbers), np.float64), dtype)
        assert largest_ratio(nearest, y) <= 1
        assert largest_ratio(single, y) <= 1
        # The second next number is outside the bound, except near underflow.
        further = round_to(nearest * (1 + 5 * FORMATS[dtype].unit), dtype)
        minimum = 2.0**10 * FORMATS["float32"].normal if dtype == "bfloat16" else 2.0**-12
        is_usual = y.decided & (np.abs(nearest) > minimum) & np.isfinite(nearest)
        assert (np.abs(further - y.value) > y.error)[is_usual].all()
    assert is_usual.sum() > 8000
    assert y.decided.sum() > 0.7 * x.size


def test_a_wide_operand_of_a_wider_dtype_is_itself() -> None:
    x = _exact([0.1], "float64")
    assert widened(x) is x
    assert stored(x, x.precision) is x


def test_subnormal_operands_may_be_read_as_zero_where_declared() -> None:
    tiny = FORMATS["float32"].normal / 2
    flush = Numerics(flush_to_zero=True)
    default = elementary.sqrt(_exact([tiny]), nonnegative=True)
    flushed = elementary.sqrt(_exact([tiny], numerics=flush), nonnegative=True)
    assert default.error[0] < 1e-6 * default.value[0] < default.value[0] <= flushed.error[0]
    assert np.isinf(elementary.log(_exact([tiny], numerics=flush)).error[0])
    product = _exact([tiny], numerics=flush) * _exact([1e30], numerics=flush)
    assert product.error[0] >= product.value[0]
    assert (_exact([tiny], numerics=flush) + _exact([1e-33], numerics=flush)).error[0] >= tiny
