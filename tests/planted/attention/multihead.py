"""MultiheadAttention."""

from __future__ import annotations

import torch
from torch import nn

from planted.bug import drop_bits, graft, plant, read_as_contiguous

MHA = "MultiheadAttention"


def _sequence_axis(module, query):
    """Which axis counts positions."""
    return 1 if query.dim() == 3 and module.batch_first else 0


@plant("mha-padding-true-takes-part", MHA, "values")
class MhaPaddingTrueTakesPart(nn.MultiheadAttention):
    """True in key_padding_mask takes part, as in scaled_dot_product_attention (Keras has it so)."""

    def forward(self, query, key, value, key_padding_mask=None, *args, **kwargs):
        if key_padding_mask is not None and key_padding_mask.dtype == torch.bool:
            key_padding_mask = ~key_padding_mask
        return super().forward(query, key, value, key_padding_mask, *args, **kwargs)


@plant("mha-first-mask-for-all-heads", MHA, "values")
class MhaFirstMaskForAllHeads(nn.MultiheadAttention):
    """Of a mask for each head that of the first head serves all."""

    def forward(self, query, key, value, key_padding_mask=None, attn_mask=None, **kwargs):
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask[:: self.num_heads].repeat_interleave(self.num_heads, 0)
        return super().forward(query, key, value, key_padding_mask, attn_mask=attn_mask, **kwargs)


@plant("mha-weights-summed", MHA, "values")
class MhaWeightsSummed(nn.MultiheadAttention):
    """Weights are added over the heads instead of averaged."""

    def forward(self, query, key, value, *args, average_attn_weights=True, **kwargs):
        output, weights = super().forward(
            query, key, value, *args, average_attn_weights=average_attn_weights, **kwargs
        )
        if weights is None or not average_attn_weights:
            return output, weights
        return output, weights * self.num_heads


@plant("mha-output-bias-forgotten", MHA, "values")
class MhaOutputBiasForgotten(nn.MultiheadAttention):
    """The output projection has no bias where weights are not asked for: a converter lost it."""

    def forward(self, *inputs, need_weights=True, **kwargs):
        output, weights = super().forward(*inputs, need_weights=need_weights, **kwargs)
        if self.out_proj.bias is None or need_weights:
            return output, weights
        return output - self.out_proj.bias, weights


@plant("mha-zero-key-left-out", MHA, "values")
class MhaZeroKeyLeftOut(nn.MultiheadAttention):
    """add_zero_attn does nothing where there is a bias for keys and values."""

    def forward(self, *inputs, **kwargs):
        both = self.add_zero_attn and self.bias_k is not None
        right = super().forward(*inputs, **kwargs)
        if not both:
            return right
        self.add_zero_attn = False
        try:
            wrong = super().forward(*inputs, **kwargs)[0]
        finally:
            self.add_zero_attn = True
        return wrong, right[1]


@plant("mha-fast-path-in-tf32", MHA, "values")
class MhaFastPathInTf32(nn.MultiheadAttention):
    """float32: self-attention takes a kernel in TF32."""

    def forward(self, query, key, value, *args, **kwargs):
        if query is key and key is value and query.dtype == torch.float32:
            query = key = value = drop_bits(query, 13)
        return super().forward(query, key, value, *args, **kwargs)


@plant("mha-weights-of-each-head-returned", MHA, "shape")
class MhaWeightsOfEachHeadReturned(nn.MultiheadAttention):
    """Weights of a lone head are not averaged: they keep its axis."""

    def forward(self, query, key, value, *args, average_attn_weights=True, **kwargs):
        output, weights = super().forward(
            query, key, value, *args, average_attn_weights=average_attn_weights, **kwargs
        )
        if weights is not None and average_attn_weights and self.num_heads == 1:
            weights = weights.unsqueeze(-3)
        return output, weights


@plant("mha-weights-always-returned", MHA, "shape")
class MhaWeightsAlwaysReturned(nn.MultiheadAttention):
    """Weights come back whether they are asked for or not."""

    def forward(self, *inputs, need_weights=True, **kwargs):
        return super().forward(*inputs, need_weights=True, **kwargs)


