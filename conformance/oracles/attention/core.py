"""softmax(scale·QKᵀ + mask)V with its bound, its gradients, and rows that attend to nothing.

The bounds cover all usual algorithms:

- Scores. (√s·q)·(√s·k) rounds each product four times more than s·(q·k): both square roots, and
  both products of an operand with its root. Where √s is a power of two neither rounds. The
  gradients round in the same way. Scaling one operand beforehand, s·∂, rounds each product once,
  which is less.
- Weights. Algorithms that process the keys in blocks (FlashAttention) multiply their partial sums
  by e^(old maximum − new maximum) at each further block: one exponential and one product. The
  exponents are monotonic, so their differences round by no more than s − max does. The sums of
  values are divided at the end: until then each value has a weight up to 1, and the sum may
  overflow.
- Half precision. These algorithms store the weights in the dtype, for a product of matrices of that
  dtype, and in the backward pass the gradients of the scores, too (`saved_for_backward`).
- Backward pass. D = Σ_j p·∂p, or D = Σ_e o·∂o of the output, which may be the stored one. The
  weights may be recomputed as e^(s − ℓ) from a stored ℓ = max + log Σe^(s − max), which is rounded
  to the digits that ℓ itself has.
"""

from __future__ import annotations

import math

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.half_precision import saved_for_backward
from conformance.arithmetic.reductions import log_sum_exp, softmax, total
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, choose, multilinear, with_pullback

BLOCK = 16
"""Smallest number of keys in a block: the smallest tile of a matrix unit."""


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…, L, E), (…, S, E) → (…, L, S)."""
    return np.asarray(a @ b.swapaxes(-1, -2))


def _weighted_values(p: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(…, L, S), (…, S, E) → (…, L, E)."""
    return np.asarray(p @ v)


