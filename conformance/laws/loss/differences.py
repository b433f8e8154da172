"""Laws of losses of differences: L1, MSE, smooth L1, Huber."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import exactly
from conformance.laws.loss.pointwise import ones, pointwise, swapped
from conformance.laws.loss.reductions import elements, form, given, on
from conformance.model.case import is_function
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Law,
    Side,
    claim,
    law,
    measured,
    on_host,
    same,
    times,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_FUNCTION = {
    "L1Loss": "functional.l1_loss",
    "MSELoss": "functional.mse_loss",
    "SmoothL1Loss": "functional.smooth_l1_loss",
    "HuberLoss": "functional.huber_loss",
}


def _pair(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, y = trial.case.inputs[:2]
    assert x is not None
    assert y is not None
    return x, y


def _other(trial: Trial, layer: str, **arguments: Any) -> Trial:
    """Another loss with the same reduction on the same operands, as function or module."""
    name = _FUNCTION[layer] if is_function(trial.case.call.layer) else layer
    kept = {"reduction": given(trial, "reduction")}
    return on(trial, _pair(trial), layer=name, only=kept | arguments)


def _weight(trial: Trial) -> np.ndarray | None:
    return trial.case.inputs[2] if len(trial.case.inputs) > 2 else None


def _mean(trial: Trial) -> float | None:
    """The number of losses, or None where the mean divides by the sum of the weights."""
    return None if _weight(trial) is not None else elements(trial)


@law("itself", "nothing is lost on the target itself", "always equal")
def itself(trial: Trial, generator: Generator) -> Claims:
    """The call with the target as the input."""
    _, y = _pair(trial)
    if not y.size:
        return
    rest = () if _weight(trial) is None else (np.ones(y.shape),)
    other = on(trial, (y, y, *rest))
    zeros = exactly(np.zeros(other.shapes[0]), trial.precision)
    yield claim(other, measured(other), Side("0", (zeros,)))


def scaled(edge: str, factor: float) -> Law:
    """The law that doubling operands and edge multiplies the loss by a factor.

    Args:
        edge: name of the argument at which the parabola becomes a line; empty = none.
        factor: the factor of the loss.
    """

    @law("scaled", f"of twice the numbers it is {factor:g} times the loss", SUMMED)
    def claims(trial: Trial, generator: Generator) -> Claims:
        """The call with both operands, and the edge, doubled."""
        x, y = _pair(trial)
        if max(np.abs(x).max(initial=0), np.abs(y).max(initial=0)) * 2 > trial.precision.largest:
            return
        changed = {edge: 2 * given(trial, edge)} if edge else {}
        other = on(trial, (2 * x, 2 * y, *trial.case.inputs[2:]), **changed)
        side = Side(
            f"{factor:g} · {trial.text()}", tuple(times(z, factor) for z in measured(trial))
        )
        yield claim(other, measured(other), side)

    return claims


@law("kin", "Huber's loss is delta times smooth L1 with a beta of delta", SUMMED)
def kin(trial: Trial, generator: Generator) -> Claims:
    """HuberLoss and SmoothL1Loss with the same edge above 0."""
    edge = given(trial, "beta" if "beta" in trial.row.signature.defaults else "delta")
    if edge <= 0 or _weight(trial) is not None:
        return
    huber, smooth = _other(trial, "HuberLoss", delta=edge), _other(trial, "SmoothL1Loss", beta=edge)
    (got,), (other,) = measured(huber), measured(smooth)
    wide = on_host(other)
    with np.errstate(all="ignore"):
        side = Side(f"{edge:g} · {smooth.text()}", (wide * constant(edge, wide),))
    yield claim(huber, (on_host(got),), side)


@law("limits", "with an edge out of reach it is a parabola; smooth L1 without one is L1", SUMMED)
def limits(trial: Trial, generator: Generator) -> Claims:
    """HuberLoss with an edge beyond all differences; SmoothL1Loss with beta = 0."""
    x, y = _pair(trial)
    if _weight(trial) is not None:
        return
    with np.errstate(all="ignore"):
        farthest = np.abs(x - y).max(initial=0.0)
    edge = 2.0 ** (np.ceil(np.log2(farthest)) + 1) if farthest else 1.0
    if not 2.0**-14 < edge < 2.0**14:
        return
    square = _other(trial, "MSELoss")
    half = tuple(times(z, 0.5) for z in measured(square))
    huber = _other(trial, "HuberLoss", delta=float(edge))
    yield claim(huber, measured(huber), Side(f"½ · {square.text()}", half))
    if "beta" in trial.row.signature.defaults:
        flat = on(trial, (x, y), beta=0.0)
        yield same(flat, _other(trial, "L1Loss"))


def laws(module: str, edge: str, factor: float) -> tuple[Law, ...]:
    """The laws of a loss of differences and of its function.

    Args:
        edge: name of the argument at which the parabola becomes a line; empty = none.
        factor: the loss's factor when all numbers are doubled.
    """
    bent = (kin, limits) if edge else ()
    return (
        form(module, _FUNCTION[module]),
        *pointwise({"mean": _mean}),
        swapped,
        itself,
        scaled(edge, factor),
        *bent,
    )


WEIGHTED = (ones,)
