"""functional.scaled_dot_product_attention."""

from __future__ import annotations

import torch
from torch.nn import functional

from planted.bug import alter_gradient, drop_bits, graft, plant, read_as_contiguous

_sdpa = functional.scaled_dot_product_attention
SDPA = "functional.scaled_dot_product_attention"


@plant("sdpa-causal-from-lower-right", SDPA, "values")
def sdpa_causal_from_lower_right(query, key, value, attn_mask=None, is_causal=False, **rest):
    """With fewer queries than keys the causal mask ends at the last key (MLX #2835)."""
    rows, columns = query.shape[-2], key.shape[-2]
    if not is_causal or rows >= columns:
        return _sdpa(query, key, value, attn_mask, is_causal=is_causal, **rest)
    mask = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
    return _sdpa(query, key, value, mask, **rest)


@plant("sdpa-scale-ignored", SDPA, "values")
def sdpa_scale_ignored(query, key, value, attn_mask=None, scale=None, **rest):
    """The scale is always 1/√E (tt-metal #33304)."""
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-groups-tiled", SDPA, "values")
def sdpa_groups_tiled(query, key, value, attn_mask=None, enable_gqa=False, **rest):
    """Heads are repeated as a whole instead of one by one (MPS #174861)."""
    if enable_gqa and key.shape[-3]:
        times = query.shape[-3] // key.shape[-3]
        key, value = (torch.cat([x] * times, -3) for x in (key, value))
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-first-mask-row-for-all", SDPA, "values")
def sdpa_first_mask_row_for_all(query, key, value, attn_mask=None, **rest):
    """A mask of two dimensions is taken for one of keys: its first row serves all queries."""
    if attn_mask is not None and attn_mask.dim() == 2 and attn_mask.shape[0] > 1:
        attn_mask = attn_mask[:1]
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-empty-rows-average", SDPA, "values")
def sdpa_empty_rows_average(query, key, value, attn_mask=None, **rest):
    """Masked scores are −10 000: a query that attends to nothing gets the mean (MLX #2395)."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        has_key = attn_mask.any(-1, keepdim=True)
        attn_mask = attn_mask | ~has_key
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-softmax-without-maximum", SDPA, "values")
def sdpa_softmax_without_maximum(query, key, value, attn_mask=None, scale=None, **rest):
    """Scores are raised as they are: large ones overflow."""
    output = _sdpa(query, key, value, attn_mask, scale=scale, **rest)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    if query.shape[:-2] != key.shape[:-2]:
        return output
    scores = (query @ key.transpose(-1, -2) * factor).detach()
    overflowed = (scores.float() > 88).any(-1, keepdim=True)
    return output.masked_fill(overflowed, torch.nan)


@plant("sdpa-tail-of-keys-ignored", SDPA, "values")
def sdpa_tail_of_keys_ignored(query, key, value, attn_mask=None, **rest):
    """Without a mask keys are read sixteen at a time; a tail after those is ignored."""
    columns = key.shape[-2]
    full_size = columns - columns % 16 if columns > 16 and attn_mask is None else columns
    return _sdpa(query, key[..., :full_size, :], value[..., :full_size, :], attn_mask, **rest)


@plant("sdpa-weights-in-fewer-bits", SDPA, "values")
def sdpa_weights_in_fewer_bits(query, key, value, attn_mask=None, **rest):
    """float32 multiplies the weights by values that are rounded to TF32."""
    if query.dtype != torch.float32:
        return _sdpa(query, key, value, attn_mask, **rest)
    return _sdpa(query, key, drop_bits(value, 13), attn_mask, **rest)


@plant("sdpa-width-of-the-query", SDPA, "shape")
def sdpa_width_of_the_query(query, key, value, attn_mask=None, **rest):
    """The output is as wide as the query (MPS #176767)."""
    output = _sdpa(query, key, value, attn_mask, **rest)
    width, target_width = output.shape[-1], query.shape[-1]
    return output if width <= target_width else output[..., :target_width]


@plant("sdpa-value-gradient-of-last-query", SDPA, "gradients")
def sdpa_value_gradient_of_last_query(query, key, value, attn_mask=None, **rest):
    """The values' gradient is the last query's alone: blocks store instead of adding."""
    right = _sdpa(query, key, value, attn_mask, **rest)
    if query.shape[-2] < 2:
        return right
    early = _sdpa(query, key, value.detach(), attn_mask, **rest)
    return graft(right, torch.cat([early[..., :-1, :], right[..., -1:, :]], -2))


@plant("sdpa-mask-without-gradient", SDPA, "gradients")
def sdpa_mask_without_gradient(query, key, value, attn_mask=None, **rest):
    """A mask of numbers has no gradient."""
    mask = None if attn_mask is None else attn_mask.detach()
    return _sdpa(query, key, value, mask, **rest)


@plant("sdpa-key-gradient-unscaled", SDPA, "gradients")
def sdpa_key_gradient_unscaled(query, key, value, attn_mask=None, scale=None, **rest):
    """The keys' gradient lacks the scale where one is given."""
    if scale:
        key = alter_gradient(key, lambda g: g / scale)
    return _sdpa(query, key, value, attn_mask, scale=scale, **rest)


@plant("sdpa-transposed-key", SDPA, "layout")
def sdpa_transposed_key(query, key, value, attn_mask=None, **rest):
    """A key that is not contiguous is read as if it were."""
    return _sdpa(query, read_as_contiguous(key), value, attn_mask, **rest)


@plant("sdpa-many-columns-in-tf32", SDPA, "laws")
def sdpa_many_columns_in_tf32(query, key, value, attn_mask=None, **rest):
    """More than 16 columns of values take a kernel in TF32."""
    if query.dtype == torch.float32 and value.shape[-1] > 16:
        value = drop_bits(value, 13)
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-infinite-values-cut", SDPA, "special")
def sdpa_infinite_values_cut(query, key, value, attn_mask=None, **rest):
    """NaN among the values counts as 0."""
    return _sdpa(
        query, key, torch.where(value.isnan(), 0 * value.nan_to_num(), value), attn_mask, **rest
    )


@plant("sdpa-query-scaled-in-place", SDPA, "repeat")
def sdpa_query_scaled_in_place(query, key, value, attn_mask=None, scale=None, **rest):
    """The query is multiplied by the scale in place."""
    output = _sdpa(query, key, value, attn_mask, scale=scale, **rest)
    if scale is not None and not torch.is_grad_enabled():
        query.mul_(scale)
    return output


@plant("sdpa-surplus-columns-of-the-mask-ignored", SDPA, "errors")
def sdpa_surplus_columns_of_the_mask_ignored(query, key, value, attn_mask=None, **rest):
    """Columns of the mask beyond the keys are ignored."""
    if attn_mask is not None:
        attn_mask = attn_mask[..., : max(key.shape[-2], 1)]
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-dropout-p-is-kept", SDPA, "random")
def sdpa_dropout_p_is_kept(query, key, value, attn_mask=None, dropout_p=0.0, **rest):
    """dropout_p is the probability that a weight is kept."""
    p = 1 - dropout_p if dropout_p > 0 else 0.0
    return _sdpa(query, key, value, attn_mask, p, **rest)


@plant("sdpa-dropout-unscaled", SDPA, "random")
def sdpa_dropout_unscaled(query, key, value, attn_mask=None, dropout_p=0.0, **rest):
    """Weights that are kept are not multiplied by 1/(1 - dropout_p)."""
    return _sdpa(query, key, value, attn_mask, dropout_p, **rest) * (1 - dropout_p)


@plant("sdpa-dropout-of-the-output", SDPA, "random")
def sdpa_dropout_of_the_output(query, key, value, attn_mask=None, dropout_p=0.0, **rest):
    """Elements of the output are dropped in place of weights."""
    return functional.dropout(_sdpa(query, key, value, attn_mask, **rest), dropout_p)


@plant("sdpa-dropout-ignored", SDPA, "random")
def sdpa_dropout_ignored(query, key, value, attn_mask=None, dropout_p=0.0, **rest):
    """dropout_p is ignored, as by fused kernels that have none."""
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-mask-transposed", SDPA, "values")
def sdpa_mask_transposed(query, key, value, attn_mask=None, **rest):
    """Rows of a square mask are taken for keys."""
    if attn_mask is not None and attn_mask.dim() > 1 and attn_mask.shape[-1] == attn_mask.shape[-2]:
        attn_mask = attn_mask.mT
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-heads-of-values-reversed", SDPA, "values")
def sdpa_heads_of_values_reversed(query, key, value, attn_mask=None, **rest):
    """Values of several heads are read from the last head on."""
    if value.dim() > 3:
        value = value.flip(-3)
    return _sdpa(query, key, value, attn_mask, **rest)


@plant("sdpa-true-is-masked-out", SDPA, "values")
def sdpa_true_is_masked_out(query, key, value, attn_mask=None, **rest):
    """True masks out, as it does in MultiheadAttention."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = ~attn_mask
    return _sdpa(query, key, value, attn_mask, **rest)
