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
  dtype, and in the backward pass the gradients of the scores, too (`kept`).
- Backward pass. D = Σ_j p·∂p, or D = Σ_e o·∂o of the output, which may be the stored one. The
  weights may be recomputed as e^(s − ℓ) from a stored ℓ = max + log Σe^(s − max), which is rounded
  to the digits that ℓ itself has.
"""

from __future__ import annotations

import math

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.half_precision import kept
from conformance.arithmetic.reductions import log_sum_exp, softmax, total
from conformance.arithmetic.rounded import OWN, Rounded, choose, multilinear, traced

BLOCK = 16
"""Smallest number of keys in a block: the smallest tile of a matrix unit."""


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…, L, E), (…, S, E) → (…, L, S)."""
    return np.asarray(a @ b.swapaxes(-1, -2))


def _weighed(p: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(…, L, S), (…, S, E) → (…, L, E)."""
    return np.asarray(p @ v)


def _gathered(p: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(…, L, S), (…, L, E) → (…, S, E)."""
    return np.asarray(p.swapaxes(-1, -2) @ c)


def scaled_scores(query: Rounded, key: Rounded, scale: float | None) -> Rounded:
    """scale·QKᵀ, (…, L, E) and (…, S, E) → (…, L, S); a scale of None is 1/√E."""
    width = query.shape[-1]
    factor = 1 / math.sqrt(width) if scale is None else scale
    apart = 0.0 if math.frexp(math.sqrt(abs(factor)))[0] in (0.0, 0.5) else 4.0

    def scaled(products: Rounded) -> Rounded:
        times = products.bare * constant(factor, products)
        size = products.size if products.magnitude is None else products.magnitude
        unit = products.precision.unit + OWN
        more = apart * unit * abs(factor) * size
        # Each of the four roundings may underflow instead.
        least = 4 * products.precision.underflow * (more > 0)
        return times.with_error(times.error + more + least)

    result = scaled(multilinear(_dot, query.bare, key.bare, terms=max(width, 1)))
    result = result.with_error(result.error + _lost_before(query, key, factor))
    # An operand that is scaled beforehand may overflow.
    most = query.precision.largest / max(abs(factor), math.sqrt(abs(factor)), 1.0)
    rows = np.asarray((query.reach > most).any(axis=-1, keepdims=True))
    columns = np.asarray((key.reach > most).any(axis=-1, keepdims=True))
    over = rows | columns.swapaxes(-1, -2)
    if over.any():
        result = result.with_error(np.where(over, np.inf, result.error))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c, rows, columns = cotangent.bare, *result.shape[-2:]
        by_query = multilinear(_weighed, c, key.bare, terms=max(columns, 1))
        by_key = multilinear(_gathered, c, query.bare, terms=max(rows, 1))
        pulled = (scaled(x) for x in (by_query, by_key))
        missing = np.isnan(c.value) & (c.error == 0)
        return [settle_nan(x, np.nan if missing.any() else 0.0) for x in pulled]

    return traced(result, [query, key], pull)


def _lost_before(query: Rounded, key: Rounded, factor: float) -> np.ndarray | float:
    """Error of scores whose operands underflow when they are scaled beforehand."""
    root, precision = math.sqrt(abs(factor)), query.precision
    least = precision.normal / min(root, abs(factor), 1.0) if factor else 0.0

    def lost(x: Rounded) -> np.ndarray:
        small = (x.size > 0) & (x.size < least)
        return np.where(small, precision.underflow * max(root, 1.0), 0.0)

    rows, columns = lost(query), lost(key)
    if not (rows.any() or columns.any()):
        return 0.0
    return np.asarray(_dot(rows, key.size) + _dot(query.size, columns))


def masked_scores(
    scores: Rounded, mask: Rounded | None, allowed: np.ndarray
) -> tuple[Rounded, np.ndarray]:
    """Scores plus mask, −∞ for forbidden keys; and which rows attend to nothing, (…, L, 1).

    The scores of a row that attends to nothing stay finite: `attended` handles such rows.

    Args:
        scores: (…, L, S).
        mask: finite numbers to add; None = none.
        allowed: which query may attend to which key; broadcasts against the scores.
    """
    open_ = np.broadcast_to(allowed, scores.shape)
    empty = np.asarray(~open_.any(axis=-1, keepdims=True))
    if scores.shape[-1] == 0:
        empty = np.zeros_like(empty)  # a sum of nothing is 0, and nothing was masked
    added = scores if mask is None else scores + mask
    shut = ~open_ & ~empty
    if not shut.any():
        return added, empty
    # −∞ may be added, as documented, or replace the score: ∞ plus −∞ is NaN.
    certain = shut & np.isfinite(added.error)
    masked = Rounded(
        np.where(shut, -np.inf, added.value), np.where(certain, 0.0, added.error), added.precision
    )

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        # In a row beyond the range even the gradient 0 of masked scores is uncertain.
        none = shut & np.isfinite(cotangent.error)
        value, error = (
            np.where(x, 0.0, y)
            for x, y in zip((shut, none), (cotangent.value, cotangent.error), strict=True)
        )
        return [Rounded(value, error, cotangent.precision)]

    return traced(masked, [added], pull), empty


def weights(scores: Rounded) -> Rounded:
    """softmax along the keys, all of them at once or block by block."""
    p = softmax(scores.bare, -1)
    further = max(-(-scores.shape[-1] // BLOCK) - 1, 0)
    step = (2 * p.precision.ulp("exp") + 1) * (p.precision.unit + OWN)
    more = further * step * p.reach if further else 0.0
    error = np.where(p.error > 0, p.error + more, p.error)
    # A masked key has the weight 0; the only key that is not masked has e^(s − s)/e^(s − s) = 1.
    known = np.isfinite(scores.error).all(axis=-1, keepdims=True)
    hidden = np.isneginf(scores.value) & (scores.error == 0) & known
    alone = (np.count_nonzero(~hidden, axis=-1, keepdims=True) == 1) & ~hidden & known
    error = np.where(hidden | alone, 0.0, error)
    return p.with_error(np.where(np.isnan(error), np.inf, error))


def attended(
    scores: Rounded, value: Rounded, empty: np.ndarray, nothing: float
) -> tuple[Rounded, Rounded]:
    """The weights (…, L, S) and the values weighted by them (…, L, E).

    Args:
        scores: (…, L, S), from `masked_scores`.
        value: (…, S, E).
        empty: rows (…, L, 1) that attend to nothing.
        nothing: the weights in such a row: 0, or NaN.
    """
    plain = weights(scores)
    gap = Rounded(np.full(plain.shape, nothing), np.zeros(plain.shape), plain.precision)
    plain = choose(empty, gap, plain) if empty.any() else plain
    count = max(scores.shape[-1], 1)

    def softened(cotangent: Rounded, inner: Rounded, p: Rounded) -> Rounded:
        # p·(∂p − D), or p·∂p − p·D, which rounds both products.
        centred = p * (cotangent.bare - inner)
        apart = cotangent.bare * p - p * inner
        slope = centred.with_error(np.maximum(centred.error, apart.error))
        return settle_nan(kept(slope), nothing)

    def pull_weights(cotangent: Rounded) -> list[Rounded | None]:
        p = kept(plain)
        return [softened(cotangent, total(cotangent.bare * p, -1, keepdims=True), p)]

    p, anew = kept(plain), _anew(plain, scores, empty)
    output = _undivided(multilinear(_weighed, p.bare, value.bare, terms=count), scores, value)
    output = settle_nan(output, nothing)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.bare
        by_weight = multilinear(_dot, c, value.bare, terms=max(value.shape[-1], 1))
        by_value = multilinear(_gathered, anew, c, terms=max(scores.shape[-2], 1))
        inner = total(by_weight.bare * anew, -1, keepdims=True)
        short = total(c * kept(output), -1, keepdims=True)
        inner = inner.with_error(np.maximum(inner.error, short.error))
        return [softened(by_weight, inner, anew), settle_nan(by_value, nothing)]

    return (
        traced(settle_nan(plain, nothing), [scores], pull_weights),
        traced(output, [scores, value], pull),
    )


def _undivided(output: Rounded, scores: Rounded, value: Rounded) -> Rounded:
    """Leave the output open where Σ_j |v_j| over the attended keys overflows."""
    takes_part = ~(np.isneginf(scores.value) & (scores.error == 0))
    with np.errstate(over="ignore", invalid="ignore"):
        most = _weighed(takes_part.astype(float), value.reach)
    over = most > value.precision.largest
    return output.with_error(np.where(over, np.inf, output.error)) if over.any() else output


def _anew(p: Rounded, scores: Rounded, empty: np.ndarray) -> Rounded:
    """The weights recomputed as e^(s − ℓ); `p` already has the error inherited from the scores."""
    if not p.shape[-1]:
        return p
    exact = Rounded(scores.value, np.zeros(scores.shape), scores.precision)
    logs = log_sum_exp(exact, -1, keepdims=True)
    with np.errstate(invalid="ignore"):
        distance = np.where(np.isfinite(scores.value), np.abs(scores.value - logs.value), 0.0)
    unit = p.precision.unit + OWN
    # Where ℓ equals the maximum exactly, s − ℓ is s − max.
    certain = (logs.error == 0) | empty
    off = np.where(certain, 0.0, np.expm1(logs.error + unit * distance))
    again = 2 * p.precision.ulp("exp") * unit
    more = np.where(certain, 0.0, (off + again) * p.reach)
    return kept(p.with_error(np.where(p.size > 0, p.error + more, p.error)))


def settle_nan(x: Rounded, nothing: float) -> Rounded:
    """Make the NaN of empty rows exact; any other NaN comes from overflow and stays open."""
    lost = np.isnan(x.value)
    if not lost.any():
        return x
    return x.with_error(np.where(lost, 0.0 if np.isnan(nothing) else np.inf, x.error))


def either(zero: Rounded, missing: Rounded, empty: np.ndarray) -> Rounded | Choices:
    """Both answers for queries that attend to nothing, which the documentation leaves open.

    The formula gives NaN; kernels that skip masked keys give 0.

    Args:
        zero, missing: the answers with 0 and with NaN.
        empty: rows that attend to nothing.
    """
    return Choices((zero, missing)) if empty.any() else zero
