"""Laws of the gated linear unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.model.case import is_function
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _dim(trial: Trial) -> int:
    return int(trial.case.call.arguments.get("dim", -1))


def _halves(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """The two halves: the gated numbers and the gates."""
    first, second = np.split(get_input(trial), 2, _dim(trial))
    return first, second


def _call_on_halves(trial: Trial, first: np.ndarray, second: np.ndarray) -> Trial:
    return trial_with(trial, np.concatenate([first, second], _dim(trial)))


@law("form", "the module and the function are one")
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse."""
    other = "GLU" if is_function(trial.case.call.layer) else "functional.glu"
    yield equality_claim(trial_with(trial, get_input(trial), layer=other), trial)


@law("axis", "the axis may be counted from either end")
def axis(trial: Trial, generator: Generator) -> Claims:
    """`dim` counted from the other end."""
    x, dim = get_input(trial), _dim(trial)
    yield equality_claim(
        trial_with(trial, x, dim=dim - x.ndim if dim >= 0 else dim + x.ndim), trial
    )


@law("pairs", "each number and its gate among thousands are what they are among few")
def pairs(trial: Trial, generator: Generator) -> Claims:
    """Pairs drawn from the case's, several vector blocks and a tail, in one row or in columns."""
    first, second = (half.reshape(-1) for half in _halves(trial))
    if not first.size:
        return
    chosen = generator.integers(first.size, size=large_size(generator, minimum=1025, maximum=4097))
    columns = int(generator.integers(2))
    shape = (-1, 1) if columns else (-1,)
    x = np.concatenate([first[chosen].reshape(shape), second[chosen].reshape(shape)], -1)
    other = trial_with(trial, x, dim=-1)
    yield equality_claim(
        other,
        trial,
        got_moves=lambda y: y.reshape(-1),
        wanted_moves=lambda y: y.reshape(-1)[chosen],
    )


@law("open", "gates that are open let everything through", "equal: a gate at its limit is 1")
def opened(trial: Trial, generator: Generator) -> Claims:
    """The call with all gates at 200, where σ is 1."""
    first, second = _halves(trial)
    other = _call_on_halves(trial, first, np.full(second.shape, 200.0))
    yield claim(
        other, outputs_with_bounds(other), Side("a", (exact_operand(first, trial.precision),))
    )


@law("complement", "a gate and its opposite let through everything together", WITHIN_SUM_OF_BOUNDS)
def complement(trial: Trial, generator: Generator) -> Claims:
    """The call with negated gates, and the sum of both outputs."""
    first, second = _halves(trial)
    other = _call_on_halves(trial, first, -second)
    (y,), (z,) = map(outputs_with_bounds, (trial, other))
    calls = f"{trial.text()} plus {other.text()}"
    exact = in_float64(exact_operand(first, trial.precision))
    yield Claim(trial.names, Side(calls, (in_float64(y) + in_float64(z),)), Side("a", (exact,)))


@law("sigmoid", "it is a product with sigmoid of the same backend", WITHIN_SUM_OF_BOUNDS)
def product(trial: Trial, generator: Generator) -> Claims:
    """The product of a and functional.sigmoid of b."""
    first, second = _halves(trial)
    gates = trial_with(trial, second, layer="functional.sigmoid", arguments={})
    (gate,) = outputs_with_bounds(gates)
    with np.errstate(all="ignore"):
        gated = in_float64(exact_operand(first, trial.precision)) * in_float64(gate)
    yield claim(trial, outputs_with_bounds(trial), Side(f"a · {gates.text()}", (gated,)))


LAWS = (form, axis, pairs, opened, complement, product)
