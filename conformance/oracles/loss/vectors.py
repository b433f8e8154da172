"""Losses of vectors: CosineEmbeddingLoss, the two triplet losses, and their functions.

In half precision torch composes them of kernels, each of which stores its result. The oracles do
the same, but in float32's range: an overflowing square of float16 is not a rounding error.

Sources: the pages torch.nn.CosineEmbeddingLoss, TripletMarginLoss and TripletMarginWithDistanceLoss
of the PyTorch documentation, and those of the functions in torch.nn.functional.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from conformance.arithmetic.choices import Choices, minimum
from conformance.arithmetic.elementary import constant, ratio, sqrt, square
from conformance.arithmetic.half_precision import stored, working_precision
from conformance.arithmetic.reductions import total
from conformance.arithmetic.rounded import Rounded, choose, with_pullback
from conformance.model.formats import FORMATS
from conformance.oracles.distance.vectors import functional_cosine_similarity, pairwise_distance
from conformance.oracles.loss.hinge import hinge
from conformance.oracles.loss.reductions import reduce_losses

State = Mapping[str, Rounded]

# torch adds this float32 number, in every dtype, to the square of each length. The page does not
# mention it.
_EPSILON = float(np.float32(1e-12))
COSINE = "cosine_similarity"
"""The other distance function, besides pairwise_distance."""


def cosine_embedding_loss(
    state: State,
    input1: Rounded,
    input2: Rounded,
    target: Rounded,
    *,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Choices:
    """l = 1 − cos(x₁, x₂) where y = 1, max(0, cos(x₁, x₂) − margin) where y = −1.

    The page does not say how a length of 0 is avoided. Two forms are right: that of
    cosine_similarity, where each length is at least 1e-8, and torch's, which adds 1e-12 to each
    square. In both a vector of zeros has the cosine 0 with any other.
    """
    a, b = _stepwise_operand(input1), _stepwise_operand(input2)
    finite = (np.isfinite(a.value) & np.isfinite(b.value)).all(-1)
    zero = finite & ~(a.value.any(-1) & b.value.any(-1))
    similar = target.value == 1
    alternatives = []
    for similarity in (functional_cosine_similarity({}, a, b, dim=-1), _cosine(a, b)):
        value, error = (np.where(zero, 0.0, x) for x in (similarity.value, similarity.error))
        zero_resolved = with_pullback(
            Rounded(value, error, a.precision), [similarity], lambda c: [c]
        )
        cosine = stored(zero_resolved, input1.precision)
        similar_loss = constant(1.0, cosine) - cosine
        dissimilar_loss = hinge(cosine, -constant(margin, cosine))
        alternatives.append(
            reduce_losses(choose(similar, similar_loss, dissimilar_loss), reduction)
        )
    return Choices(tuple(alternatives))


def _stepwise_operand(x: Rounded) -> Rounded:
    """The same operand; further steps round to the dtype, in the range of float32."""
    outer, inner = x.precision, working_precision(x.precision)
    if inner == outer:
        return x
    bits = FORMATS[outer.dtype].bits if inner.bits else 0
    steps = replace(
        inner, unit=outer.unit, underflow=max(inner.underflow, outer.underflow), bits=bits
    )
    result = Rounded(x.value, x.error, steps)
    return with_pullback(result, [x], lambda cotangent: [stored(cotangent, outer)])


def _cosine(a: Rounded, b: Rounded) -> Rounded:
    """Σab ÷ √((Σa² + ε)·(Σb² + ε)); NaN for a vector with NaN or ∞."""
    squares = [total(square(x), -1) + constant(_EPSILON, x) for x in (a, b)]
    cosine = ratio(total(a * b, -1), sqrt(squares[0] * squares[1], nonnegative=True))
    gives_nan = ~(np.isfinite(a.value) & np.isfinite(b.value)).all(-1)
    value = np.where(gives_nan, np.nan, cosine.value)
    nan_resolved = Rounded(value, np.where(gives_nan, 0.0, cosine.error), cosine.precision)
    return with_pullback(nan_resolved, [cosine], lambda cotangent: [cotangent])


def triplet_margin_loss(
    state: State,
    anchor: Rounded,
    positive: Rounded,
    negative: Rounded,
    *,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Rounded:
    """l = max(0, d(a, p) − d(a, n) + margin), d(x, y) = ‖x − y + eps‖ₚ.

    With `swap` the smaller of d(a, n) and d(p, n) replaces d(a, n). The page of PairwiseDistance
    says that eps is added to each component.
    """

    def distance(x: Rounded, y: Rounded) -> Rounded:
        return pairwise_distance({}, x, y, p=p, eps=eps)

    return _triplet_loss(distance, anchor, positive, negative, margin, swap, reduction)


def _triplet_loss(
    distance: Callable[[Rounded, Rounded], Rounded],
    anchor: Rounded,
    positive: Rounded,
    negative: Rounded,
    margin: float,
    swap: bool,
    reduction: str,
) -> Rounded:
    far = distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    near = distance(anchor, positive)
    return reduce_losses(hinge(constant(margin, near), near, -far), reduction)


def triplet_margin_with_distance_loss(
    state: State,
    anchor: Rounded,
    positive: Rounded,
    negative: Rounded,
    *,
    distance_function: str | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Rounded:
    """The triplet margin loss with any d, by default that of PairwiseDistance."""

    def distance(x: Rounded, y: Rounded) -> Rounded:
        if distance_function == COSINE:
            return functional_cosine_similarity({}, x, y)
        return pairwise_distance({}, x, y)

    return _triplet_loss(distance, anchor, positive, negative, margin, swap, reduction)


def is_cosine_distance(inputs: Sequence[np.ndarray | None]) -> bool:
    """Whether the cosine can serve as distance: for a batch without negative components.

    Args:
        inputs: those of the call.
    """
    vectors = [x for x in inputs if x is not None]
    return all(x.ndim == 2 and bool((x >= 0).all()) for x in vectors)
