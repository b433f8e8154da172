"""Elementary functions in arithmetic that carries its own error bound.

An operand's error becomes the function's largest change over that interval. The function's own
error is `Numerics.ulp`: k units in the last place are 2k·u of the result. Special values follow C's
Annex F and are exact where the function has standard accuracy: e⁰ = 1, log 1 = 0, √0 = 0, x⁰ = 1.
The square root of a perfect square is not exact: an error of one unit in the last place, which
MKL's may have, changes it.

An exact operand outside the domain certainly gives NaN, at a pole an infinity. An operand whose
error only may put it there gives an error of ∞.
"""

from __future__ import annotations

import math

import numpy as np

from conformance.arithmetic.exactness import any_true
from conformance.arithmetic.half_precision import saved_for_backward
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, unbroadcast, with_pullback
from conformance.arithmetic.saturation import ERF_ONE, SIGMOID_ZERO
from conformance.model.formats import round_to


def constant(value: float, like: Rounded) -> Rounded:
    """A constant, rounded once to the working format.

    Args:
        value: the constant; exact where the format can represent it.
        like: any number of the working precision.
    """
    return constants(np.array(float(value)), like)


def constants(values: np.ndarray, like: Rounded) -> Rounded:
    """Constants, each rounded once to the working format, u·|c|.

    Args:
        values: float64 array of any shape.
        like: any number of the working precision.
    """
    precision, size = like.precision, np.abs(values)
    is_exact = (round_to(values, precision.dtype) == values) | ~np.isfinite(values)
    error = np.where(is_exact, 0.0, (precision.unit + ORACLE_UNIT) * size + precision.underflow)
    return Rounded(values, error, precision)


def irrational(value: float, like: Rounded) -> Rounded:
    """A constant that no format can represent, rounded to the working format at least once.

    Args:
        value: its nearest float64.
        like: any number of the working precision.
    """
    rounded = constant(value, like)
    return rounded.with_error(np.maximum(rounded.error, ORACLE_UNIT * abs(value)))


def exp(x: Rounded) -> Rounded:
    """eˣ; an error p of the operand is a factor e^p.

    Vector code scales by 2^k and returns 0 where 2^k would not be a normal number: for results up
    to √2 times the smallest one. e^−746 is 0 in every format.
    """
    operand, x = x, _possibly_flushed(x)
    with np.errstate(all="ignore"):
        value = np.exp(x.value)
        inherited = value * np.expm1(x.error)
        underflows = (value == 0) & (x.error > 0)  # too small for the oracle's own format
        inherited = np.where(underflows, np.exp(x.value + x.error), inherited)
        exact = (x.value == 0) | (x.value <= SIGMOID_ZERO)
    result = _build_result(
        "exp", x, value, inherited, exact, extra_absolute=math.sqrt(2.0) * x.precision.normal
    )
    # An inexact operand that is certainly small enough.
    if x.any_inexact and x.precision.has_standard_accuracy("exp"):
        vanishes = x.value + x.error <= SIGMOID_ZERO
        result = result.with_error(np.where(vanishes, 0.0, result.error))
    return with_pullback(
        result, [operand], lambda cotangent: [cotangent * saved_for_backward(result)]
    )


def expm1(x: Rounded) -> Rounded:
    """eˣ − 1; its derivative is computed as eˣ, or as the result + 1."""
    operand, x = x, _possibly_flushed(x)
    with np.errstate(all="ignore"):
        value = np.expm1(x.value)
        inherited = np.exp(x.value) * np.expm1(x.error)
        inherited = np.where((value == -1) & (x.error > 0), np.exp(x.value + x.error), inherited)
    result = _build_result("expm1", x, value, inherited, x.value == 0)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        slope, by_result = exp(x.detached), saved_for_backward(result) + constant(1.0, x)
        return [cotangent * slope.with_error(np.maximum(slope.error, by_result.error))]

    return with_pullback(result, [operand], pull)


def log(x: Rounded) -> Rounded:
    """log x; an error p of the operand is at most −log(1 − p/x), ∞ or NaN from p = x on."""
    operand, x = x, _possibly_flushed(x)
    with np.errstate(all="ignore"):
        value, inherited = np.log(x.value), -np.log1p(-x.error / x.value)
    result = _build_result("log", x, value, inherited, x.value == 1, pole=x.value == 0)
    return with_pullback(result, [operand], lambda cotangent: [cotangent / x.detached])


def log1p(x: Rounded) -> Rounded:
    """log(1 + x), with the bound of log at 1 + x."""
    operand, x = x, _possibly_flushed(x)
    with np.errstate(all="ignore"):
        value, one_plus_x = np.log1p(x.value), 1.0 + x.value
        inherited = -np.log1p(-x.error / one_plus_x)
    result = _build_result("log1p", x, value, inherited, x.value == 0, pole=x.value == -1)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [cotangent / (x.detached + constant(1.0, x))]

    return with_pullback(result, [operand], pull)


