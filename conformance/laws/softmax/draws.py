"""Laws of Gumbel-softmax: rates of the classes, sharpness of the samples, gradients.

With Gumbel numbers g the class with the largest logits + g has probability softmax(logits). For two
classes the difference of the g is a logistic number L. So the first of two soft samples is above
σ(w) with probability σ(difference of the logits − τw), for any τ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.laws.softmax.softmax import axis_of_case, claim_sums, coarse_input
from conformance.spec.draws import Draws, MaskedOutput
from conformance.spec.law import (
    Claims,
    Generator,
    Side,
    claim,
    get_input,
    law,
    outputs_with_bounds,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_LARGE_PROBE_PERIOD = 8  # one case in this many measures a rate to within 0.02, the others to 0.04
_SLICES, _MANY_SLICES = 8192, 32768
# Logit of the threshold: smaller for a large τ, so that the rates stay away from 0 and 1.
_THRESHOLD_LOGIT, _MAX_SCALED_LOGIT = 1.4, 2.0


@law("whole", "each slice adds up to 1", "within what the sum and the quotients round")
def whole(trial: Trial, generator: Generator) -> Claims:
    """Any sample sums to 1; a hard sample has a single 1."""
    yield from claim_sums(trial_with(trial, coarse_input(trial)))


@law("certain", "a class beside which all others have the logit -inf is drawn", "always equal")
def certain(trial: Trial, generator: Generator) -> Claims:
    """A random class in each slice."""
    x, axis = get_input(trial), axis_of_case(trial.case)
    if not x.size:
        return
    x = coarse_input(trial).reshape(x.shape or 1)
    sizes = [1 if place == axis else size for place, size in enumerate(x.shape)]
    chosen = generator.integers(x.shape[axis], size=sizes)
    class_index = np.arange(x.shape[axis]).reshape([-1 if k == axis else 1 for k in range(x.ndim)])
    is_chosen = (class_index == chosen).reshape(get_input(trial).shape)
    other = trial_with(trial, np.where(is_chosen, coarse_input(trial), -np.inf))
    wanted = (exact_operand(is_chosen.astype(float), trial.precision),)
    yield claim(
        other, outputs_with_bounds(other), Side("1 where the logit is a number, else 0", wanted)
    )


LAWS = (whole, certain)


def draws(trial: Trial, generator: Generator) -> Draws:
    """Classes follow their probabilities, samples follow τ; each call and slice draws anew.

    The probe has the case's axis, τ and dtype, and its own logits.
    """
    count = int(generator.integers(2, 5, endpoint=True))
    size = (_MANY_SLICES if generator.integers(_LARGE_PROBE_PERIOD) == 0 else _SLICES) + int(
        generator.integers(4)
    )
    logits = generator.integers(-4, 4, count, endpoint=True) / 4.0
    yield from _class_draws(_probe(trial, logits, size), logits)
    difference = float(generator.integers(-4, 4, endpoint=True)) / 4.0
    pair = np.array([difference, 0.0])
    yield from _sample_draws(_probe(trial, pair, size), difference)


class _Probe:
    """Many slices with the same logits.

    Args:
        trial: the call on them.
        axis: the axis of classes.
        shape: the input's shape.
    """

    def __init__(self, trial: Trial, axis: int, shape: tuple[int, ...]) -> None:
        self.trial, self.axis, self.shape = trial, axis, shape
        written = trial.case.call.arguments
        self.tau, self.hard = float(written.get("tau", 1.0)), bool(written.get("hard", False))

    def answer(self) -> np.ndarray:
        """The samples of a new call."""
        fresh = self.trial.trial_of(self.trial.case)
        return np.asarray(fresh.answer[0])

    def of_class(self, array: np.ndarray, place: int) -> np.ndarray:
        """The samples of one class, for all slices."""
        return np.asarray(array.take(place, self.axis))


def _probe(trial: Trial, logits: np.ndarray, size: int) -> _Probe:
    """A probe with the smallest number of axes, at least two, that the case's `dim` allows."""
    dim = int(trial.case.call.arguments.get("dim", -1))
    rank = max(dim + 1, -dim, 2)
    axis = dim % rank
    sizes = [1] * rank
    sizes[0 if axis else 1] = size
    shape = tuple(logits.size if k == axis else n for k, n in enumerate(sizes))
    x = logits.reshape([-1 if k == axis else 1 for k in range(rank)])
    x = np.ascontiguousarray(np.broadcast_to(x, shape))
    return _Probe(trial.trial_of(replace(trial.case, inputs=(x,), layouts=())), axis, shape)


