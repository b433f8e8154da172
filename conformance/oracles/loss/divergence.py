"""KLDivLoss and functional.kl_div.

Source: the page torch.nn.KLDivLoss of the PyTorch documentation.

In half precision torch stores each step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.elementary import exp, log
from conformance.arithmetic.rounded import Rounded, choose, exact_operand
from conformance.oracles.loss.reductions import (
    cover_forms,
    reduce_losses,
    with_open_gradient,
    with_special_values,
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
        losses = _log_target_losses(input, target) if log_target else _target_losses(input, target)
    samples = float(input.shape[0]) if input.shape else 1.0
    return reduce_losses(losses, reduction, samples if reduction == "batchmean" else None)


def _log_target_losses(input: Rounded, target: Rounded) -> Rounded:
    probability = exp(target)
    losses = probability * (target - input)
    return with_special_values(losses, input, where=probability.value > probability.error)


def _target_losses(input: Rounded, target: Rounded) -> Rounded:
    """y·log y − y·x, or the printed y·(log y − x). 0·log 0 is 0 and has no slope.

    Where y = 0, NaN and infinities of x may or may not reach the loss: it is left open.
    """
    is_zero = target.value == 0
    target = with_open_gradient(target, is_zero)
    ones = exact_operand(np.ones(target.shape), target.precision)
    logarithm = log(choose(is_zero, ones, target))
    expanded = target * logarithm - target * input
    return with_special_values(
        cover_forms(expanded, target * (logarithm - input)),
        input,
        where=~is_zero & (target.value > 0),
    )
