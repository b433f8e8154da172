"""Laws of curved activations: exponential units, Mish, Softplus, Tanhshrink, GELU's tail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.half_precision import widened
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, exact_operand
from conformance.laws.activation.elementwise import (
    argument_value,
    call_layer,
    call_on,
    can_double,
    doubled_output,
)
from conformance.oracles.activation.smooth import SELU_ALPHA, SELU_SCALE
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    get_input,
    in_float64,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


@law("alpha_one", "ELU and CELU with an alpha of 1 are one", WITHIN_SUM_OF_BOUNDS)
def alpha_one(trial: Trial, generator: Generator) -> Claims:
    """ELU and CELU on the same input."""
    elu, celu = call_layer(trial, "ELU", alpha=1.0), call_layer(trial, "CELU", alpha=1.0)
    yield claim(elu, outputs_with_bounds(elu), Side(celu.text(), outputs_with_bounds(celu), celu))


@law("alpha_twice", "below 0 it is proportional to alpha", WITHIN_SUM_OF_BOUNDS)
def alpha_twice(trial: Trial, generator: Generator) -> Claims:
    """The call with twice alpha on −|x|."""
    x = -np.abs(get_input(trial))
    other = call_on(trial, x, alpha=2 * argument_value(trial, "alpha"))
    yield claim(other, outputs_with_bounds(other), doubled_output(call_on(trial, x)))


@law("alpha_and_operand", "of 2x with 2·alpha it is 2·f(x)", WITHIN_SUM_OF_BOUNDS)
def alpha_and_operand(trial: Trial, generator: Generator) -> Claims:
    """The call with both input and alpha doubled."""
    if can_double(trial):
        other = call_on(trial, 2 * get_input(trial), alpha=2 * argument_value(trial, "alpha"))
        yield claim(other, outputs_with_bounds(other), doubled_output(trial))


@law("scaled_unit", "it is scale times ELU with SELU's alpha", WITHIN_SUM_OF_BOUNDS)
def scaled_unit(trial: Trial, generator: Generator) -> Claims:
    """ELU on the same input, multiplied by scale in the law's own arithmetic."""
    elu = call_layer(trial, "ELU", alpha=SELU_ALPHA)
    (y,), (z,) = map(outputs_with_bounds, (trial, elu))
    scale = in_float64(exact_operand(np.full(y.shape, SELU_SCALE), trial.precision))
    text = f"{SELU_SCALE:.9g} · {elu.text()}"
    yield claim(trial, (in_float64(y),), Side(text, (in_float64(z) * scale,)))


@law("by_sigmoid", "it is x·(1 - r²)/(1 + r²), r = Sigmoid(-x)", WITHIN_SUM_OF_BOUNDS)
def by_sigmoid(trial: Trial, generator: Generator) -> Claims:
    """tanh(log y) = (y² − 1)/(y² + 1), and 1 + eˣ = 1/σ(−x)."""
    x = get_input(trial)
    other = call_on(call_layer(trial, "Sigmoid"), -x)
    (y,), (r,) = map(outputs_with_bounds, (trial, other))
    precision = in_float64(y).precision
    # An output of σ that equals 1 may be rounded to it.
    r = in_float64(r.with_error(r.error + trial.precision.unit * r.abs_value))
    square = r * r
    one = exact_operand(np.ones(x.shape), precision)
    with np.errstate(invalid="ignore", over="ignore"):
        product = exact_operand(x, precision) * ((one - square) / (one + square))
    text = f"x·(1 - r²)/(1 + r²), r = {other.text()}"
    yield claim(trial, (in_float64(y),), Side(text, (product,)))


@law("beta_twice", "of 2x with beta it is twice that of x with 2·beta", WITHIN_SUM_OF_BOUNDS)
def beta_twice(trial: Trial, generator: Generator) -> Claims:
    """Both calls choose the branch by the same number β·2x = 2β·x."""
    if can_double(trial):
        x = get_input(trial)
        one, other = (
            call_on(trial, 2 * x),
            call_on(trial, x, beta=2 * argument_value(trial, "beta")),
        )
        yield claim(one, outputs_with_bounds(one), doubled_output(other))


@law("rest_of_tanh", "with Tanh it adds up to x", WITHIN_SUM_OF_BOUNDS)
def rest_of_tanh(trial: Trial, generator: Generator) -> Claims:
    """Tanh on the same input, added in the law's own arithmetic."""
    tanh = call_layer(trial, "Tanh")
    (y,), (z,) = map(outputs_with_bounds, (trial, tanh))
    exact = in_float64(exact_operand(get_input(trial), trial.precision))
    text = f"{trial.text()} plus {tanh.text()}"
    yield Claim(trial.names, Side(text, (in_float64(y) + in_float64(z),)), Side("x", (exact,)))


_MILLS = "always within Mills' ratio, and the rounding of its exponential"


@law("tail", "far below 0, -f(x) is from φ(x)·x²/(1 + x²) to φ(x), the normal density", _MILLS)
def tail(trial: Trial, generator: Generator) -> Claims:
    """Mills' ratio, for small x·Φ(x), where 1 + erf(x/√2) cancels and `values` has a loose bound.

    One case in eight checks it, for x down to where φ is close to the smallest normal number.
    """
    if argument_value(trial, "approximate") != "none" or generator.integers(8):
        return
    precision = trial.precision
    x = -np.arange(12, 151) / 4.0
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    x, density = (numbers[density >= 64 * precision.normal] for numbers in (x, density))
    ratio = x * x / (1 + x * x)
    # z = x/√2 with a rounded constant errs by 2u, which erfc z, or e^(−z²), multiplies by 2z² = x².
    # The function itself and the factors x and ½ add at most 8 roundings; the result is stored.
    unit = widened(exact_operand(x, precision)).precision.unit + ORACLE_UNIT
    rounding = (2 * x * x + 8) * unit + precision.unit
    error = density * ((1 - ratio) / 2 + rounding)
    wanted = Rounded(
        -density * (1 + ratio) / 2, error, in_float64(exact_operand(x, precision)).precision
    )
    other = call_on(trial, x)
    actual = in_float64(exact_operand(other.answer[0], precision))
    yield Claim(other.names, Side(other.text(), (actual,), other), Side("Mills' ratio", (wanted,)))
