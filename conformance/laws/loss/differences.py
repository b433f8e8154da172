"""Laws of losses of differences: L1, MSE, smooth L1, Huber."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import exact_operand
from conformance.laws.loss.pointwise import ones, pointwise, swapped
from conformance.laws.loss.reductions import argument_value, call_on, count_losses, form_law
from conformance.model.case import is_function
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Law,
    Side,
    claim,
    equality_claim,
    in_float64,
    law,
    outputs_with_bounds,
    scale_exactly,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_FUNCTION = {
    "L1Loss": "functional.l1_loss",
    "MSELoss": "functional.mse_loss",
    "SmoothL1Loss": "functional.smooth_l1_loss",
    "HuberLoss": "functional.huber_loss",
}


def _operands(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, y = trial.case.inputs[:2]
    assert x is not None
    assert y is not None
    return x, y


def _other_loss(trial: Trial, layer: str, **arguments: Any) -> Trial:
    """Another loss with the same reduction on the same operands, as function or module."""
    name = _FUNCTION[layer] if is_function(trial.case.call.layer) else layer
    written_reduction = {"reduction": argument_value(trial, "reduction")}
    return call_on(trial, _operands(trial), layer=name, only=written_reduction | arguments)


def _weight_input(trial: Trial) -> np.ndarray | None:
    return trial.case.inputs[2] if len(trial.case.inputs) > 2 else None


def _mean_divisor(trial: Trial) -> float | None:
    """The number of losses, or None where the mean divides by the sum of the weights."""
    return None if _weight_input(trial) is not None else count_losses(trial)


@law("itself", "nothing is lost on the target itself", "always equal")
def itself(trial: Trial, generator: Generator) -> Claims:
    """The call with the target as the input."""
    _, y = _operands(trial)
    if not y.size:
        return
    weights = () if _weight_input(trial) is None else (np.ones(y.shape),)
    other = call_on(trial, (y, y, *weights))
    zeros = exact_operand(np.zeros(other.shapes[0]), trial.precision)
    yield claim(other, outputs_with_bounds(other), Side("0", (zeros,)))


def scaling_law(edge: str, factor: float) -> Law:
    """The law that doubling operands and edge multiplies the loss by a factor.

    Args:
        edge: name of the argument at which the parabola becomes a line; empty = none.
        factor: the factor of the loss.
    """

    @law("scaled", f"of twice the numbers it is {factor:g} times the loss", WITHIN_SUM_OF_BOUNDS)
    def claims(trial: Trial, generator: Generator) -> Claims:
        """The call with both operands, and the edge, doubled."""
        x, y = _operands(trial)
        if max(np.abs(x).max(initial=0), np.abs(y).max(initial=0)) * 2 > trial.precision.largest:
            return
        doubled_edge = {edge: 2 * argument_value(trial, edge)} if edge else {}
        other = call_on(trial, (2 * x, 2 * y, *trial.case.inputs[2:]), **doubled_edge)
        side = Side(
            f"{factor:g} · {trial.text()}",
            tuple(scale_exactly(z, factor) for z in outputs_with_bounds(trial)),
        )
        yield claim(other, outputs_with_bounds(other), side)

    return claims


@law("kin", "Huber's loss is delta times smooth L1 with a beta of delta", WITHIN_SUM_OF_BOUNDS)
def kin(trial: Trial, generator: Generator) -> Claims:
    """HuberLoss and SmoothL1Loss with the same edge above 0."""
    edge = argument_value(trial, "beta" if "beta" in trial.spec.signature.defaults else "delta")
    if edge <= 0 or _weight_input(trial) is not None:
        return
    huber, smooth = (
        _other_loss(trial, "HuberLoss", delta=edge),
        _other_loss(trial, "SmoothL1Loss", beta=edge),
    )
    (got,), (other,) = outputs_with_bounds(huber), outputs_with_bounds(smooth)
    wide = in_float64(other)
    with np.errstate(all="ignore"):
        side = Side(f"{edge:g} · {smooth.text()}", (wide * constant(edge, wide),))
    yield claim(huber, (in_float64(got),), side)


@law(
    "limits",
    "with an edge out of reach it is a parabola; smooth L1 without one is L1",
    WITHIN_SUM_OF_BOUNDS,
)
def limits(trial: Trial, generator: Generator) -> Claims:
    """HuberLoss with an edge beyond all differences; SmoothL1Loss with beta = 0."""
    x, y = _operands(trial)
    if _weight_input(trial) is not None:
        return
    with np.errstate(all="ignore"):
        farthest = np.abs(x - y).max(initial=0.0)
    edge = 2.0 ** (np.ceil(np.log2(farthest)) + 1) if farthest else 1.0
    if not 2.0**-14 < edge < 2.0**14:
        return
    squared_loss = _other_loss(trial, "MSELoss")
    half_squares = tuple(scale_exactly(z, 0.5) for z in outputs_with_bounds(squared_loss))
    huber = _other_loss(trial, "HuberLoss", delta=float(edge))
    yield claim(huber, outputs_with_bounds(huber), Side(f"½ · {squared_loss.text()}", half_squares))
    if "beta" in trial.spec.signature.defaults:
        without_parabola = call_on(trial, (x, y), beta=0.0)
        yield equality_claim(without_parabola, _other_loss(trial, "L1Loss"))


def laws(module: str, edge: str, factor: float) -> tuple[Law, ...]:
    """The laws of a loss of differences and of its function.

    Args:
        edge: name of the argument at which the parabola becomes a line; empty = none.
        factor: the loss's factor when all numbers are doubled.
    """
    edge_laws = (kin, limits) if edge else ()
    return (
        form_law(module, _FUNCTION[module]),
        *pointwise({"mean": _mean_divisor}),
        swapped,
        itself,
        scaling_law(edge, factor),
        *edge_laws,
    )


WEIGHTED = (ones,)
