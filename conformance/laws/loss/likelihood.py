"""Laws of negative log likelihoods."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import exactly
from conformance.laws.loss.pointwise import Inputs, each, given_inputs, pointwise
from conformance.laws.loss.reductions import form, given, on
from conformance.model.formats import round_to
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    claim,
    law,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


@law("nothing", "what never happens loses what is expected", SUMMED)
def nothing(trial: Trial, generator: Generator) -> Claims:
    """Targets of 0, for which the loss is the rate itself, whatever eps is."""
    x, y = given_inputs(trial)
    rates = np.abs(x)
    other = on(trial, (rates, np.zeros(y.shape)), log_input=False, reduction="none")
    whole = np.broadcast_to(rates, other.shapes[0])
    yield claim(other, measured(other), Side("x", (exactly(whole, trial.precision),)))


@law("few", "Stirling's term is of counts above 1 only")
def few(trial: Trial, generator: Generator) -> Claims:
    """For counts of at most 1, the calls with and without `full`."""
    x, y = given_inputs(trial)
    small = np.minimum(y, 1.0)
    yield same(on(trial, (x, small), full=True), on(trial, (x, small), full=False))


@law("rates", "of one that is expected once it loses 1, or nothing", SUMMED)
def rates(trial: Trial, generator: Generator) -> Claims:
    """A rate of 1, whose logarithm is 0: the loss is 1 for any count."""
    x, y = given_inputs(trial)
    zeros = np.zeros(x.shape)
    other = on(trial, (zeros, y), log_input=True, full=False, reduction="none")
    ones = exactly(np.ones(other.shapes[0]), trial.precision)
    yield claim(other, measured(other), Side("1", (ones,)))


POISSON = (
    form("PoissonNLLLoss", "functional.poisson_nll_loss"),
    *pointwise(),
    nothing,
    few,
    rates,
)


def _aligned(trial: Trial) -> Inputs:
    """The inputs, with an axis of length 1 added to variances that lack the last axis."""
    x, y, var = given_inputs(trial)
    return x, y, var[..., np.newaxis] if var.ndim == x.ndim - 1 else var


@law("swapped", "neither number is the first")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """Input and target exchanged."""
    x, y, var = each(trial, lambda x: x, _aligned)[0]
    yield same(on(trial, (y, x, var)), trial)


@law("floor", "a variance below eps is eps")
def floor(trial: Trial, generator: Generator) -> Claims:
    """Variances clamped to eps by the law, where the dtype can represent eps."""
    x, y, var = given_inputs(trial)
    eps = given(trial, "eps")
    if round_to(np.array(eps), trial.case.call.dtype) == eps:
        yield same(on(trial, (x, y, np.maximum(var, eps))), trial)


@law("full", "the full loss is larger by the same everywhere", SUMMED)
def full(trial: Trial, generator: Generator) -> Claims:
    """The calls with and without `full`, which differ by ½·log 2π."""
    short = on(trial, trial.case.inputs, full=False, reduction="none")
    long = on(trial, trial.case.inputs, full=True, reduction="none")
    (a,), (b,) = measured(short), measured(long)
    wide = on_host(a)
    with np.errstate(all="ignore"):
        added = wide + constant(0.5 * math.log(2 * math.pi), wide)
    yield claim(long, (on_host(b),), Side(f"{short.text()} + log(2 pi) / 2", (added,)))


GAUSSIAN = (
    form("GaussianNLLLoss", "functional.gaussian_nll_loss"),
    *pointwise(aligned=_aligned),
    swapped,
    floor,
    full,
)