def sqrt(x: Rounded, *, nonnegative: bool = False) -> Rounded:
    """√x; an error p of the operand is at most p/(√x + √(x − p)).

    Args:
        nonnegative: the operand cannot be negative, whatever its error (a sum of squares). Where
            its error is larger than itself, the root is between 0 and √(x + p).
    """
    operand, x = x, _possibly_flushed(x)
    with np.errstate(all="ignore"):
        value = np.sqrt(x.value)
        inherited = x.error / (value + np.sqrt(np.maximum(x.value - x.error, 0.0)))
        may_be_negative = x.error > x.value
        if nonnegative:
            # The second term can be the larger one for small p only where x is 0.
            wider = np.maximum(value, np.sqrt(np.maximum(x.value, 0.0) + x.error) - value)
            inherited = np.where(may_be_negative, wider, inherited)
        else:
            inherited = np.where(may_be_negative, np.inf, inherited)
        inherited = np.where(x.error == 0, 0.0, inherited)
    result = _build_result("sqrt", x, value, inherited, x.value == 0)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [cotangent / _double(saved_for_backward(result))]

    return with_pullback(result, [operand], pull)


def reciprocal_sqrt(x: Rounded) -> Rounded:
    """1/√x; an error p of the operand is at most 1/√(x − p) − 1/√x."""
    operand, x = x, _possibly_flushed(x)
    with np.errstate(all="ignore"):
        root, nearest = np.sqrt(x.value), np.sqrt(np.maximum(x.value - x.error, 0.0))
        value = 1.0 / root
        inherited = value * (x.error / nearest / (root + nearest))  # no product underflows
        inherited = np.where(x.error < x.value, inherited, np.inf)
    # The oracle's own roundings: √ and quotient, at most u/(1 + u) each, 2u together.
    result = _build_result("rsqrt", x, value, inherited, np.zeros(x.shape, bool), pole=x.value == 0)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # −c·r³/2; −c·r/(2x) rounds no more.
        cube = saved_for_backward(result) * saved_for_backward(result) * saved_for_backward(result)
        return [cotangent * _scale(cube, -0.5)]

    return with_pullback(result, [operand], pull)


def erf(x: Rounded) -> Rounded:
    """erf x; its derivative 2/√π·e^−x² is largest nearest to 0, and ±1 is reached at 6.

    Beyond 6, 1 − erf x may be 0 or erfc x: both are right, unless no format can represent erfc x.
    """
    operand, x = x, _possibly_flushed(x)
    precision, flat = x.precision, x.value.reshape(-1).tolist()
    value = np.fromiter(map(math.erf, flat), float, len(flat)).reshape(x.shape)
    with np.errstate(all="ignore"):
        nearest = np.maximum(x.abs_value - x.error, 0.0)
        slope = 2.0 / math.sqrt(math.pi) * np.exp(-(nearest**2))
        inherited = np.where(x.error == 0, 0.0, np.minimum(slope * x.error, 2.0))
        saturated = nearest >= ERF_ONE
    result = _build_result("erf", x, value, inherited, x.value == 0)
    if any_true(saturated) and precision.has_standard_accuracy("erf"):
        complement = np.fromiter(map(math.erfc, nearest[saturated].tolist()), float)
        # erfc x is multiplied by x, which is below 64 there.
        result.error[saturated] = np.where(
            64 * complement < precision.underflow / 2, 0.0, complement
        )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        slope = constant(2.0 / math.sqrt(math.pi), x) * exp(-square(x.detached))
        return [cotangent * slope]

    return with_pullback(result, [operand], pull)


def power(x: Rounded, exponent: float, *, nonnegative: bool = False) -> Rounded:
    """x to a fixed power; an error p of the operand is a factor (1 ± p/x)^exponent.

    An exponent that the format cannot represent may be rounded: a factor x^(u·exponent).

    Args:
        exponent: the power; only with an integer may the operand be negative.
        nonnegative: the operand cannot be negative, whatever its error.
    """
    operand, x = x, _possibly_flushed(x)
    precision, is_integer = x.precision, float(exponent).is_integer()
    if exponent == 0 or exponent == 1:
        trivial = (
            Rounded(np.ones(x.shape), np.zeros(x.shape), precision) if exponent == 0 else x.detached
        )
        return with_pullback(
            trivial, [operand], lambda cotangent: [cotangent if exponent else None]
        )
    with np.errstate(all="ignore"):
        value = np.asarray(np.power(x.value, exponent))
        size, relative_error = np.abs(value), x.error / x.abs_value
        low_change, high_change = (
            np.expm1(exponent * np.log1p(end)) for end in (-relative_error, relative_error)
        )
        inherited = size * np.maximum(np.abs(low_change), np.abs(high_change))
        # The operand may be 0 or change its sign.
        wider = np.full(x.shape, np.inf)
        if exponent > 0 and (is_integer or nonnegative):
            wider = size + np.power(x.abs_value + x.error, exponent)
        inherited = np.where(x.error < x.abs_value, inherited, wider)
        inherited = np.where(x.error == 0, 0.0, inherited)
        unit = 0.0
        for dtype, coarse in (("float32", ORACLE_UNIT), (precision.dtype, precision.unit)):
            # An exponent that float32 cannot represent may be rounded to float64 already: 0.1 − 1.
            if float(round_to(np.array(exponent), dtype)) != exponent:
                unit = max(unit, coarse)
        if unit:
            shift = np.abs(np.expm1(unit * abs(exponent * np.log(x.abs_value))))
            inherited = inherited + np.where(size == 0, 0.0, size * shift)
    exact = (x.value == 1) if exponent < 0 else (x.value == 1) | (x.value == 0)
    result = _build_result("pow", x, value, inherited, exact)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        derivative = power(x.detached, exponent - 1.0, nonnegative=nonnegative)
        return [cotangent * (constant(exponent, x) * derivative)]

    return with_pullback(result, [operand], pull)


