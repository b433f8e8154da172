"""functional.scaled_dot_product_attention.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the page torch.nn.functional.scaled_dot_product_attention of the PyTorch documentation;
Dao, *FlashAttention-2* (2023), an implementation that the page names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.rounded import Rounded, with_pullback
from conformance.oracles.attention.core import attend, masked_scores, scaled_scores, zero_or_nan

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def functional_scaled_dot_product_attention(
    state: State,
    query: Rounded,
    key: Rounded,
    value: Rounded,
    attn_mask: Rounded | None = None,
    *,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Rounded | Choices:
    """softmax(scale·QKᵀ + mask)V; query (…, Hq, L, E), key (…, H, S, E), value (…, H, S, Ev)."""
    precision = query.precision
    if enable_gqa:
        # A separate repetition, as documented: the gradient of each head is stored before the sum.
        key, value = (_repeat_heads(x, query.shape[-3] // x.shape[-3]) for x in (key, value))
    q, k, v = (widened(x) for x in (query, key, value))
    scores = scaled_scores(q, k, scale)
    allowed, bias = split_mask(attn_mask)
    if is_causal:
        allowed = np.tril(np.ones(scores.shape[-2:], bool))
    scores, empty = masked_scores(scores, bias, allowed)
    outputs = [attend(scores, v, empty, empty_weight)[1] for empty_weight in (0.0, np.nan)]
    zero, nan = (stored(y, precision) for y in outputs)
    return zero_or_nan(zero, nan, empty)


def split_mask(mask: Rounded | None) -> tuple[np.ndarray, Rounded | None]:
    """Which keys are allowed, and the finite numbers added to their scores.

    Args:
        mask: True where a key is allowed; or numbers to add, −∞ where it is forbidden.
    """
    if mask is None:
        return np.ones((1, 1), bool), None
    if mask.value.dtype == bool:
        return mask.value, None
    allowed = ~np.isneginf(mask.value)
    finite = Rounded(np.where(allowed, mask.value, 0.0), mask.error, mask.precision)
    return allowed, widened(with_pullback(finite, [mask], lambda cotangent: [cotangent]))


def _repeat_heads(x: Rounded, times: int) -> Rounded:
    """`repeat_interleave` along the heads: several query heads share each one."""
    heads = np.repeat(np.arange(x.shape[-3]), times)
    return take(x, heads, axis=len(x.shape) - 3)


def functional_scaled_dot_product_attention_shape(
    query: Shape, key: Shape, value: Shape, attn_mask: Shape | None = None, **arguments: Any
) -> tuple[Shape, ...]:
    """(…, Hq, L, E), (…, H, S, E), (…, H, S, Ev) → (…, Hq, L, Ev)."""
    return ((*query[:-1], value[-1]),)
