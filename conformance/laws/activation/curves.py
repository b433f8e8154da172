"""Laws of curved activations: exponential units, Mish, Softplus, Tanhshrink, GELU's tail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.half_precision import widened
from conformance.arithmetic.rounded import OWN, Rounded, exactly
from conformance.laws.activation.elementwise import by_layer, doubles, given, of_input, twice
from conformance.oracles.activation.smooth import SELU_ALPHA, SELU_SCALE
from conformance.spec.law import (
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    input_of,
    law,
    measured,
    on_host,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


@law("alpha_one", "ELU and CELU with an alpha of 1 are one", SUMMED)
def alpha_one(trial: Trial, generator: Generator) -> Claims:
    """ELU and CELU on the same input."""
    elu, celu = by_layer(trial, "ELU", alpha=1.0), by_layer(trial, "CELU", alpha=1.0)
    yield claim(elu, measured(elu), Side(celu.text(), measured(celu), celu))


@law("alpha_twice", "below 0 it is proportional to alpha", SUMMED)
def alpha_twice(trial: Trial, generator: Generator) -> Claims:
    """The call with twice alpha on −|x|."""
    x = -np.abs(input_of(trial))
    other = of_input(trial, x, alpha=2 * given(trial, "alpha"))
    yield claim(other, measured(other), twice(of_input(trial, x)))


@law("alpha_and_operand", "of 2x with 2·alpha it is 2·f(x)", SUMMED)
def alpha_and_operand(trial: Trial, generator: Generator) -> Claims:
    """The call with both input and alpha doubled."""
    if doubles(trial):
        other = of_input(trial, 2 * input_of(trial), alpha=2 * given(trial, "alpha"))
        yield claim(other, measured(other), twice(trial))


@law("scaled_unit", "it is scale times ELU with SELU's alpha", SUMMED)
def scaled_unit(trial: Trial, generator: Generator) -> Claims:
    """ELU on the same input, multiplied by scale in the law's own arithmetic."""
    elu = by_layer(trial, "ELU", alpha=SELU_ALPHA)
    (y,), (z,) = map(measured, (trial, elu))
    scale = on_host(exactly(np.full(y.shape, SELU_SCALE), trial.precision))
    text = f"{SELU_SCALE:.9g} · {elu.text()}"
    yield claim(trial, (on_host(y),), Side(text, (on_host(z) * scale,)))


@law("by_sigmoid", "it is x·(1 - r²)/(1 + r²), r = Sigmoid(-x)", SUMMED)
def by_sigmoid(trial: Trial, generator: Generator) -> Claims:
    """tanh(log y) = (y² − 1)/(y² + 1), and 1 + eˣ = 1/σ(−x)."""
    x = input_of(trial)
    other = of_input(by_layer(trial, "Sigmoid"), -x)
    (y,), (r,) = map(measured, (trial, other))
    precision = on_host(y).precision
    # An output of σ that equals 1 may be rounded to it.
    r = on_host(r.with_error(r.error + trial.precision.unit * r.size))
    square = r * r
    one = exactly(np.ones(x.shape), precision)
    with np.errstate(invalid="ignore", over="ignore"):
        product = exactly(x, precision) * ((one - square) / (one + square))
    text = f"x·(1 - r²)/(1 + r²), r = {other.text()}"
    yield claim(trial, (on_host(y),), Side(text, (product,)))


@law("beta_twice", "of 2x with beta it is twice that of x with 2·beta", SUMMED)
def beta_twice(trial: Trial, generator: Generator) -> Claims:
    """Both calls choose the branch by the same number β·2x = 2β·x."""
    if doubles(trial):
        x = input_of(trial)
        one, other = of_input(trial, 2 * x), of_input(trial, x, beta=2 * given(trial, "beta"))
        yield claim(one, measured(one), twice(other))


@law("rest_of_tanh", "with Tanh it adds up to x", SUMMED)
def rest_of_tanh(trial: Trial, generator: Generator) -> Claims:
    """Tanh on the same input, added in the law's own arithmetic."""
    tanh = by_layer(trial, "Tanh")
    (y,), (z,) = map(measured, (trial, tanh))
    exact = on_host(exactly(input_of(trial), trial.precision))
    text = f"{trial.text()} plus {tanh.text()}"
    yield Claim(trial.names, Side(text, (on_host(y) + on_host(z),)), Side("x", (exact,)))


_MILLS = "always within Mills' ratio, and the rounding of its exponential"


@law("tail", "far below 0, -f(x) is from φ(x)·x²/(1 + x²) to φ(x), the normal density", _MILLS)
def tail(trial: Trial, generator: Generator) -> Claims:
    """Mills' ratio, for small x·Φ(x), where 1 + erf(x/√2) cancels and `values` has a loose bound.

    One case in eight checks it, for x down to where φ is close to the smallest normal number.
    """
    if given(trial, "approximate") != "none" or generator.integers(8):
        return
    precision = trial.precision
    x = -np.arange(12, 151) / 4.0
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    x, density = (numbers[density >= 64 * precision.normal] for numbers in (x, density))
    ratio = x * x / (1 + x * x)
    # z = x/√2 with a rounded constant errs by 2u, which erfc z, or e^(−z²), multiplies by 2z² = x².
    # The function itself and the factors x and ½ add at most 8 roundings; the result is stored.
    unit = widened(exactly(x, precision)).precision.unit + OWN
    rounding = (2 * x * x + 8) * unit + precision.unit
    error = density * ((1 - ratio) / 2 + rounding)
    wanted = Rounded(-density * (1 + ratio) / 2, error, on_host(exactly(x, precision)).precision)
    other = of_input(trial, x)
    got = on_host(exactly(other.answer[0], precision))
    yield Claim(other.names, Side(other.text(), (got,), other), Side("Mills' ratio", (wanted,)))
