"""Laws of activations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exactly
from conformance.laws.law import (
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    law,
    many,
    measured,
    on_host,
    same,
    times,
)
from conformance.model.case import is_function

if TYPE_CHECKING:
    from conformance.model.protocols import TrialLike as Trial

_FUNCTION = {
    "ReLU": "functional.relu",
    "LeakyReLU": "functional.leaky_relu",
    "SiLU": "functional.silu",
}
_OTHER = _FUNCTION | {function: module for module, function in _FUNCTION.items()}
EQUAL = "always equal: nothing is rounded"


def _input(trial: Trial) -> np.ndarray:
    (x,) = trial.case.inputs
    assert x is not None
    return x


def _of(trial: Trial, x: np.ndarray, **arguments: Any) -> Trial:
    """The call on another input or with other arguments, not in place."""
    call = trial.case.call
    given = {k: v for k, v in call.arguments.items() if k != "inplace"} | arguments
    call = replace(call, arguments=given)
    return trial.other(replace(trial.case, call=call, inputs=(x,), layouts=()))


def _by(trial: Trial, layer: str, **arguments: Any) -> Trial:
    """Another layer on the same input."""
    call = replace(trial.case.call, layer=layer, arguments=arguments)
    return trial.other(replace(trial.case, call=call, layouts=()))


@law("elements", "each element of a large array is that element of a small one")
def elements(trial: Trial, generator: Generator) -> Claims:
    """Thousands of elements, drawn from the case's: several blocks of vector code, and a tail."""
    x = _input(trial).reshape(-1)
    if x.size:
        chosen = generator.integers(x.size, size=many(generator, least=1025, most=4097))
        yield same(_of(trial, x[chosen]), trial, wanted_moves=lambda y: y.reshape(-1)[chosen])


@law("reshaped", "shape means nothing")
def reshaped(trial: Trial, generator: Generator) -> Claims:
    """All elements in one row, or an axis more."""
    x = _input(trial)
    other = x.reshape(-1) if generator.integers(2) else x[np.newaxis]
    yield same(_of(trial, other), trial, got_moves=lambda y: y.reshape(x.shape))


@law("form", "the module and the function are one")
def form(trial: Trial, generator: Generator) -> Claims:
    """The other form."""
    call = trial.case.call
    yield same(_by(trial, _OTHER[call.layer], **call.arguments), trial)


@law("doubled", "f(2x) = 2·f(x)", SUMMED)
def doubled(trial: Trial, generator: Generator) -> Claims:
    """Twice the input, where that is a number of the dtype."""
    x = _input(trial)
    if 2 * np.abs(x).max(initial=0.0) <= trial.precision.largest:
        other = _of(trial, 2 * x)
        twice = tuple(times(y, 2.0) for y in measured(trial))
        yield claim(other, measured(other), Side(f"2 · {trial.text()}", twice))


@law("slope_zero", "with a negative_slope of 0 it is ReLU", EQUAL)
def slope_zero(trial: Trial, generator: Generator) -> Claims:
    """Both on the same input."""
    relu = "functional.relu" if is_function(trial.case.call.layer) else "ReLU"
    yield same(_of(trial, _input(trial), negative_slope=0.0), _by(trial, relu))


@law("reflected", "f(x) - f(-x) = x", SUMMED)
def reflected(trial: Trial, generator: Generator) -> Claims:
    """σ(x) + σ(−x) = 1, times x."""
    x = _input(trial)
    other = _of(trial, -x)
    (y,), (z,) = map(measured, (trial, other))
    difference = on_host(y) - on_host(z)
    text = f"{trial.text()} minus {other.text()}"
    exact = on_host(exactly(x, trial.precision))
    yield Claim(trial.names, Side(text, (difference,)), Side("x", (exact,)))
