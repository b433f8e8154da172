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
from conformance.arithmetic.piecewise import pieces
from conformance.arithmetic.rounded import Rounded, traced
from conformance.oracles.loss.reductions import (
    added,
    loosest,
    reduced,
    settled,
    weighed,
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

    def smooth(apart: Rounded, count: float) -> Rounded:
        if beta == 0:
            return absolute(apart)
        below = _times(beta, 0.5, apart)
        return _bent(apart, beta, lambda d: _parabola(d, beta, count), lambda size: size - below)

    return reduced(_losses(smooth, input, target, mean=reduction == "mean"), reduction)


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

    def bent(apart: Rounded, count: float) -> Rounded:
        below, slope = _times(delta, 0.5, apart), constant(delta, apart)
        return _bent(
            apart,
            delta,
            lambda d: _parabola(d, 1.0, count),
            lambda size: (size - below) * slope,
        )

    losses = _losses(bent, input, target, mean=weight is None and reduction == "mean")
    return reduced(weighed(losses, weight), reduction)


def _weighted_mean(
    of: Losses,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None,
    reduction: str,
) -> Rounded:
    """The documentation says "the mean of the output"; torch divides by the sum of the weights."""
    losses = _losses(of, input, target, mean=weight is None and reduction == "mean")
    if weight is None:
        return reduced(losses, reduction)
    losses = weighed(losses, weight)
    if reduction != "mean":
        return reduced(losses, reduction)
    with np.errstate(all="ignore"):
        return reduced(losses, "sum") / added(weight)


def _losses(of: Losses, input: Rounded, target: Rounded, *, mean: bool) -> Rounded:
    with np.errstate(all="ignore"):
        apart = input - target
        count = float(apart.value.size) if mean else 1.0
        return settled(of(apart, count), input, target)


def _bent(
    apart: Rounded,
    edge: float,
    parabola: Callable[[Rounded], Rounded],
    line: Callable[[Rounded], Rounded],
) -> Rounded:
    """A parabola of the difference below an edge, a line of its absolute value beyond."""
    return pieces(
        apart, (-edge, edge), (lambda d: line(-d), parabola, lambda d: line(d)), above=(edge,)
    )


def _square(d: Rounded, count: float) -> Rounded:
    """d², whose slope is 2d."""
    x = d.bare
    twice = x * constant(2.0, x)
    return traced(x * x, [d], lambda cotangent: [_pulled(twice, cotangent.bare, count)])


def _parabola(d: Rounded, beta: float, count: float) -> Rounded:
    """½d²/β with slope d/β, for any order of halving, dividing and squaring.

    Each order may underflow at another step.
    """
    x, half, edge = d.bare, constant(0.5, d), constant(beta, d)
    squared = square(x)
    if beta == 1:
        found = loosest(squared * half, (half * x) * x)
    else:
        found = loosest((squared / edge) * half, (squared * half) / edge, ((half * x) * x) / edge)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.bare
        if beta == 1:
            return [_pulled(x, c, count)]
        return [loosest((c * x) / edge, _pulled(x, c / edge, count))]

    return traced(found.bare, [d], pull)


def _pulled(slope: Rounded, cotangent: Rounded, count: float) -> Rounded:
    """Slope times cotangent; for a mean a kernel may first divide the slope by the count.

    That quotient may underflow, by the smallest number times the undivided cotangent.

    Args:
        slope: that of the loss.
        cotangent: that of each loss.
        count: the divisor in the cotangent.
    """
    found, precision = slope * cotangent, slope.precision
    lost = (slope.size > 0) & (slope.size < count * precision.normal) & (count > 1)
    more = precision.underflow * count * cotangent.reach
    return found.with_error(found.error + np.where(lost, more, 0.0))


def _times(value: float, power_of_two: float, like: Rounded) -> Rounded:
    """A rounded constant times a power of two."""
    return constant(value, like) * constant(power_of_two, like)
