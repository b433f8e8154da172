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
from conformance.arithmetic.rounded import Rounded, choose, traced, unbroadcast
from conformance.arithmetic.smooth import softplus
from conformance.oracles.forms import of_module
from conformance.oracles.loss.reductions import loosest, reduced, settled, weighed

State = Mapping[str, Rounded]

_LEAST_LOG = -100.0
# torch's gradient divides by x·(1 − x), but by at least this number; that is not documented.
_LEAST_VARIANCE = 1e-12


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
        x = input.bare
        floor = constant(_LEAST_LOG, input)
        of_one = maximum(log(x), floor)
        of_zero = maximum(log1p(-x), floor)
        bare = -(target * of_one + (one - target) * of_zero)
        bare = weighed(bare, weight)

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            with np.errstate(all="ignore"):
                return [_pulled(x, target.bare, cotangent.bare, weight, mean), cotangent]

        return reduced(traced(bare.bare, [input, bare], pull), reduction)


bce_loss = of_module(binary_cross_entropy, "weight")


def _pulled(
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
    slope, edge = _slope(x, y)
    quotient = ((x - y) * cotangent) / (x * (constant(1.0, x) - x))
    if weight is None:
        found = slope * cotangent
    else:
        found, quotient = slope * (cotangent * weight.bare), quotient * weight.bare
    found = loosest(found, choose(edge, found, quotient))
    over = found.reach * count > x.precision.largest
    return found.with_error(np.where(over, np.inf, found.error))


def _slope(x: Rounded, y: Rounded) -> tuple[Rounded, np.ndarray]:
    """(x − y)/(x·(1 − x)), or (1 − y)/(1 − x) − y/x.

    Close to 0 and 1, torch divides by a larger number. If the target equals that end, any slope
    from 0 to ±1 is right; else the slope is left open. The second result is True at such elements.
    """
    one = constant(1.0, x)
    rest = one - x
    variance = x * rest
    found = loosest((x - y) / variance, (one - y) / rest - y / x)
    # Rounded twice in bfloat16, the product errs by 1 part in 128.
    edge = x.value * (1.0 - x.value) < (1 + 2.0**-7) * _LEAST_VARIANCE
    low = edge & (x.value < 0.5) & (y.value == 0)
    high = edge & (x.value >= 0.5) & (y.value == 1)
    value = np.where(edge, np.where(low, 0.5, np.where(high, -0.5, 0.0)), found.value)
    near = 0.5 + 4 * x.precision.unit  # 1/(1 − x) of such an x, rounded
    error = np.where(edge, np.where(low | high, near, np.inf), found.error)
    return Rounded(value, error, x.precision), edge


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
        x, y = input.bare, target
        positive = y if pos_weight is None else y * pos_weight
        rest = one - y
        against, towards = softplus(-x), softplus(x)
        found = positive * against + rest * towards
        factor = one if pos_weight is None else one + (pos_weight - one) * y
        others = [rest * x + factor * against]
        if pos_weight is None:
            zero = constant(0.0, x)
            others.append((maximum(x, zero) - x * y) + log1p(exp(-absolute(x))))
        bare = loosest(found, *others)

        def pull(cotangent: Rounded) -> list[Rounded | None]:
            with np.errstate(all="ignore"):
                slope = _slope_of_logits(x, y.bare, positive.bare)
                return [unbroadcast(slope * cotangent.bare, input.shape), cotangent]

        # With infinite logits one form gives NaN where another gives a limit.
        losses = settled(traced(bare.bare, [input, bare], pull), x, where=np.isnan(x.value))
        return reduced(weighed(losses, weight), reduction)


bce_with_logits_loss = of_module(binary_cross_entropy_with_logits, "weight", "pos_weight")


def _slope_of_logits(x: Rounded, y: Rounded, positive: Rounded) -> Rounded:
    """(1 − y)·σ(x) − p·y·σ(−x), or (p·y + 1 − y)·σ(x) − p·y, where p·y + 1 is computed first."""
    one = constant(1.0, x)
    up, down, rest = sigmoid(x), sigmoid(-x), one - y
    return loosest(
        rest * up - positive * down,
        ((positive + one) - y) * up - positive,
    )
