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
from conformance.arithmetic.rounded import (
    ORACLE_UNIT,
    Rounded,
    choose,
    exact_operand,
    with_pullback,
)
from conformance.oracles.loss.reductions import common_shape, reduce_losses, with_special_values

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
            losses = input - target * _log_plus_eps(input, eps)
        if full:
            losses = losses + _stirling(target)
        return reduce_losses(with_special_values(losses, input), reduction)


def _log_plus_eps(x: Rounded, eps: float) -> Rounded:
    """log(x + eps), where x + eps may be stored in the dtype.

    eps prevents log(0), which it cannot if it is rounded to 0 itself. So eps counts as a constant
    of the wide precision, and only the sum is rounded to the dtype.
    """
    outer = x.precision
    wide = widened(x)
    shifted = wide + constant(eps, wide)
    if wide.precision != outer:
        shifted = shifted.with_error(shifted.error + (outer.unit + ORACLE_UNIT) * shifted.abs_bound)
    return stored(log(shifted), outer)


def _stirling(y: Rounded) -> Rounded:
    """y·log y − y + ½·log(2π·y) for targets above 1, else 0."""
    above = y.value > 1
    two = exact_operand(np.full(y.shape, 2.0), y.precision)
    safe = choose(above, y, two)
    half = constant(0.5, y) * log(irrational(2 * math.pi, y) * safe)
    approximation = safe * log(safe) - safe + half
    return choose(above, approximation, exact_operand(np.zeros(y.shape), y.precision))


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
    variance = _expand_variance(var, input.shape)
    with np.errstate(all="ignore"):
        floor = maximum(variance.detached, constant(eps, var))
        clamped = with_pullback(floor, [variance], lambda cotangent: [cotangent])
        scaled_square = ratio(square(input - target), clamped)
        losses = constant(0.5, input) * (log(clamped) + scaled_square)
        if full:
            losses = losses + irrational(0.5 * math.log(2 * math.pi), input)
        return reduce_losses(with_special_values(losses, input, target), reduction)


def _expand_variance(var: Rounded, input: Shape) -> Rounded:
    """Append an axis of length 1 to variances that lack the last axis."""
    if len(var.shape) == len(input) - 1:
        return var.map(lambda array: array[..., np.newaxis])
    return var


def gaussian_nll_loss_shape(
    input: Shape, target: Shape, var: Shape, *, reduction: str = "mean", **unused: Any
) -> tuple[Shape, ...]:
    """(); without reduction the input's shape."""
    return common_shape(input, reduction=reduction)