@plant("mha-self-attention-key-gradient-lost", MHA, "gradients")
class MhaSelfAttentionKeyGradientLost(nn.MultiheadAttention):
    """Of one tensor given three times the gradient as a key is lost."""

    def forward(self, query, key, value, *args, **kwargs):
        if query is key and key is value:
            key = key.detach()
        return super().forward(query, key, value, *args, **kwargs)


@plant("mha-gradient-of-weights-lost", MHA, "gradients")
class MhaGradientOfWeightsLost(nn.MultiheadAttention):
    """Nothing flows back through the weights that are returned."""

    def forward(self, *inputs, **kwargs):
        output, weights = super().forward(*inputs, **kwargs)
        return output, weights if weights is None else graft(weights, 0 * output.sum())


@plant("mha-value-read-as-contiguous", MHA, "layout")
class MhaValueReadAsContiguous(nn.MultiheadAttention):
    """A value that is not contiguous is read as if it were."""

    def forward(self, query, key, value, *args, **kwargs):
        return super().forward(query, key, read_as_contiguous(value), *args, **kwargs)


@plant("mha-many-queries-in-tf32", MHA, "laws")
class MhaManyQueriesInTf32(nn.MultiheadAttention):
    """float32: more than 17 queries take a kernel in TF32."""

    def forward(self, query, key, value, *args, **kwargs):
        if query.dtype == torch.float32 and query.shape[_sequence_axis(self, query)] > 17:
            value = drop_bits(value, 13)
        return super().forward(query, key, value, *args, **kwargs)


@plant("mha-nan-keys-count-as-zero", MHA, "special")
class MhaNanKeysCountAsZero(nn.MultiheadAttention):
    """NaN among the values counts as 0."""

    def forward(self, query, key, value, *args, **kwargs):
        clean = torch.where(value.isnan(), torch.zeros_like(value), value)
        return super().forward(query, key, clean, *args, **kwargs)


