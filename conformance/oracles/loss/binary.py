"""BCELoss, BCEWithLogitsLoss, and their functions.

Sources: the pages torch.nn.BCELoss and torch.nn.BCEWithLogitsLoss of the PyTorch documentation.

In half precision torch stores each step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.activations import sigmoid
from conformance.arithmetic.choices import maximum
from conformance.arithmetic.elementary import absolute, constant, exp, log, log1p
from conformance.arithmetic.rounded import Rounded, choose, unbroadcast, with_pullback
from conformance.arithmetic.smooth import softplus
from conformance.oracles.forms import module_oracle
from conformance.oracles.loss.reductions import (
    cover_forms,
    reduce_losses,
    weight_losses,
    with_special_values,
)

State = Mapping[str, Rounded]

_MIN_LOG = -100.0
# torch's gradient divides by x·(1 − x), but by at least this number; that is not documented.
_MIN_VARIANCE = 1e-12


def binary_cross_entropy(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    reduction: str = "mean",
) -> Rounded:
    """−w·[y·log x + (1 − y)·log(1 − x)], no logarithm below −100."""
    one = constant(1.0, input)
    mean = float(input.value.size) if reduction == "mean" else 1.0
    with np.errstate(all="ignore"):
        x = input.detached
        floor = constant(_MIN_LOG, input)
        log_x = maximum(log(x), floor)
        log_complement = maximum(log1p(-x), floor)
        losses = -(target * log_x + (one - target) * log_complement)
        losses = weight_losses(losses, weight)

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            with np.errstate(all="ignore"):
                return [
                    _input_gradient(x, target.detached, cotangent.detached, weight, mean),
                    cotangent,
                ]

        return reduce_losses(with_pullback(losses.detached, [input, losses], pull), reduction)


bce_loss = module_oracle(binary_cross_entropy, "weight")


def _input_gradient(
    x: Rounded, y: Rounded, cotangent: Rounded, weight: Rounded | None, count: float
) -> Rounded:
    """The slope times the cotangent times the weight, in either order.

    Args:
        x, y: input and target.
        cotangent: that of the weighted losses.
        weight: None = no weight.
        count: number of losses; torch divides a mean's gradient by it last, after a possible
            overflow.
    """
    slope, clamped = _loss_slope(x, y)
    quotient = ((x - y) * cotangent) / (x * (constant(1.0, x) - x))
    if weight is None:
        gradient = slope * cotangent
    else:
        gradient, quotient = slope * (cotangent * weight.detached), quotient * weight.detached
    gradient = cover_forms(gradient, choose(clamped, gradient, quotient))
    overflows = gradient.abs_bound * count > x.precision.largest
    return gradient.with_error(np.where(overflows, np.inf, gradient.error))


def _loss_slope(x: Rounded, y: Rounded) -> tuple[Rounded, np.ndarray]:
    """(x − y)/(x·(1 − x)), or (1 − y)/(1 − x) − y/x.

    Close to 0 and 1, torch divides by a larger number. If the target equals that end, any slope
    from 0 to ±1 is right; else the slope is left open. The second result is True at such elements.
    """
    one = constant(1.0, x)
    complement = one - x
    variance = x * complement
    slope = cover_forms((x - y) / variance, (one - y) / complement - y / x)
    # Rounded twice in bfloat16, the product errs by 1 part in 128.
    clamped = x.value * (1.0 - x.value) < (1 + 2.0**-7) * _MIN_VARIANCE
    low = clamped & (x.value < 0.5) & (y.value == 0)
    high = clamped & (x.value >= 0.5) & (y.value == 1)
    value = np.where(clamped, np.where(low, 0.5, np.where(high, -0.5, 0.0)), slope.value)
    # 1/(1 − d) at the distance d from the end, 1 + d to first order, rounded.
    distance = np.minimum(np.abs(x.value), np.abs(1.0 - x.value))
    half_range = 0.5 + 2 * distance + 4 * x.precision.unit
    error = np.where(clamped, np.where(low | high, half_range, np.inf), slope.error)
    return Rounded(value, error, x.precision), clamped


def binary_cross_entropy_with_logits(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    pos_weight: Rounded | None = None,
    *,
    reduction: str = "mean",
) -> Rounded:
    """−w·[p·y·log σ(x) + (1 − y)·log(1 − σ(x))]; −log σ(x) is log(1 + e⁻ˣ).

    Other forms are (1 − y)·x + (1 + (p − 1)·y)·log(1 + e⁻ˣ) and
    max(x, 0) − x·y + log(1 + e^−|x|), which cancel.
    """
    one = constant(1.0, input)
    with np.errstate(all="ignore"):
        x, y = input.detached, target
        positive = y if pos_weight is None else y * pos_weight
        complement = one - y
        loss_of_positive, loss_of_negative = softplus(-x), softplus(x)
        direct = positive * loss_of_positive + complement * loss_of_negative
        factor = one if pos_weight is None else one + (pos_weight - one) * y
        alternatives = [complement * x + factor * loss_of_positive]
        if pos_weight is None:
            zero = constant(0.0, x)
            alternatives.append((maximum(x, zero) - x * y) + log1p(exp(-absolute(x))))
        unreduced = cover_forms(direct, *alternatives)

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            with np.errstate(all="ignore"):
                slope = _slope_of_logits(x, y.detached, positive.detached)
                return [unbroadcast(slope * cotangent.detached, input.shape), cotangent]

        # With infinite logits one form gives NaN where another gives a limit.
        losses = with_special_values(
            with_pullback(unreduced.detached, [input, unreduced], pull), x, where=np.isnan(x.value)
        )
        return reduce_losses(weight_losses(losses, weight), reduction)


bce_with_logits_loss = module_oracle(binary_cross_entropy_with_logits, "weight", "pos_weight")


def _slope_of_logits(x: Rounded, y: Rounded, positive: Rounded) -> Rounded:
    """(1 − y)·σ(x) − p·y·σ(−x), or (p·y + 1 − y)·σ(x) − p·y, where p·y + 1 is computed first."""
    one = constant(1.0, x)
    up, down, complement = sigmoid(x), sigmoid(-x), one - y
    return cover_forms(
        complement * up - positive * down,
        ((positive + one) - y) * up - positive,
    )