def ratio(a: Rounded, b: Rounded) -> Rounded:
    """a/b with a bound for both forms of the derivative by b, −(c·q)/b and −c·(q/b).

    q/b may overflow or underflow before it is multiplied by c.

    Args:
        b: the divisor, of a shape that broadcasts to that of a.
    """
    quotient = a.detached / b.detached

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.detached
        divided_last, divided_first = (c * quotient) / b.detached, c * (quotient / b.detached)
        by_divisor = -divided_last.with_error(np.maximum(divided_last.error, divided_first.error))
        return [c / b.detached, unbroadcast(by_divisor, b.shape)]

    return with_pullback(quotient, [a, b], pull)


def square(x: Rounded) -> Rounded:
    """x², whose derivative 2x is exact."""
    return with_pullback(
        x.detached * x.detached, [x], lambda cotangent: [cotangent * _double(x.detached)]
    )


def absolute(x: Rounded) -> Rounded:
    """|x|, exact; at 0, and where the sign is uncertain, any slope from −1 to 1 is right."""

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        sign = np.sign(x.value)
        certain = x.abs_value > x.error
        error = np.where(certain, cotangent.error, cotangent.abs_bound)
        return [Rounded(np.where(certain, sign, 0.0) * cotangent.value, error, cotangent.precision)]

    return with_pullback(Rounded(np.abs(x.value), x.error, x.precision), [x], pull)


def _double(x: Rounded) -> Rounded:
    return _scale(x, 2.0)


def _scale(x: Rounded, power_of_two: float) -> Rounded:
    """x times a power of two, exact unless the result leaves the range."""
    precision, value = x.precision, power_of_two * x.value
    error, size = abs(power_of_two) * x.error, np.abs(value)
    may_underflow = (size < precision.normal) & (size > 0) if abs(power_of_two) < 1 else False
    error = error + np.where(may_underflow, precision.underflow, 0.0)
    return Rounded(value, np.where(size + error <= precision.largest, error, np.inf), precision)


def _possibly_flushed(x: Rounded) -> Rounded:
    """The operand, in doubt where the backend may read a subnormal number as zero."""
    return x.flushed if x.precision.flushes else x


def _build_result(
    name: str,
    x: Rounded,
    value: np.ndarray,
    inherited: np.ndarray,
    exact: np.ndarray,
    *,
    pole: np.ndarray | None = None,
    extra_absolute: float = 0.0,
) -> Rounded:
    """A function's result with three errors: inherited from the operand, its own, and underflow.

    Args:
        name: the function's name in `Numerics.ulp`.
        x: the operand.
        value: the result in float64.
        inherited: largest change of the result within the operand's error.
        exact: where an exact operand has an exact result, if the accuracy is standard.
        pole: where an exact operand gives an infinity.
        extra_absolute: absolute error in addition to underflow.
    """
    precision = x.precision
    with np.errstate(all="ignore"):
        # NumPy's functions are within one unit in the last place, two units roundoff.
        relative = 2.0 * precision.ulp(name) * precision.unit + 2.0 * ORACLE_UNIT
        size = np.abs(value)
        absolute_error = precision.underflow + precision.absolute_error(name) + extra_absolute
        error = inherited + (relative * (size + inherited) + absolute_error)
        # An error of NaN becomes ∞: nothing is known there.
        error = np.where(size + error <= precision.largest, error, np.inf)
    if not x.all_inexact:
        certain = ~np.isfinite(x.value) | np.isnan(value)
        if pole is not None:
            certain = certain | pole
        if precision.has_standard_accuracy(name):
            certain = certain | exact
        np.copyto(error, 0.0, where=certain & (x.error == 0))
    return Rounded(value, error, precision)
