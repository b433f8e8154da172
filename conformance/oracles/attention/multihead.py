"""MultiheadAttention.

The oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page torch.nn.MultiheadAttention and of its `forward`.

In half precision the documented composition stores the projections, before or after their bias is
added. It also stores the weights and each head's output, and where weights are returned, the scaled
query and the scores.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.half_precision import saved_for_backward, stored, widened
from conformance.arithmetic.reductions import mean
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, join, with_pullback
from conformance.model.formats import FORMATS
from conformance.oracles.attention.core import (
    attend,
    masked_scores,
    scaled_scores,
    settle_nan,
    zero_or_nan,
)
from conformance.oracles.attention.scaled_dot_product import split_mask
from conformance.oracles.linear import functional_linear

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Outputs = tuple[Rounded | Choices, Rounded | Choices | None]


def multihead_attention(
    state: State,
    query: Rounded,
    key: Rounded,
    value: Rounded,
    key_padding_mask: Rounded | None = None,
    attn_mask: Rounded | None = None,
    *,
    embed_dim: int,
    num_heads: int,
    dropout: float = 0.0,
    bias: bool = True,
    add_bias_kv: bool = False,
    add_zero_attn: bool = False,
    kdim: int | None = None,
    vdim: int | None = None,
    batch_first: bool = False,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Outputs:
    """Concat(head_1, …, head_h) W^O, head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V)."""
    precision, batched = query.precision, len(query.shape) == 3

    def to_batch_first(x: np.ndarray) -> np.ndarray:
        if not batched:
            return x[np.newaxis]
        return x if batch_first else np.asarray(x.swapaxes(0, 1))

    inputs = [x.map(to_batch_first) for x in (query, key, value)]
    parts = zip(inputs, _weights(state, embed_dim), _biases(state, embed_dim, bias), strict=True)
    q, k, v = (project(x, w, b) for x, w, b in parts)
    extra = 0
    if add_bias_kv:
        k, v = _append_position(k, state["bias_k"]), _append_position(v, state["bias_v"])
        extra += 1
    if add_zero_attn:
        zero = Rounded(np.zeros((1, 1, embed_dim)), np.zeros((1, 1, embed_dim)), precision)
        k, v = _append_position(k, zero), _append_position(v, zero)
        extra += 1
    q, k, v = (widened(_split_heads(x, num_heads)) for x in (q, k, v))
    scores = _stored_scores(scaled_scores(q, k, None), q, k)
    hinted_mask = (
        attn_mask if attn_mask is None or not is_causal else _gradient_unspecified(attn_mask)
    )
    mask_parts = [
        split_mask(expand(mask, q.shape[0], num_heads, extra))
        for mask, expand in ((hinted_mask, _attention_mask), (key_padding_mask, _key_padding_mask))
        if mask is not None
    ]
    allowed = np.ones((1, 1), bool)
    for attendable, _ in mask_parts:
        allowed = allowed & attendable
    scores = _add_masks(scores, [added for _, added in mask_parts if added is not None])
    scores, empty = masked_scores(scores, None, allowed)
    results = [
        _attend_and_project(
            scores, v, empty, empty_weight, state, embed_dim, bias, average_attn_weights
        )
        for empty_weight in ((0.0, np.nan) if empty.any() else (0.0,))
    ]
    if is_causal and not is_causal_mask(attn_mask, query.shape, key.shape, batched, batch_first):
        # With a wrong hint any answer and any gradient is right.
        results = [
            tuple(_gradient_unspecified(_unbounded(x)) for x in answers) for answers in results
        ]

    def from_batch_first(x: np.ndarray) -> np.ndarray:
        if not batched:
            return np.asarray(x[0])
        return x if batch_first else np.asarray(x.swapaxes(0, 1))

    (zero_output, zero_weights), (nan_output, nan_weights) = results[0], results[-1]
    output = zero_or_nan(zero_output.map(from_batch_first), nan_output.map(from_batch_first), empty)
    if not need_weights:
        return output, None
    unbatch = (lambda x: x) if batched else (lambda x: x[0])
    return output, zero_or_nan(zero_weights.map(unbatch), nan_weights.map(unbatch), empty)


def _weights(state: State, embed_dim: int) -> tuple[Rounded, ...]:
    """W^Q, W^K, W^V; one stacked weight where all have the same number of features."""
    if "in_proj_weight" in state:
        stacked = state["in_proj_weight"]
        return tuple(stacked[k * embed_dim : (k + 1) * embed_dim] for k in range(3))
    return tuple(state[f"{name}_proj_weight"] for name in "qkv")


def _biases(state: State, embed_dim: int, bias: bool) -> tuple[Rounded | None, ...]:
    if not bias:
        return (None,) * 3
    stacked = state["in_proj_bias"]
    return tuple(stacked[k * embed_dim : (k + 1) * embed_dim] for k in range(3))


def project(x: Rounded, weight: Rounded, bias: Rounded | None) -> Rounded:
    """x Wᵀ + b; in half precision the product may be stored before the bias is added."""
    one_step = functional_linear({}, x, weight, bias)
    if bias is None or not x.precision.is_half:
        return one_step
    product = functional_linear({}, x.detached, weight.detached, None)
    two_step_error = product.error + (x.precision.unit + ORACLE_UNIT) * (
        one_step.abs_value + product.error
    )
    return one_step.with_error(
        np.where(one_step.error == 0, 0.0, np.maximum(one_step.error, two_step_error))
    )


def _append_position(x: Rounded, row: Rounded) -> Rounded:
    """Append one position, the same for the whole batch."""
    copies = Rounded(
        np.zeros((x.shape[0], 1, x.shape[2])), np.zeros((x.shape[0], 1, x.shape[2])), x.precision
    )
    return join([x, copies + row], 1)


def _split_heads(x: Rounded, heads: int) -> Rounded:
    """(N, L, E) → (N, heads, L, E/heads)."""
    batch, length, width = x.shape
    shape = (batch, length, heads, width // heads)
    return x.map(lambda a: np.asarray(a.reshape(shape).swapaxes(1, 2)))


def _stored_scores(scores: Rounded, q: Rounded, k: Rounded) -> Rounded:
    """The scores, with the errors of storing the scaled query and the scores in half precision."""
    if not scores.precision.store:
        return scores
    unit = FORMATS[scores.precision.store].unit
    factor = q.shape[-1] ** -0.5
    size = np.abs(q.value) @ np.abs(k.value).swapaxes(-1, -2) * factor
    exact = np.frexp(factor)[0] == 0.5
    scaling_error = 0.0 if exact else unit * size
    return scores.with_error(
        saved_for_backward(scores.with_error(scores.error + scaling_error)).error
    )


def _add_masks(scores: Rounded, masks: list[Rounded]) -> Rounded:
    """Scores plus float masks; two masks may be summed, and stored, first."""
    for mask in masks:
        scores = scores + mask
    if len(masks) > 1:
        first, second = masks
        unit = FORMATS[scores.precision.store or scores.precision.dtype].unit + ORACLE_UNIT
        scores = scores.with_error(scores.error + unit * np.abs(first.value + second.value))
    return scores.with_error(saved_for_backward(scores).error) if masks else scores


def _attention_mask(mask: Rounded, batch: int, heads: int, extra: int) -> Rounded:
    """(L, S) or (N·heads, L, S) → a shape that broadcasts against the scores, `extra` keys open."""
    if len(mask.shape) == 3:
        shape = (batch, heads, *mask.shape[1:])
        mask = mask.map(lambda a: a.reshape(shape))
    return _extend_mask(mask, extra)


def _key_padding_mask(mask: Rounded, batch: int, heads: int, extra: int) -> Rounded:
    """(N, S) or (S) → (N, 1, 1, S), `extra` keys open."""
    shape = (batch, 1, 1, mask.shape[-1])
    return _extend_mask(mask.map(lambda a: a.reshape(shape)), extra)


def _extend_mask(mask: Rounded, extra: int) -> Rounded:
    """Append open keys; of a bool mask also invert it, so that True allows a key."""
    if mask.value.dtype == bool:
        attendable = np.concatenate([~mask.value, np.ones((*mask.shape[:-1], extra), bool)], -1)
        return Rounded(attendable, np.zeros(attendable.shape), mask.precision)
    if not extra:
        return mask
    zero = np.zeros((*mask.shape[:-1], extra))
    return join([mask, Rounded(zero, zero, mask.precision)], len(mask.shape) - 1)


def _attend_and_project(
    scores: Rounded,
    v: Rounded,
    empty: np.ndarray,
    empty_weight: float,
    state: State,
    embed_dim: int,
    bias: bool,
    average: bool,
) -> tuple[Rounded, ...]:
    """Output (N, L, E) and weights, averaged over the heads or of each."""
    outer = state["out_proj.weight"].precision
    p, heads = attend(scores, v, empty, empty_weight)
    batch, _, length, _ = heads.shape
    merged_shape = (batch, length, embed_dim)
    joined = stored(heads, outer).map(lambda a: np.asarray(a.swapaxes(1, 2).reshape(merged_shape)))
    offset = state["out_proj.bias"] if bias else None
    output = functional_linear({}, joined, state["out_proj.weight"], offset)
    p = stored(p, outer)
    if average:
        p = stored(mean(widened(p), 1), outer)
    return settle_nan(output, empty_weight), settle_nan(p, empty_weight)


def _gradient_unspecified(x: Rounded) -> Rounded:
    """A mask that the causal hint may replace: whether it has a gradient is not documented."""
    return with_pullback(x.detached, [x], lambda cotangent: [_unbounded(cotangent)])


def _unbounded(x: Rounded) -> Rounded:
    return x.with_error(np.full(x.shape, np.inf))


def is_causal_mask(
    mask: Rounded | None, query: Shape, key: Shape, batched: bool, batch_first: bool
) -> bool:
    """Whether a mask is the causal one, as the hint claims."""
    if mask is None:
        return False
    axis = 1 if batched and batch_first else 0
    later = ~np.tril(np.ones((query[axis], key[axis]), bool))
    causal_mask = later if mask.value.dtype == bool else np.where(later, -np.inf, 0.0)
    return bool((mask.value == causal_mask).all())