def _weighted_cotangents(p: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(…, L, S), (…, L, E) → (…, S, E)."""
    return np.asarray(p.swapaxes(-1, -2) @ c)


def scaled_scores(query: Rounded, key: Rounded, scale: float | None) -> Rounded:
    """scale·QKᵀ, (…, L, E) and (…, S, E) → (…, L, S); a scale of None is 1/√E."""
    width = query.shape[-1]
    factor = 1 / math.sqrt(width) if scale is None else scale
    extra_roundings = 0.0 if math.frexp(math.sqrt(abs(factor)))[0] in (0.0, 0.5) else 4.0

    def scale_products(products: Rounded) -> Rounded:
        product = products.detached * constant(factor, products)
        size = products.abs_value if products.magnitude is None else products.magnitude
        unit = products.precision.unit + ORACLE_UNIT
        scaling_error = extra_roundings * unit * abs(factor) * size
        # Each of the four roundings may underflow instead.
        underflow = 4 * products.precision.underflow * (scaling_error > 0)
        return product.with_error(product.error + scaling_error + underflow)

    result = scale_products(multilinear(_dot, query.detached, key.detached, terms=max(width, 1)))
    result = result.with_error(result.error + _underflow_before_scaling(query, key, factor))
    # An operand that is scaled beforehand may overflow.
    limit = query.precision.largest / max(abs(factor), math.sqrt(abs(factor)), 1.0)
    rows = np.asarray((query.abs_bound > limit).any(axis=-1, keepdims=True))
    columns = np.asarray((key.abs_bound > limit).any(axis=-1, keepdims=True))
    overflows = rows | columns.swapaxes(-1, -2)
    if overflows.any():
        result = result.with_error(np.where(overflows, np.inf, result.error))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c, rows, columns = cotangent.detached, *result.shape[-2:]
        by_query = multilinear(_weighted_values, c, key.detached, terms=max(columns, 1))
        by_key = multilinear(_weighted_cotangents, c, query.detached, terms=max(rows, 1))
        gradients = (scale_products(x) for x in (by_query, by_key))
        certain_nan = np.isnan(c.value) & (c.error == 0)
        return [settle_nan(x, np.nan if certain_nan.any() else 0.0) for x in gradients]

    return with_pullback(result, [query, key], pull)


def _underflow_before_scaling(query: Rounded, key: Rounded, factor: float) -> np.ndarray | float:
    """Error of scores whose operands underflow when they are scaled beforehand."""
    root, precision = math.sqrt(abs(factor)), query.precision
    smallest = precision.normal / min(root, abs(factor), 1.0) if factor else 0.0

    def underflow_error(x: Rounded) -> np.ndarray:
        small = (x.abs_value > 0) & (x.abs_value < smallest)
        return np.where(small, precision.underflow * max(root, 1.0), 0.0)

    rows, columns = underflow_error(query), underflow_error(key)
    if not (rows.any() or columns.any()):
        return 0.0
    return np.asarray(_dot(rows, key.abs_value) + _dot(query.abs_value, columns))


def masked_scores(
    scores: Rounded, mask: Rounded | None, allowed: np.ndarray
) -> tuple[Rounded, np.ndarray]:
    """Scores plus mask, −∞ for forbidden keys; and which rows attend to nothing, (…, L, 1).

    The scores of a row that attends to nothing stay finite: `attend` handles such rows.

    Args:
        scores: (…, L, S).
        mask: finite numbers to add; None = none.
        allowed: which query may attend to which key; broadcasts against the scores.
    """
    attendable = np.broadcast_to(allowed, scores.shape)
    empty = np.asarray(~attendable.any(axis=-1, keepdims=True))
    if scores.shape[-1] == 0:
        empty = np.zeros_like(empty)  # a sum of nothing is 0, and nothing was masked
    masked_sum = scores if mask is None else scores + mask
    forbidden = ~attendable & ~empty
    if not forbidden.any():
        return masked_sum, empty
    # −∞ may be added, as documented, or replace the score: ∞ plus −∞ is NaN.
    certain = forbidden & np.isfinite(masked_sum.error)
    masked = Rounded(
        np.where(forbidden, -np.inf, masked_sum.value),
        np.where(certain, 0.0, masked_sum.error),
        masked_sum.precision,
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # In a row beyond the range even the gradient 0 of masked scores is uncertain.
        certain_zero = forbidden & np.isfinite(cotangent.error)
        error = np.where(certain_zero, 0.0, cotangent.error)
        # NaN from another row goes on where −∞ is added, and ends where it replaces the score.
        error = np.where(forbidden & np.isnan(cotangent.value), np.inf, error)
        return [Rounded(np.where(forbidden, 0.0, cotangent.value), error, cotangent.precision)]

    return with_pullback(masked, [masked_sum], pull), empty


def attention_weights(scores: Rounded) -> Rounded:
    """softmax along the keys, all of them at once or block by block."""
    p = softmax(scores.detached, -1)
    more_blocks = max(-(-scores.shape[-1] // BLOCK) - 1, 0)
    block_error = (2 * p.precision.ulp("exp") + 1) * (p.precision.unit + ORACLE_UNIT)
    blocks_error = more_blocks * block_error * p.abs_bound if more_blocks else 0.0
    error = np.where(p.error > 0, p.error + blocks_error, p.error)
    # A masked key has the weight 0; the only key that is not masked has e^(s − s)/e^(s − s) = 1.
    certain_rows = np.isfinite(scores.error).all(axis=-1, keepdims=True)
    masked = np.isneginf(scores.value) & (scores.error == 0) & certain_rows
    single_key = (np.count_nonzero(~masked, axis=-1, keepdims=True) == 1) & ~masked & certain_rows
    error = np.where(masked | single_key, 0.0, error)
    return p.with_error(np.where(np.isnan(error), np.inf, error))


def attend(
    scores: Rounded, value: Rounded, empty: np.ndarray, empty_weight: float
) -> tuple[Rounded, Rounded]:
    """The weights (…, L, S) and the values weighted by them (…, L, E).

    Args:
        scores: (…, L, S), from `masked_scores`.
        value: (…, S, E).
        empty: rows (…, L, 1) that attend to nothing.
        empty_weight: the weights in such a row: 0, or NaN.
    """
    softmax_weights = attention_weights(scores)
    empty_weights = Rounded(
        np.full(softmax_weights.shape, empty_weight),
        np.zeros(softmax_weights.shape),
        softmax_weights.precision,
    )
    softmax_weights = (
        choose(empty, empty_weights, softmax_weights) if empty.any() else softmax_weights
    )
    count = max(scores.shape[-1], 1)

    def softmax_gradient(cotangent: Rounded, inner: Rounded, p: Rounded) -> Rounded:
        # p·(∂p − D), or p·∂p − p·D, which rounds both products.
        centred = p * (cotangent.detached - inner)
        expanded = cotangent.detached * p - p * inner
        slope = centred.with_error(np.maximum(centred.error, expanded.error))
        return settle_nan(saved_for_backward(slope), empty_weight)

    def pull_weights(cotangent: Rounded) -> list[Rounded | None]:
        p = saved_for_backward(softmax_weights)
        return [softmax_gradient(cotangent, total(cotangent.detached * p, -1, keepdims=True), p)]

    p, recomputed = (
        saved_for_backward(softmax_weights),
        _recomputed_weights(softmax_weights, scores, empty),
    )
    output = _undecided_on_overflow(
        multilinear(_weighted_values, p.detached, value.detached, terms=count), scores, value
    )
    output = settle_nan(output, empty_weight)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.detached
        by_weight = multilinear(_dot, c, value.detached, terms=max(value.shape[-1], 1))
        by_value = multilinear(_weighted_cotangents, recomputed, c, terms=max(scores.shape[-2], 1))
        inner = total(by_weight.detached * recomputed, -1, keepdims=True)
        from_output = total(c * saved_for_backward(output), -1, keepdims=True)
        inner = inner.with_error(np.maximum(inner.error, from_output.error))
        return [softmax_gradient(by_weight, inner, recomputed), settle_nan(by_value, empty_weight)]

    return (
        with_pullback(settle_nan(softmax_weights, empty_weight), [scores], pull_weights),
        with_pullback(output, [scores, value], pull),
    )


def _undecided_on_overflow(output: Rounded, scores: Rounded, value: Rounded) -> Rounded:
    """Leave the output open where Σ_j |v_j| over the attended keys overflows."""
    takes_part = ~(np.isneginf(scores.value) & (scores.error == 0))
    with np.errstate(over="ignore", invalid="ignore"):
        largest = _weighted_values(takes_part.astype(float), value.abs_bound)
    overflows = largest > value.precision.largest
    return (
        output.with_error(np.where(overflows, np.inf, output.error)) if overflows.any() else output
    )


def _recomputed_weights(p: Rounded, scores: Rounded, empty: np.ndarray) -> Rounded:
    """The weights recomputed as e^(s − ℓ); `p` already has the error inherited from the scores."""
    if not p.shape[-1]:
        return p
    exact = Rounded(scores.value, np.zeros(scores.shape), scores.precision)
    logs = log_sum_exp(exact, -1, keepdims=True)
    with np.errstate(invalid="ignore"):
        distance = np.where(np.isfinite(scores.value), np.abs(scores.value - logs.value), 0.0)
    unit = p.precision.unit + ORACLE_UNIT
    # Where ℓ equals the maximum exactly, s − ℓ is s − max.
    certain = (logs.error == 0) | empty
    exponent_error = np.where(certain, 0.0, np.expm1(logs.error + unit * distance))
    exponential_error = 2 * p.precision.ulp("exp") * unit
    recomputing_error = np.where(certain, 0.0, (exponent_error + exponential_error) * p.abs_bound)
    return saved_for_backward(
        p.with_error(np.where(p.abs_value > 0, p.error + recomputing_error, p.error))
    )


def settle_nan(x: Rounded, empty_weight: float) -> Rounded:
    """Make the NaN of empty rows exact; any other NaN comes from overflow and stays open."""
    is_nan = np.isnan(x.value)
    if not is_nan.any():
        return x
    return x.with_error(np.where(is_nan, 0.0 if np.isnan(empty_weight) else np.inf, x.error))


def zero_or_nan(zero: Rounded, nan: Rounded, empty: np.ndarray) -> Rounded | Choices:
    """Both answers for queries that attend to nothing, which the documentation leaves open.

    The formula gives NaN; kernels that skip masked keys give 0.

    Args:
        zero, nan: the answers with 0 and with NaN.
        empty: rows that attend to nothing.
    """
    return Choices((zero, nan)) if empty.any() else zero
