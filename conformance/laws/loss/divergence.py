"""Laws of the Kullback-Leibler divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exactly
from conformance.laws.loss.pointwise import given_inputs, pointwise
from conformance.laws.loss.reductions import elements, form, given, on
from conformance.model.formats import round_to
from conformance.spec.law import SUMMED, Claims, Generator, Side, claim, law, measured, on_host

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _samples(trial: Trial) -> float:
    """The divisor of "batchmean": the batch size."""
    x = given_inputs(trial)[0]
    return float(x.shape[0]) if x.ndim else 1.0


@law("itself", "a distribution does not diverge from itself", "always equal")
def itself(trial: Trial, generator: Generator) -> Claims:
    """The same logarithms as input and target."""
    x, _ = given_inputs(trial)
    if x.size:
        other = on(trial, (x, x), log_target=True)
        zeros = exactly(np.zeros(other.shapes[0]), trial.precision)
        yield claim(other, measured(other), Side("0", (zeros,)))


@law("certain", "a probability of 1 is a logarithm of 0", SUMMED)
def certain(trial: Trial, generator: Generator) -> Claims:
    """Targets of 1, and their logarithms of 0: both losses are −x."""
    x, y = given_inputs(trial)
    numbers = on(trial, (x, np.ones(y.shape)), log_target=False)
    logarithms = on(trial, (x, np.zeros(y.shape)), log_target=True)
    side = Side(logarithms.text(), measured(logarithms), logarithms)
    yield claim(numbers, measured(numbers), side)


@law("forms", "both forms of a target are one", SUMMED)
def forms(trial: Trial, generator: Generator) -> Claims:
    """The target as a number and as a logarithm; one of them is rounded to the dtype.

    The loss e^z (z − x) changes by at most e^z (1 + |z| + |x|) times the change of z.
    """
    x, y = given_inputs(trial)
    dtype = trial.case.call.dtype
    with np.errstate(divide="ignore"):
        if given(trial, "log_target"):
            logarithms, numbers = y, round_to(np.exp(y), dtype)
        else:
            logarithms, numbers = round_to(np.log(y), dtype), y
    if not np.isfinite(logarithms).all() or not (numbers > 0).all():
        return
    one = on(trial, (x, numbers), log_target=False, reduction="sum")
    two = on(trial, (x, logarithms), log_target=True, reduction="sum")
    (got,), (wanted,) = measured(one), measured(two)
    exact = np.log(numbers)  # float64, within a unit in the last place
    farthest = np.maximum(np.abs(exact), np.abs(logarithms))
    apart = np.abs(exact - logarithms) + 2.0**-52 * farthest
    moved = np.exp(np.maximum(exact, logarithms) + apart) * (1 + farthest + np.abs(x)) * apart
    wide = on_host(wanted)
    side = Side(two.text(), (wide.with_error(wide.error + moved.sum()),))
    yield claim(one, (on_host(got),), side)


LAWS = (
    form("KLDivLoss", "functional.kl_div"),
    *pointwise({"mean": elements, "batchmean": _samples}),
    itself,
    certain,
    forms,
)
