"""Laws of the gated linear unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exactly
from conformance.model.case import is_function
from conformance.spec.law import (
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    called,
    claim,
    input_of,
    law,
    many,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _dim(trial: Trial) -> int:
    return int(trial.case.call.arguments.get("dim", -1))


def _halves(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """The two halves: the gated numbers and the gates."""
    first, second = np.split(input_of(trial), 2, _dim(trial))
    return first, second


def _of_halves(trial: Trial, first: np.ndarray, second: np.ndarray) -> Trial:
    return called(trial, np.concatenate([first, second], _dim(trial)))


@law("form", "the module and the function are one")
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse."""
    other = "GLU" if is_function(trial.case.call.layer) else "functional.glu"
    yield same(called(trial, input_of(trial), layer=other), trial)


@law("axis", "the axis may be counted from either end")
def axis(trial: Trial, generator: Generator) -> Claims:
    """`dim` counted from the other end."""
    x, dim = input_of(trial), _dim(trial)
    yield same(called(trial, x, dim=dim - x.ndim if dim >= 0 else dim + x.ndim), trial)


@law("pairs", "each number and its gate among thousands are what they are among few")
def pairs(trial: Trial, generator: Generator) -> Claims:
    """Pairs drawn from the case's, several vector blocks and a tail, in one row or in columns."""
    first, second = (half.reshape(-1) for half in _halves(trial))
    if not first.size:
        return
    chosen = generator.integers(first.size, size=many(generator, least=1025, most=4097))
    columns = int(generator.integers(2))
    shape = (-1, 1) if columns else (-1,)
    x = np.concatenate([first[chosen].reshape(shape), second[chosen].reshape(shape)], -1)
    other = called(trial, x, dim=-1)
    yield same(
        other,
        trial,
        got_moves=lambda y: y.reshape(-1),
        wanted_moves=lambda y: y.reshape(-1)[chosen],
    )


@law("open", "gates that are open let everything through", "equal: a gate at its limit is 1")
def opened(trial: Trial, generator: Generator) -> Claims:
    """The call with all gates at 200, where σ is 1."""
    first, second = _halves(trial)
    other = _of_halves(trial, first, np.full(second.shape, 200.0))
    yield claim(other, measured(other), Side("a", (exactly(first, trial.precision),)))


@law("complement", "a gate and its opposite let through everything together", SUMMED)
def complement(trial: Trial, generator: Generator) -> Claims:
    """The call with negated gates, and the sum of both outputs."""
    first, second = _halves(trial)
    other = _of_halves(trial, first, -second)
    (y,), (z,) = map(measured, (trial, other))
    calls = f"{trial.text()} plus {other.text()}"
    exact = on_host(exactly(first, trial.precision))
    yield Claim(trial.names, Side(calls, (on_host(y) + on_host(z),)), Side("a", (exact,)))


@law("sigmoid", "it is a product with sigmoid of the same backend", SUMMED)
def product(trial: Trial, generator: Generator) -> Claims:
    """The product of a and functional.sigmoid of b."""
    first, second = _halves(trial)
    gates = called(trial, second, layer="functional.sigmoid", arguments={})
    (gate,) = measured(gates)
    with np.errstate(all="ignore"):
        both = on_host(exactly(first, trial.precision)) * on_host(gate)
    yield claim(trial, measured(trial), Side(f"a · {gates.text()}", (both,)))


LAWS = (form, axis, pairs, opened, complement, product)
