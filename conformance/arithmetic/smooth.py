"""Softplus, the exponential linear units, Mish and GELU, in arithmetic that carries its own bound.

Where a function equals its limit in every format, the oracle uses the limit instead of the formula
(`piecewise`), well before the formula would overflow.
"""

from __future__ import annotations

import math

import numpy as np

from conformance.arithmetic.activations import sigmoid, tanh
from conformance.arithmetic.elementary import (
    constant,
    constants,
    erf,
    exp,
    expm1,
    irrational,
    square,
)
from conformance.arithmetic.half_precision import saved_for_backward
from conformance.arithmetic.piecewise import constant_piece, identity, piecewise
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, with_pullback
from conformance.arithmetic.saturation import ERF_ONE, SIGMOID_ZERO
from conformance.model.formats import FORMATS

# eˣ is 0 in every format below −746, and so is x·eˣ below −800.
_VANISHED = 800.0
# erf and e^(−x²/2) have reached their limits; so has the other form's e^(−2z), at z = 450.
_GAUSS_ENDS = 40.0
_CUBIC_ENDS = 24.0
# Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.26: the polynomial by which
# kernels in float32 compute erf. It errs by 1.5e-7, which is 2.5 u; its exponential by 2 ULP (4 u);
# 1 − … rounds once; five steps of Horner's scheme work on numbers around 1. Together: 12 u.
_POLYNOMIAL = 12 * FORMATS["float32"].unit


def softplus(x: Rounded) -> Rounded:
    """log(1 + eˣ), with all digits on either side; its derivative is σ(x).

    An error k·eˣ of eˣ becomes k·σ(x) in the logarithm. For x > 0 the oracle
    computes x + log(1 + e⁻ˣ).
    """
    precision = x.precision
    with np.errstate(all="ignore"):
        value = np.maximum(x.value, 0.0) + np.log1p(np.exp(-x.abs_value))
        slope = np.where(x.value < 0, np.exp(x.value), 1.0) / (1.0 + np.exp(-x.abs_value))
        inherited = np.where(x.error == 0, 0.0, _sigmoid(x.value + x.error) * x.error)
        exp_error = 2.0 * precision.ulp("exp") * precision.unit
        log_error = (2.0 * precision.ulp("log1p") + 1.0) * precision.unit
        absolute = precision.absolute_error("exp") + precision.absolute_error("log1p")
        error = inherited + exp_error * slope + (log_error + 6 * ORACLE_UNIT) * (value + inherited)
        # The exponential may be 0 where it is close to the smallest normal number.
        error += math.sqrt(2.0) * precision.normal + precision.underflow + absolute
        error = np.where(value + error <= precision.largest, error, np.inf)
        if precision.has_standard_accuracy("exp") and precision.has_standard_accuracy("log1p"):
            error = np.where(x.value + x.error <= SIGMOID_ZERO, 0.0, error)
        error = np.where((x.error == 0) & ~np.isfinite(x.value), 0.0, error)
    result = Rounded(value, error, precision)
    return with_pullback(result, [x], lambda cotangent: [cotangent * _logistic(x)])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    decay = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, decay, 1.0) / (1.0 + decay))


def _logistic(x: Rounded) -> Rounded:
    """σ(x) from the exponential e that the forward pass may have stored: e/(1 + e), or 1 minus it.

    An error k·e of e becomes k·σ(1 − σ).
    """
    result = sigmoid(x.detached)
    if not x.precision.store:
        return result
    unit = FORMATS[x.precision.store].unit
    underflow = FORMATS[x.precision.store].tiny
    storing_error = unit * result.value * _sigmoid(-x.value) * (1 + unit) + underflow
    vanishes = (result.error == 0) & (result.value == 0)
    return result.with_error(np.where(vanishes, 0.0, result.error + storing_error))


def exponential_unit(
    x: Rounded, alpha: float, *, scale: float = 1.0, divided: bool = False
) -> Rounded:
    """scale·α·(eᶻ − 1), z = x or x/α.

    Its derivative is computed from the operand, scale·α·eᶻ, or from the result y, y + scale·α, with
    y's error. Where z = x/α it is divided by α.

    Args:
        scale: factor of the result; if it is not 1, no format can represent `scale` and `alpha`.
        divided: z = x/α.
    """
    factor = constant(alpha, x)
    if scale != 1:
        factor = irrational(scale, x) * irrational(alpha, x)
    z, inverse = x.detached, constant(1.0, x)
    if divided:
        # A product with 1/α rounds once more than the quotient.
        inverse = inverse / constant(alpha, x)
        z = z * inverse
    result = factor * expm1(z)
    if scale != 1:
        # scale·(α·(eᶻ − 1)) rounds once more than (scale·α)·(eᶻ − 1).
        result = result.with_error(result.error + x.precision.unit * result.abs_value)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        by_operand = factor * exp(z)
        by_result = saved_for_backward(result) + factor
        if divided:
            by_operand, by_result = by_operand * inverse, by_result * inverse
        error = np.maximum(by_operand.error, by_result.error)
        return [cotangent * by_operand.with_error(error)]

    return with_pullback(result, [x], pull)


