"""Losses of ±1 labels: HingeEmbeddingLoss, MarginRankingLoss, SoftMarginLoss, and their functions.

torch composes them of kernels: in half precision each step is stored in the dtype. The oracles do
the same; a single kernel that stores once errs less.

Sources: the pages torch.nn.HingeEmbeddingLoss, MarginRankingLoss and SoftMarginLoss of the PyTorch
documentation, and those of the functions in torch.nn.functional.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.activations import sigmoid
from conformance.arithmetic.choices import maximum
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.reductions import total
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, choose, join, with_pullback
from conformance.arithmetic.smooth import softplus
from conformance.oracles.distance.vectors import broadcast
from conformance.oracles.loss.reductions import reduce_losses, with_special_values

State = Mapping[str, Rounded]


def hinge_embedding_loss(
    state: State, input: Rounded, target: Rounded, *, margin: float = 1.0, reduction: str = "mean"
) -> Rounded:
    """l = x where y = 1, max(0, margin − x) where y = −1."""
    dissimilar = hinge(constant(margin, input), -input)
    return reduce_losses(choose(target.value == 1, input, dissimilar), reduction)


def margin_ranking_loss(
    state: State,
    input1: Rounded,
    input2: Rounded,
    target: Rounded,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Rounded:
    """l = max(0, −y·(x₁ − x₂) + margin)."""
    # With y = ±1 no product rounds.
    first = choose(target.value == 1, -input1, input1)
    second = choose(target.value == 1, input2, -input2)
    return reduce_losses(hinge(first, second, constant(margin, input1)), reduction)


def soft_margin_loss(
    state: State, input: Rounded, target: Rounded, *, reduction: str = "mean"
) -> Rounded:
    """l = log(1 + e^(−y·x))."""
    return reduce_losses(_stepwise_softplus(choose(target.value == 1, -input, input)), reduction)


def hinge(*terms: Rounded) -> Rounded:
    """max(0, the sum of a few terms), with a bound for any order of the additions.

    Where the sum is 0, or its sign is uncertain, any slope between 0 and 1 is right.

    Args:
        terms: of shapes that broadcast against each other.
    """
    shape = np.broadcast_shapes(*(x.shape for x in terms))
    with np.errstate(invalid="ignore"):
        summed = total(join([broadcast(x, shape) for x in terms], 0, new_axis=True), 0)
    resolved = with_special_values(summed, *terms)
    if not all(np.isfinite(x.error).all() for x in terms):
        # A term that may have overflowed may be ∞ of either sign.
        undecided, gives_nan = np.zeros(shape, bool), np.zeros(shape, bool)
        for x in terms:
            undecided |= ~np.isfinite(x.error)
            gives_nan |= np.isnan(x.value) & (x.error == 0)
        resolved = resolved.with_error(np.where(undecided & ~gives_nan, np.inf, resolved.error))
    return maximum(resolved, constant(0.0, summed))


def _stepwise_softplus(z: Rounded) -> Rounded:
    """log(1 + e) with a stored e = eᶻ; its derivative is e/(1 + e), every step stored.

    A relative error of e is multiplied by e/(1 + e) in the logarithm.
    """
    wide = softplus(widened(z.detached))
    precision, slope = z.precision, sigmoid(widened(z.detached))
    if wide.precision != precision:
        storing_error = (precision.unit + ORACLE_UNIT) * slope.abs_bound
        storing_error = np.where(wide.error == 0, 0.0, storing_error + precision.underflow)
        wide = wide.with_error(wide.error + storing_error)
    result = stored(wide, precision)
    return with_pullback(result, [z], lambda cotangent: [cotangent * sigmoid(z.detached)])
