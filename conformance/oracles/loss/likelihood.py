"""PoissonNLLLoss, GaussianNLLLoss, and their functions.

Sources: the pages torch.nn.PoissonNLLLoss and torch.nn.GaussianNLLLoss of the PyTorch
documentation.

In half precision torch stores each step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.arithmetic.choices import maximum
from conformance.arithmetic.elementary import constant, exp, irrational, log, ratio, square
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.rounded import OWN, Rounded, choose, exactly, traced
from conformance.oracles.loss.reductions import common_shape, reduced, settled

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def poisson_nll_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Rounded:
    """eˣ − y·x, or x − y·log(x + eps); `full` adds Stirling's approximation of log y!."""
    with np.errstate(all="ignore"):
        if log_input:
            losses = exp(input) - target * input
        else:
            losses = input - target * _log_above(input, eps)
        if full:
            losses = losses + _stirling(target)
        return reduced(settled(losses, input), reduction)


def _log_above(x: Rounded, eps: float) -> Rounded:
    """log(x + eps), where x + eps may be stored in the dtype.

    eps prevents log(0), which it cannot if it is rounded to 0 itself. So eps counts as a constant
    of the wide precision, and only the sum is rounded to the dtype.
    """
    outer = x.precision
    wide = widened(x)
    above = wide + constant(eps, wide)
    if wide.precision != outer:
        above = above.with_error(above.error + (outer.unit + OWN) * above.reach)
    return stored(log(above), outer)


def _stirling(y: Rounded) -> Rounded:
    """y·log y − y + ½·log(2π·y) for targets above 1, else 0."""
    above = y.value > 1
    two = exactly(np.full(y.shape, 2.0), y.precision)
    safe = choose(above, y, two)
    half = constant(0.5, y) * log(irrational(2 * math.pi, y) * safe)
    whole = safe * log(safe) - safe + half
    return choose(above, whole, exactly(np.zeros(y.shape), y.precision))


def gaussian_nll_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    var: Rounded,
    *,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Rounded:
    """½·(log v + (x − y)²/v) with v = max(var, eps); `full` adds ½·log 2π.

    The gradient ignores the clamping of v.
    """
    spread = _spread(var, input.shape)
    with np.errstate(all="ignore"):
        floor = maximum(spread.bare, constant(eps, var))
        clamped = traced(floor, [spread], lambda cotangent: [cotangent])
        apart = ratio(square(input - target), clamped)
        losses = constant(0.5, input) * (log(clamped) + apart)
        if full:
            losses = losses + irrational(0.5 * math.log(2 * math.pi), input)
        return reduced(settled(losses, input, target), reduction)


def _spread(var: Rounded, input: Shape) -> Rounded:
    """Append an axis of length 1 to variances that lack the last axis."""
    if len(var.shape) == len(input) - 1:
        return var.map(lambda array: array[..., np.newaxis])
    return var


def gaussian_nll_loss_shape(
    input: Shape, target: Shape, var: Shape, *, reduction: str = "mean", **unused: Any
) -> tuple[Shape, ...]:
    """(); without reduction the input's shape."""
    return common_shape(input, reduction=reduction)
