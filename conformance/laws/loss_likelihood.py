"""Laws of negative log likelihoods, and of the Kullback-Leibler divergence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import exactly
from conformance.laws.law import (
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
from conformance.laws.loss_pointwise import Inputs, each, pointwise
from conformance.laws.loss_reductions import elements, form, given, on
from conformance.model.formats import round_to

if TYPE_CHECKING:
    from conformance.model.protocols import TrialLike as Trial


def _inputs(trial: Trial) -> list[np.ndarray]:
    found = [x for x in trial.case.inputs if x is not None]
    assert len(found) == len(trial.case.inputs)
    return found


def _samples(trial: Trial) -> float:
    """What "batchmean" divides by."""
    x = _inputs(trial)[0]
    return float(x.shape[0]) if x.ndim else 1.0


@law("itself", "a distribution does not diverge from itself", "always equal")
def itself(trial: Trial, generator: Generator) -> Claims:
    """Logarithms as input and target: 0, or the mean of nothing."""
    x, _ = _inputs(trial)
    if x.size:
        other = on(trial, (x, x), log_target=True)
        zeros = exactly(np.zeros(other.shapes[0]), trial.precision)
        yield claim(other, measured(other), Side("0", (zeros,)))


@law("certain", "a probability of 1 is a logarithm of 0", SUMMED)
def certain(trial: Trial, generator: Generator) -> Claims:
    """Both forms of such targets: −x."""
    x, y = _inputs(trial)
    numbers = on(trial, (x, np.ones(y.shape)), log_target=False)
    logarithms = on(trial, (x, np.zeros(y.shape)), log_target=True)
    side = Side(logarithms.text(), measured(logarithms), logarithms)
    yield claim(numbers, measured(numbers), side)


@law("forms", "both forms of a target are one", SUMMED)
def forms(trial: Trial, generator: Generator) -> Claims:
    """The logarithm of a target, where it is rounded to less than the bound of the slope."""
    x, y = _inputs(trial)
    if given(trial, "log_target"):
        logarithms, numbers = y, round_to(np.exp(y), trial.case.call.dtype)
    else:
        with np.errstate(divide="ignore"):
            numbers, logarithms = y, round_to(np.log(y), trial.case.call.dtype)
    if not (np.isfinite(logarithms).all() and (numbers > 0).all()):
        return
    one = on(trial, (x, numbers), log_target=False, reduction="sum")
    two = on(trial, (x, logarithms), log_target=True, reduction="sum")
    (a,), (b,) = measured(one), measured(two)
    exact = np.log(numbers)
    # d/dz e^z (z - x) = e^z (1 + z - x), between both targets.
    reach = np.maximum(np.abs(exact), np.abs(logarithms)) + np.abs(x) + 1
    top = np.exp(np.maximum(exact, logarithms))
    moved = np.broadcast_to((np.abs(exact - logarithms) + 1e-15) * top * reach, np.broadcast_shapes(
        x.shape, y.shape
    )).sum()  # fmt: skip
    wide = on_host(b)
    yield claim(one, (on_host(a),), Side(two.text(), (wide.with_error(wide.error + moved),)))


DIVERGENCE = (
    form("KLDivLoss", "functional.kl_div"),
    *pointwise({"mean": elements, "batchmean": _samples}),
    itself,
    certain,
    forms,
)


@law("nothing", "what never happens loses what is expected", SUMMED)
def nothing(trial: Trial, generator: Generator) -> Claims:
    """Counts of 0: the rate itself, whatever eps is."""
    x, y = _inputs(trial)
    rates = np.abs(x)
    other = on(trial, (rates, np.zeros(y.shape)), log_input=False, reduction="none")
    whole = np.broadcast_to(rates, other.shapes[0])
    yield claim(other, measured(other), Side("x", (exactly(whole, trial.precision),)))


@law("few", "Stirling's term is of counts above 1 only")
def few(trial: Trial, generator: Generator) -> Claims:
    """Of counts of at most 1 the full loss is the other one."""
    x, y = _inputs(trial)
    small = np.minimum(y, 1.0)
    yield same(on(trial, (x, small), full=True), on(trial, (x, small), full=False))


@law("rates", "of one that is expected once it loses 1, or nothing", SUMMED)
def rates(trial: Trial, generator: Generator) -> Claims:
    """A rate of 1, whose logarithm is 0: the loss is 1, whatever is counted."""
    x, y = _inputs(trial)
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
    """Variances that lack the last axis with one of length 1."""
    x, y, var = _inputs(trial)
    return x, y, var[..., np.newaxis] if var.ndim == x.ndim - 1 else var


@law("swapped", "neither number is the first")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """The target and the input."""
    x, y, var = each(trial, lambda x: x, _aligned)[0]
    yield same(on(trial, (y, x, var)), trial)


@law("floor", "a variance below eps is eps")
def floor(trial: Trial, generator: Generator) -> Claims:
    """Where the dtype has eps."""
    x, y, var = _inputs(trial)
    eps = given(trial, "eps")
    if round_to(np.array(eps), trial.case.call.dtype) == eps:
        yield same(on(trial, (x, y, np.maximum(var, eps))), trial)


@law("full", "the full loss is larger by the same everywhere", SUMMED)
def full(trial: Trial, generator: Generator) -> Claims:
    """Half of log 2π."""
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
