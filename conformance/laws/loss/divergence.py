"""Laws of the Kullback-Leibler divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.laws.loss.pointwise import pointwise, required_inputs
from conformance.laws.loss.reductions import argument_value, call_on, count_losses, form_law
from conformance.model.formats import round_to
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    in_float64,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _batch_size(trial: Trial) -> float:
    """The divisor of "batchmean": the batch size."""
    x = required_inputs(trial)[0]
    return float(x.shape[0]) if x.ndim else 1.0


@law("itself", "a distribution does not diverge from itself", "always equal")
def itself(trial: Trial, generator: Generator) -> Claims:
    """The same logarithms as input and target."""
    x, _ = required_inputs(trial)
    if x.size:
        other = call_on(trial, (x, x), log_target=True)
        zeros = exact_operand(np.zeros(other.shapes[0]), trial.precision)
        yield claim(other, outputs_with_bounds(other), Side("0", (zeros,)))


@law("certain", "a probability of 1 is a logarithm of 0", WITHIN_SUM_OF_BOUNDS)
def certain(trial: Trial, generator: Generator) -> Claims:
    """Targets of 1, and their logarithms of 0: both losses are −x."""
    x, y = required_inputs(trial)
    numbers = call_on(trial, (x, np.ones(y.shape)), log_target=False)
    logarithms = call_on(trial, (x, np.zeros(y.shape)), log_target=True)
    side = Side(logarithms.text(), outputs_with_bounds(logarithms), logarithms)
    yield claim(numbers, outputs_with_bounds(numbers), side)


@law("forms", "both forms of a target are one", WITHIN_SUM_OF_BOUNDS)
def forms(trial: Trial, generator: Generator) -> Claims:
    """The target as a number and as a logarithm; one of them is rounded to the dtype.

    The loss e^z (z − x) changes by at most e^z (1 + |z| + |x|) times the change of z.
    """
    x, y = required_inputs(trial)
    dtype = trial.case.call.dtype
    with np.errstate(divide="ignore"):
        if argument_value(trial, "log_target"):
            logarithms, numbers = y, round_to(np.exp(y), dtype)
        else:
            logarithms, numbers = round_to(np.log(y), dtype), y
    if not np.isfinite(logarithms).all() or not (numbers > 0).all():
        return
    by_numbers = call_on(trial, (x, numbers), log_target=False, reduction="sum")
    by_logarithms = call_on(trial, (x, logarithms), log_target=True, reduction="sum")
    (got,), (wanted,) = outputs_with_bounds(by_numbers), outputs_with_bounds(by_logarithms)
    exact = np.log(numbers)  # float64, within a unit in the last place
    farthest = np.maximum(np.abs(exact), np.abs(logarithms))
    rounding = np.abs(exact - logarithms) + 2.0**-52 * farthest
    loss_change = (
        np.exp(np.maximum(exact, logarithms) + rounding) * (1 + farthest + np.abs(x)) * rounding
    )
    wide = in_float64(wanted)
    side = Side(by_logarithms.text(), (wide.with_error(wide.error + loss_change.sum()),))
    yield claim(by_numbers, (in_float64(got),), side)


LAWS = (
    form_law("KLDivLoss", "functional.kl_div"),
    *pointwise({"mean": count_losses, "batchmean": _batch_size}),
    itself,
    certain,
    forms,
)
