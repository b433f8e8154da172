"""Laws of negative log likelihoods."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import exact_operand
from conformance.laws.loss.pointwise import Inputs, map_elements, pointwise, required_inputs
from conformance.laws.loss.reductions import argument_value, call_on, form_law
from conformance.model.formats import round_to
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    in_float64,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


@law("nothing", "what never happens loses what is expected", WITHIN_SUM_OF_BOUNDS)
def nothing(trial: Trial, generator: Generator) -> Claims:
    """Targets of 0, for which the loss is the rate itself, whatever eps is."""
    x, y = required_inputs(trial)
    rates = np.abs(x)
    other = call_on(trial, (rates, np.zeros(y.shape)), log_input=False, reduction="none")
    broadcast_rates = np.broadcast_to(rates, other.shapes[0])
    yield claim(
        other,
        outputs_with_bounds(other),
        Side("x", (exact_operand(broadcast_rates, trial.precision),)),
    )


@law("few", "Stirling's term is of counts above 1 only")
def few(trial: Trial, generator: Generator) -> Claims:
    """For counts of at most 1, the calls with and without `full`."""
    x, y = required_inputs(trial)
    small = np.minimum(y, 1.0)
    yield equality_claim(
        call_on(trial, (x, small), full=True), call_on(trial, (x, small), full=False)
    )


@law("rates", "of one that is expected once it loses 1, or nothing", WITHIN_SUM_OF_BOUNDS)
def rates(trial: Trial, generator: Generator) -> Claims:
    """A rate of 1, whose logarithm is 0: the loss is 1 for any count."""
    x, y = required_inputs(trial)
    zeros = np.zeros(x.shape)
    other = call_on(trial, (zeros, y), log_input=True, full=False, reduction="none")
    ones = exact_operand(np.ones(other.shapes[0]), trial.precision)
    yield claim(other, outputs_with_bounds(other), Side("1", (ones,)))


POISSON = (
    form_law("PoissonNLLLoss", "functional.poisson_nll_loss"),
    *pointwise(),
    nothing,
    few,
    rates,
)


def _with_aligned_variance(trial: Trial) -> Inputs:
    """The inputs, with an axis of length 1 added to variances that lack the last axis."""
    x, y, var = required_inputs(trial)
    return x, y, var[..., np.newaxis] if var.ndim == x.ndim - 1 else var


@law("swapped", "neither number is the first")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """Input and target exchanged."""
    x, y, var = map_elements(trial, lambda x: x, _with_aligned_variance)[0]
    yield equality_claim(call_on(trial, (y, x, var)), trial)


@law("floor", "a variance below eps is eps")
def floor(trial: Trial, generator: Generator) -> Claims:
    """Variances clamped to eps by the law, where the dtype can represent eps."""
    x, y, var = required_inputs(trial)
    eps = argument_value(trial, "eps")
    if round_to(np.array(eps), trial.case.call.dtype) == eps:
        yield equality_claim(call_on(trial, (x, y, np.maximum(var, eps))), trial)


@law("full", "the full loss is larger by the same everywhere", WITHIN_SUM_OF_BOUNDS)
def full(trial: Trial, generator: Generator) -> Claims:
    """The calls with and without `full`, which differ by ½·log 2π."""
    without_constant = call_on(trial, trial.case.inputs, full=False, reduction="none")
    with_constant = call_on(trial, trial.case.inputs, full=True, reduction="none")
    (a,), (b,) = outputs_with_bounds(without_constant), outputs_with_bounds(with_constant)
    wide = in_float64(a)
    with np.errstate(all="ignore"):
        added = wide + constant(0.5 * math.log(2 * math.pi), wide)
    yield claim(
        with_constant,
        (in_float64(b),),
        Side(f"{without_constant.text()} + log(2 pi) / 2", (added,)),
    )


GAUSSIAN = (
    form_law("GaussianNLLLoss", "functional.gaussian_nll_loss"),
    *pointwise(align=_with_aligned_variance),
    swapped,
    floor,
    full,
)
