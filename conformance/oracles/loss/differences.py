"""L1Loss, MSELoss, SmoothL1Loss, HuberLoss, and their functions, some of which take weights.

Sources: the pages torch.nn.L1Loss, MSELoss, SmoothL1Loss and HuberLoss of the PyTorch
documentation, and those of their functions.

In half precision torch stores the difference and each later step. If target and input differ in
shape, torch warns and broadcasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from conformance.arithmetic.elementary import absolute, constant, square
from conformance.arithmetic.piecewise import piecewise
from conformance.arithmetic.rounded import Rounded, with_pullback
from conformance.oracles.loss.reductions import (
    cover_forms,
    reduce_losses,
    stored_sum,
    weight_losses,
    with_special_values,
)

State = Mapping[str, Rounded]
Losses = Callable[[Rounded, float], Rounded]
"""(difference, divisor of each loss's cotangent) → the losses."""


def l1_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    reduction: str = "mean",
) -> Rounded:
    """|x − y|; with weights the mean is Σ w·l ÷ Σ w."""
    return _weighted_mean(lambda d, count: absolute(d), input, target, weight, reduction)


def mse_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    reduction: str = "mean",
) -> Rounded:
    """(x − y)²; with weights the mean is Σ w·l ÷ Σ w."""
    return _weighted_mean(_square, input, target, weight, reduction)


def smooth_l1_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    *,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Rounded:
    """½(x − y)²/β where |x − y| < β, |x − y| − ½β elsewhere; |x − y| where β is 0."""

    def smooth(difference: Rounded, count: float) -> Rounded:
        if beta == 0:
            return absolute(difference)
        half_beta = _scaled_constant(beta, 0.5, difference)
        return _parabola_and_line(
            difference, beta, lambda d: _parabola(d, beta, count), lambda size: size - half_beta
        )

    return reduce_losses(_unreduced(smooth, input, target, mean=reduction == "mean"), reduction)


def huber_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    reduction: str = "mean",
    delta: float = 1.0,
) -> Rounded:
    """½(x − y)² where |x − y| < δ, δ(|x − y| − ½δ) elsewhere.

    Unlike L1 and MSE, the mean with weights is Σ w·l ÷ n.
    """

    def huber(difference: Rounded, count: float) -> Rounded:
        half_delta, slope = _scaled_constant(delta, 0.5, difference), constant(delta, difference)
        return _parabola_and_line(
            difference,
            delta,
            lambda d: _parabola(d, 1.0, count),
            lambda size: (size - half_delta) * slope,
        )

    losses = _unreduced(huber, input, target, mean=weight is None and reduction == "mean")
    return reduce_losses(weight_losses(losses, weight), reduction)


def _weighted_mean(
    formula: Losses,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None,
    reduction: str,
) -> Rounded:
    """The documentation says "the mean of the output"; torch divides by the sum of the weights."""
    losses = _unreduced(formula, input, target, mean=weight is None and reduction == "mean")
    if weight is None:
        return reduce_losses(losses, reduction)
    losses = weight_losses(losses, weight)
    if reduction != "mean":
        return reduce_losses(losses, reduction)
    with np.errstate(all="ignore"):
        return reduce_losses(losses, "sum") / stored_sum(weight)


def _unreduced(formula: Losses, input: Rounded, target: Rounded, *, mean: bool) -> Rounded:
    with np.errstate(all="ignore"):
        difference = input - target
        count = float(difference.value.size) if mean else 1.0
        return with_special_values(formula(difference, count), input, target)


def _parabola_and_line(
    difference: Rounded,
    edge: float,
    parabola: Callable[[Rounded], Rounded],
    line: Callable[[Rounded], Rounded],
) -> Rounded:
    """A parabola of the difference below an edge, a line of its absolute value beyond."""
    return piecewise(
        difference, (-edge, edge), (lambda d: line(-d), parabola, lambda d: line(d)), above=(edge,)
    )


def _square(d: Rounded, count: float) -> Rounded:
    """d², whose slope is 2d."""
    x = d.detached
    slope = x * constant(2.0, x)
    return with_pullback(
        x * x, [d], lambda cotangent: [_loss_gradient(slope, cotangent.detached, count)]
    )


def _parabola(d: Rounded, beta: float, count: float) -> Rounded:
    """½d²/β with slope d/β, for any order of halving, dividing and squaring.

    Each order may underflow at another step.
    """
    x, half, edge = d.detached, constant(0.5, d), constant(beta, d)
    squared = square(x)
    if beta == 1:
        half_square = cover_forms(squared * half, (half * x) * x)
    else:
        half_square = cover_forms(
            (squared / edge) * half, (squared * half) / edge, ((half * x) * x) / edge
        )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.detached
        if beta == 1:
            return [_loss_gradient(x, c, count)]
        return [cover_forms((c * x) / edge, _loss_gradient(x, c / edge, count))]

    return with_pullback(half_square.detached, [d], pull)


def _loss_gradient(slope: Rounded, cotangent: Rounded, count: float) -> Rounded:
    """Slope times cotangent; for a mean a kernel may first divide the slope by the count.

    That quotient may underflow, by the smallest number times the undivided cotangent.

    Args:
        slope: that of the loss.
        cotangent: that of each loss.
        count: the divisor in the cotangent.
    """
    gradient, precision = slope * cotangent, slope.precision
    may_underflow = (
        (slope.abs_value > 0) & (slope.abs_value < count * precision.normal) & (count > 1)
    )
    underflow_error = precision.underflow * count * cotangent.abs_bound
    return gradient.with_error(gradient.error + np.where(may_underflow, underflow_error, 0.0))


def _scaled_constant(value: float, power_of_two: float, like: Rounded) -> Rounded:
    """A rounded constant times a power of two."""
    return constant(value, like) * constant(power_of_two, like)
