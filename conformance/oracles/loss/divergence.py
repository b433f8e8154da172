"""KLDivLoss and functional.kl_div.

Source: the page torch.nn.KLDivLoss of the PyTorch documentation.

In half precision torch stores each step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.elementary import exp, log
from conformance.arithmetic.rounded import Rounded, choose, exactly
from conformance.oracles.loss.reductions import (
    loosest,
    reduced,
    settled,
    without_slope,
)

State = Mapping[str, Rounded]


def kl_div(
    state: State,
    input: Rounded,
    target: Rounded,
    *,
    reduction: str = "mean",
    log_target: bool = False,
) -> Rounded:
    """y·(log y − x), or e^y·(y − x) with `log_target`; "batchmean" is Σ/N."""
    with np.errstate(all="ignore"):
        losses = _of_logarithms(input, target) if log_target else _of_numbers(input, target)
    samples = float(input.shape[0]) if input.shape else 1.0
    return reduced(losses, reduction, samples if reduction == "batchmean" else None)


def _of_logarithms(input: Rounded, target: Rounded) -> Rounded:
    probability = exp(target)
    found = probability * (target - input)
    return settled(found, input, where=probability.value > probability.error)


def _of_numbers(input: Rounded, target: Rounded) -> Rounded:
    """y·log y − y·x, or the printed y·(log y − x). 0·log 0 is 0 and has no slope.

    Where y = 0, NaN and infinities of x may or may not reach the loss: it is left open.
    """
    nothing = target.value == 0
    target = without_slope(target, nothing)
    one = exactly(np.ones(target.shape), target.precision)
    logarithm = log(choose(nothing, one, target))
    apart = target * logarithm - target * input
    return settled(
        loosest(apart, target * (logarithm - input)), input, where=~nothing & (target.value > 0)
    )
