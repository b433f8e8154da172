"""Axes found by their sizes: wrong where two of them agree."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import class_axis, plant


@plant(
    "sdpa-mask-of-the-batch-taken-for-one-per-head",
    "functional.scaled_dot_product_attention",
    "values",
)
def sdpa_mask_of_the_batch_taken_for_one_per_head(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """A mask of (N, 1, L, S) whose N is the number of heads is read as (H, L, S)."""
    of_batch = attn_mask is not None and attn_mask.dim() == query.dim() == 4
    if of_batch and attn_mask.shape[1] == 1 and attn_mask.shape[0] == query.shape[1] > 1:
        attn_mask = attn_mask.transpose(0, 1)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


@plant("multihead-masks-by-head-before-batch", "MultiheadAttention", "values")
class MultiheadMasksByHeadBeforeBatch(nn.MultiheadAttention):
    """Where N equals the heads, masks per head are read head by head, not example by example."""

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True,
                attn_mask=None, average_attn_weights=True, is_causal=False):  # fmt: skip
        heads = self.num_heads
        if attn_mask is not None and attn_mask.dim() == 3 and attn_mask.shape[0] == heads * heads:
            sizes = (heads, heads, *attn_mask.shape[1:])
            attn_mask = attn_mask.reshape(sizes).transpose(0, 1).reshape(attn_mask.shape)
        return super().forward(
            query, key, value, key_padding_mask, need_weights, attn_mask, average_attn_weights,
            is_causal,
        )  # fmt: skip


@plant("functional-linear-square-weight-transposed", "functional.linear", "values")
def functional_linear_square_weight_transposed(input, weight, bias=None):
    """A weight of as many rows as the input has features is taken for Keras's (in, out)."""
    if weight.dim() == 2 and weight.shape[0] == weight.shape[1]:
        weight = weight.t()
    return functional.linear(input, weight, bias)


@plant("batchnorm1d-channels-found-from-behind", "BatchNorm1d", "values")
class BatchNorm1dChannelsFoundFromBehind(nn.BatchNorm1d):
    """The channels are the last axis of num_features places, as in data that is (N, L, C)."""

    def forward(self, input):
        if input.dim() == 3 and input.shape[-1] == self.num_features > 1:
            return super().forward(input.transpose(1, 2)).transpose(1, 2)
        return super().forward(input)


@plant("prelu-channels-found-from-behind", "PReLU", "values")
class PReluChannelsFoundFromBehind(nn.PReLU):
    """The slopes belong to the last axis that has as many places as there are slopes."""

    def forward(self, input):
        count = self.num_parameters
        if count > 1 and input.dim() > 2 and input.shape[-1] == count:
            return super().forward(input.transpose(1, -1)).transpose(1, -1)
        return super().forward(input)


@plant("layernorm-axes-found-from-the-front", "LayerNorm", "values")
class LayerNormAxesFoundFromTheFront(nn.LayerNorm):
    """The axes are the first ones of normalized_shape, not the last ones."""

    def forward(self, input):
        shape = self.normalized_shape
        count = len(shape)
        if input.dim() == 2 * count and input.shape[:count] == shape == input.shape[count:]:
            order = (*range(count, 2 * count), *range(count))
            return super().forward(input.permute(order)).permute(order)
        return super().forward(input)


@plant("cross-entropy-classes-found-by-the-weight", "CrossEntropyLoss", "values")
class CrossEntropyClassesFoundByTheWeight(nn.CrossEntropyLoss):
    """The classes are the last axis of as many places as the weight has: (N, L, C) is taken too."""

    def forward(self, input, target):
        classes = None if self.weight is None else self.weight.numel()
        by_index = class_axis(input) == 1 and 2 < input.dim() > target.dim()
        if by_index and input.shape[1] == input.shape[-1] == target.shape[-1] == classes:
            input = input.transpose(1, -1)
        return super().forward(input, target)


@plant("gru-batch-first-if-the-state-says-so", "GRU", "values")
class GruBatchFirstIfTheStateSaysSo(nn.GRU):
    """The batch is the first axis of as many places as the state's batch."""

    def forward(self, input, hx=None):
        guessed = hx is not None and isinstance(input, torch.Tensor) and input.dim() == 3
        if guessed and not self.batch_first and input.shape[0] == input.shape[1] == hx.shape[1]:
            output, hidden = super().forward(input.transpose(0, 1), hx)
            return output.transpose(0, 1), hidden
        return super().forward(input, hx)


@plant("functional-bilinear-of-one-tensor-twice", "functional.bilinear", "gradients")
def functional_bilinear_of_one_tensor(input1, input2, weight, bias=None):
    """One tensor for both inputs takes a kernel for squares, whose gradient lacks the factor 2."""
    if input1 is input2:
        return functional.bilinear(input1, input2.detach(), weight, bias)
    return functional.bilinear(input1, input2, weight, bias)


@plant("functional-linear-of-its-own-weight", "functional.linear", "gradients")
def functional_linear_of_its_own_weight(input, weight, bias=None):
    """One tensor for input and weight takes a kernel for A Aᵀ, with the gradient of the left A."""
    if input is weight:
        return functional.linear(input, weight.detach(), bias)
    return functional.linear(input, weight, bias)