def mish(x: Rounded) -> Rounded:
    """x·tanh(log(1 + eˣ))."""
    return piecewise(
        x, (-_VANISHED, _VANISHED), (constant_piece(0.0), lambda x: x * tanh(softplus(x)), identity)
    )


def gelu(x: Rounded) -> Rounded:
    """x·½·(1 + erf(x/√2)); for negative x the sum cancels, in the formula as here."""
    return piecewise(x, (-_GAUSS_ENDS, _GAUSS_ENDS), (constant_piece(0.0), _gelu, identity))


def _gelu(x: Rounded) -> Rounded:
    z = x * irrational(math.sqrt(0.5), x)
    result = erf(z.detached)
    limit = z.abs_value >= ERF_ONE
    if x.precision.dtype != "float64":
        polynomial = np.where(limit | (x.value == 0), 0.0, _POLYNOMIAL)
        result = result.with_error(result.error + polynomial)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # A kernel that cuts erf off at its limit cuts off its derivative, too.
        slope = irrational(2.0 / math.sqrt(math.pi), x) * exp(-square(z.detached))
        error = np.where(limit, np.maximum(slope.error, slope.abs_value), slope.error)
        return [cotangent * slope.with_error(error)]

    product = _half(x) * (constant(1.0, x) + with_pullback(result, [z], pull))
    # For large negative x the result is close to −e^(−x²/2)/√(2π).
    log_size = -square(x.detached).value / 2 - math.log(2 * math.pi) / 2
    return _rounded_to_subnormal(product, x, np.where(x.value < 0, log_size, -np.inf))


def _rounded_to_subnormal(result: Rounded, x: Rounded, log_size: np.ndarray) -> Rounded:
    """Add the rounding of a true value to a subnormal number, where the formula gives 0.

    Args:
        result: x/2 times a factor that is 0 in the dtype.
        log_size: logarithm of the true value's size there; a quarter of the smallest number is 0.
    """
    unit = result.precision.underflow
    shows = (result.value == 0) & (log_size >= math.log(unit) - math.log(4.0))
    # The answer rounds by half a unit. In float64 the oracle's factor 1 − |erf| or 1 − |tanh| is a
    # multiple of the smallest number too, and may be off by two: x/2 makes it |x| units.
    own = x.abs_value if result.precision.dtype == "float64" else 0.0
    return result.with_error(result.error + np.where(shows, (1.0 + own) * unit, 0.0))


def gelu_by_tanh(x: Rounded) -> Rounded:
    """x·½·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    return piecewise(x, (-_CUBIC_ENDS, _CUBIC_ENDS), (constant_piece(0.0), _gelu_by_tanh, identity))


def _gelu_by_tanh(x: Rounded) -> Rounded:
    cube = x * x * x
    z = irrational(math.sqrt(2 / math.pi), x) * (x + constant(0.044715, x) * cube)
    t = tanh(z)
    # Where tanh has reached its limit, 1 − |t| may be 0 or its true value, as x·σ(2z) has it.
    with np.errstate(over="ignore"):
        distance = 2.0 * np.maximum(z.abs_value - z.error, 0.0)
        complement = 2.0 * np.exp(-distance) / (1.0 + np.exp(-distance))
        complement *= 1.0 + 2.0 * x.precision.ulp("sigmoid") * (x.precision.unit + ORACLE_UNIT)
    representable = (t.error == 0) & (z.value != 0) & (64 * complement >= x.precision.underflow / 2)
    product = _half(x) * (
        constant(1.0, x) + t.with_error(np.where(representable, complement, t.error))
    )
    with np.errstate(all="ignore"):
        log_size = np.where(x.value < 0, np.log(x.abs_value) - distance, -np.inf)
    return _rounded_to_subnormal(product, x, log_size)


def _half(x: Rounded) -> Rounded:
    return x * constants(np.array(0.5), x)