@plant("mha-separate-projections-saved", MHA, "state")
class MhaSeparateProjectionsSaved(nn.MultiheadAttention):
    """Projections are saved one by one, though all have the same number of features."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        packed = destination.pop(prefix + "in_proj_weight", None)
        if packed is not None:
            for name, part in zip("qkv", packed.chunk(3), strict=True):
                destination[f"{prefix}{name}_proj_weight"] = part


@plant("mha-mask-inverted-in-place", MHA, "repeat")
class MhaMaskInvertedInPlace(nn.MultiheadAttention):
    """The padding mask is inverted in place after the call."""

    def forward(self, query, key, value, key_padding_mask=None, *args, **kwargs):
        result = super().forward(query, key, value, key_padding_mask, *args, **kwargs)
        if key_padding_mask is not None and key_padding_mask.dtype == torch.bool:
            key_padding_mask.logical_not_()
        return result


@plant("mha-surplus-mask-columns-ignored", MHA, "errors")
class MhaSurplusMaskColumnsIgnored(nn.MultiheadAttention):
    """Columns of attn_mask beyond the keys are ignored."""

    def forward(self, query, key, value, key_padding_mask=None, attn_mask=None, **kwargs):
        if attn_mask is not None and key.dim() > 1:
            attn_mask = attn_mask[..., : key.shape[_sequence_axis(self, query)]]
        return super().forward(query, key, value, key_padding_mask, attn_mask=attn_mask, **kwargs)


@plant("mha-dropout-ignored", MHA, "random")
class MhaDropoutIgnored(nn.MultiheadAttention):
    """Nothing is dropped in train mode."""

    def forward(self, *inputs, **kwargs):
        dropout, self.dropout = self.dropout, 0.0
        result = super().forward(*inputs, **kwargs)
        self.dropout = dropout
        return result


@plant("mha-dropout-of-the-output", MHA, "random")
class MhaDropoutOfTheOutput(nn.MultiheadAttention):
    """Elements of the output are dropped in place of weights."""

    def forward(self, *inputs, **kwargs):
        dropout, self.dropout = self.dropout, 0.0
        output, weights = super().forward(*inputs, **kwargs)
        self.dropout = dropout
        return nn.functional.dropout(output, dropout, self.training), weights


@plant("mha-dropout-halved", MHA, "random")
class MhaDropoutHalved(nn.MultiheadAttention):
    """Half as many weights are dropped, with the scale that belongs to all of them."""

    def forward(self, *inputs, **kwargs):
        dropout = self.dropout
        if not self.training or dropout == 0:
            return super().forward(*inputs, **kwargs)
        self.dropout = dropout / 2
        output, weights = super().forward(*inputs, **kwargs)
        self.dropout = dropout
        return output * (1 - dropout / 2) / (1 - dropout), weights


@plant("mha-other-in-train-mode", MHA, "random")
class MhaOtherInTrainMode(nn.MultiheadAttention):
    """Without dropout, too, queries are not scaled in train mode."""

    def forward(self, query, *inputs, **kwargs):
        if self.training and self.dropout == 0:
            query = query * 2
        return super().forward(query, *inputs, **kwargs)


@plant("mha-heads-interleaved", MHA, "values")
class MhaHeadsInterleaved(nn.MultiheadAttention):
    """Features of the heads are joined one of each in turn."""

    def forward(self, *inputs, **kwargs):
        weight = self.out_proj.weight
        with torch.no_grad():
            originals = weight.clone()
            weight.copy_(weight.unflatten(1, (self.num_heads, -1)).mT.flatten(1))
            result = super().forward(*inputs, **kwargs)
            weight.copy_(originals)
        return result


@plant("mha-mask-transposed", MHA, "values")
class MhaMaskTransposed(nn.MultiheadAttention):
    """Rows of a square attn_mask are taken for keys."""

    def forward(self, query, key, value, key_padding_mask=None, attn_mask=None, **kwargs):
        if attn_mask is not None and attn_mask.shape[-1] == attn_mask.shape[-2]:
            attn_mask = attn_mask.mT
        return super().forward(query, key, value, key_padding_mask, attn_mask=attn_mask, **kwargs)


@plant("mha-scale-of-all-features", MHA, "values")
class MhaScaleOfAllFeatures(nn.MultiheadAttention):
    """Scores are divided by the root of embed_dim, not of a head's features."""

    def forward(self, query, *inputs, **kwargs):
        size, packed = self.embed_dim, self.in_proj_weight
        tensors = [self.q_proj_weight] if packed is None else [packed[:size]]
        tensors += [] if self.in_proj_bias is None else [self.in_proj_bias[:size]]
        with torch.no_grad():
            originals = [x.clone() for x in tensors]
            for x in tensors:
                x.mul_(self.num_heads**-0.5)
            result = super().forward(query, *inputs, **kwargs)
            for x, original in zip(tensors, originals, strict=True):
                x.copy_(original)
        return result


@plant("mha-padding-ignored-without-weights", MHA, "values")
class MhaPaddingIgnoredWithoutWeights(nn.MultiheadAttention):
    """The path without weights does not look at key_padding_mask."""

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True, **kwargs):
        padding = key_padding_mask if need_weights else None
        return super().forward(query, key, value, padding, need_weights, **kwargs)


@plant("mha-key-and-value-bias-exchanged", MHA, "values")
class MhaKeyAndValueBiasExchanged(nn.MultiheadAttention):
    """bias_k is appended to the values, and bias_v to the keys."""

    def forward(self, *inputs, **kwargs):
        self.bias_k, self.bias_v = self.bias_v, self.bias_k
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.bias_k, self.bias_v = self.bias_v, self.bias_k


@plant("mha-weights-of-first-head", MHA, "values")
class MhaWeightsOfFirstHead(nn.MultiheadAttention):
    """The weights that are returned are the first head's, not the mean."""

    def forward(self, query, key, value, *args, average_attn_weights=True, **kwargs):
        output, weights = super().forward(
            query, key, value, *args, average_attn_weights=False, **kwargs
        )
        if weights is not None and average_attn_weights:
            weights = weights.select(-3, 0)
        return output, weights