def _class_draws(probe: _Probe, logits: np.ndarray) -> Iterator[MaskedOutput]:
    """Rates at which each class is the largest of a sample."""
    exponentials = np.exp(logits - logits.max())
    got, again = probe.answer(), probe.answer()
    for index, chance in enumerate(exponentials / exponentials.sum()):
        first, second = (
            (probe.of_class(y, index) >= y.max(probe.axis)).astype(float) for y in (got, again)
        )
        description = f"with tau={probe.tau:g}: class {index} of {logits.size} is the largest"
        yield _rate_of(probe, description, "sample", first, float(chance), second)


def _sample_draws(probe: _Probe, difference: float) -> Iterator[MaskedOutput]:
    """For two classes: rates at which a soft sample, or a gradient, is above a threshold."""
    tau, w = probe.tau, min(_THRESHOLD_LOGIT, _MAX_SCALED_LOGIT / probe.tau)
    if not probe.hard:
        got, again = (probe.of_class(probe.answer(), 0) for _ in range(2))
        for sign in (1.0, -1.0):
            threshold, chance = _logistic(sign * w), _logistic(difference - tau * sign * w)
            first, second = ((y > threshold).astype(float) for y in (got, again))
            description = f"with tau={tau:g}: 1 of 2 above {threshold:g}"
            yield _rate_of(probe, description, "sample", first, chance, second)
    cotangent = np.zeros(probe.shape)
    cotangent[tuple(0 if k == probe.axis else slice(None) for k in range(cotangent.ndim))] = 1.0
    (gradient,) = probe.trial.trial_of(probe.trial.case).input_gradients(cotangent)
    if gradient is None or (w < _THRESHOLD_LOGIT and probe.trial.precision.is_half):
        return  # so close to the maximum that roundings of half precision decide
    # p₀p₁/τ is above σ(w)σ(−w)/τ where p₀ is between σ(−w) and σ(w).
    threshold = _logistic(w) * _logistic(-w) / tau
    chance = _logistic(difference + tau * w) - _logistic(difference - tau * w)
    for index, sign in ((0, 1.0), (1, -1.0)):
        above = (sign * probe.of_class(gradient, index) > threshold).astype(float)
        description = (
            f"with tau={tau:g}: {sign:+.0f} times that of class {index} of 2 above {threshold:g}"
        )
        yield _rate_of(probe, description, "gradient of logits", above, chance)


def _rate_of(
    probe: _Probe,
    description: str,
    name: str,
    got: np.ndarray,
    chance: float,
    again: np.ndarray | None = None,
) -> MaskedOutput:
    got, again = got.reshape(-1), None if again is None else again.reshape(-1)
    ones, everywhere = (
        exact_operand(np.ones(got.shape), probe.trial.precision),
        np.ones(got.shape, bool),
    )
    slack = _slack(probe.trial.precision, probe.tau)
    return MaskedOutput(
        description, name, got, ones, 0.0, everywhere, chance, second_call=again, slack=slack
    )


def _slack(precision: Any, tau: float) -> float:
    """Largest change of a probability by roundings.

    These errors are in units of L, for each of the two classes. The exponential number errs by u,
    and its logarithm by u·|g|. Sum and quotient err by u·|l + g| each. The sample at these
    thresholds errs by τ·6u, the gradient by 7τu. As |l| ≤ 1 and |threshold| ≤ 2, one |g| is at most
    the other's + 3. That makes u(15 + 6|g| + 14τ) on each side of the threshold. The mean of |g| is
    about 1, the density of g at most 1/e.
    """
    return float(2 / math.e * precision.unit * (21 + 14 * min(tau, 2.0)))


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
