"""TransformerEncoderLayer and TransformerDecoderLayer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import drop_bits, plant, read_as_contiguous

ENCODER, DECODER = "TransformerEncoderLayer", "TransformerDecoderLayer"


class Encoder(nn.TransformerEncoderLayer):
    """The layer as figure 1 has it, without a fast path."""

    def forward(self, src, src_mask=None, src_key_padding_mask=None, is_causal=False):
        """The layer."""
        x = src
        for name in ("attend", "feed_forward"):
            block = getattr(self, name)
            norm = self.norm1 if name == "attend" else self.norm2
            if self.norm_first:
                x = x + block(norm(x), src_mask, src_key_padding_mask, is_causal)
            else:
                x = norm(x + block(x, src_mask, src_key_padding_mask, is_causal))
        return x

    def attend(self, x, mask, padding, is_causal):
        """The attention."""
        return self._sa_block(x, mask, padding, is_causal)

    def feed_forward(self, x, *args):
        """The feed-forward network."""
        return self._ff_block(x)


class Decoder(nn.TransformerDecoderLayer):
    """The layer as figure 1 has it."""

    def forward(
        self, tgt, memory, tgt_mask=None, memory_mask=None, tgt_key_padding_mask=None,
        memory_key_padding_mask=None, tgt_is_causal=False, memory_is_causal=False,
    ):  # fmt: skip
        """The layer."""
        target_masks = (tgt_mask, tgt_key_padding_mask, tgt_is_causal)
        memory_masks = (memory_mask, memory_key_padding_mask, memory_is_causal)
        blocks = (
            lambda x: self.attend(x, *target_masks),
            lambda x: self.attend_memory(x, memory, *memory_masks),
            self.feed_forward,
        )
        x = tgt
        for norm, block in zip((self.norm1, self.norm2, self.norm3), blocks, strict=True):
            x = x + block(norm(x)) if self.norm_first else norm(x + block(x))
        return x

    def attend(self, x, *masks):
        """The first attention."""
        return self._sa_block(x, *masks)

    def attend_memory(self, x, memory, *masks):
        """The second attention."""
        return self._mha_block(x, memory, *masks)

    def feed_forward(self, x):
        """The feed-forward network."""
        return self._ff_block(x)


def _batch_axis(module, x):
    """The axis that counts the batch."""
    return None if x.dim() == 2 else 0 if module.self_attn.batch_first else 1


@plant("encoder-layer-residual-of-normed", ENCODER, "values")
class EncoderLayerResidualOfNormed(Encoder):
    """norm_first: the residual is taken behind the norm, as GPT-like ports have had it."""

    def attend(self, x, *masks):
        wrong = super().attend(x, *masks)
        return wrong + x if self.norm_first else wrong


@plant("encoder-layer-norms-exchanged", ENCODER, "values")
class EncoderLayerNormsExchanged(Encoder):
    """norm_first: the two norms are loaded one for the other."""

    def forward(self, *inputs, **kwargs):
        if not self.norm_first:
            return super().forward(*inputs, **kwargs)
        self.norm1, self.norm2 = self.norm2, self.norm1
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.norm1, self.norm2 = self.norm2, self.norm1


@plant("encoder-layer-norm-last-always", ENCODER, "values")
class EncoderLayerNormLastAlways(Encoder):
    """norm_first is not passed on where there are no biases."""

    def forward(self, *inputs, **kwargs):
        norm_first = self.norm_first
        self.norm_first = norm_first and self.linear1.bias is not None
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.norm_first = norm_first


@plant("encoder-layer-second-eps-default", ENCODER, "values")
class EncoderLayerSecondEpsDefault(Encoder):
    """layer_norm_eps reaches the first norm only."""

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.norm2.eps = 1e-5


@plant("encoder-layer-gelu-by-tanh", ENCODER, "values")
class EncoderLayerGeluByTanh(Encoder):
    """The fused kernel takes GELU by tanh (torch's own on CUDA, PyTorch #116842)."""

    def feed_forward(self, x, *args):
        if self.activation is not functional.gelu:
            return super().feed_forward(x)
        return self.linear2(functional.gelu(self.linear1(x), approximate="tanh"))


@plant("encoder-layer-mask-transposed", ENCODER, "values")
class EncoderLayerMaskTransposed(Encoder):
    """Rows of src_mask are taken for keys."""

    def attend(self, x, mask, *args):
        return super().attend(x, None if mask is None else mask.mT, *args)


@plant("encoder-layer-padding-of-first", ENCODER, "values")
class EncoderLayerPaddingOfFirst(Encoder):
    """The padding of the batch's first element serves all."""

    def attend(self, x, mask, padding, is_causal):
        if padding is not None and padding.dim() == 2:
            padding = padding[:1].expand_as(padding)
        return super().attend(x, mask, padding, is_causal)


@plant("encoder-layer-feed-forward-bias-lost", ENCODER, "values")
class EncoderLayerFeedForwardBiasLost(Encoder):
    """Without a batch the second linear layer has no bias."""

    def feed_forward(self, x, *args):
        right, bias = super().feed_forward(x), self.linear2.bias
        return right - bias if x.dim() == 2 and bias is not None else right


@plant("encoder-layer-heads-interleaved", ENCODER, "values")
class EncoderLayerHeadsInterleaved(Encoder):
    """Features of the heads are joined one of each in turn."""

    def attend(self, x, *masks):
        weight, heads = self.self_attn.out_proj.weight, self.self_attn.num_heads
        interleaved = weight.unflatten(1, (heads, -1)).mT.flatten(1)
        with torch.no_grad():
            original = weight.clone()
            weight.copy_(interleaved)
            try:
                return super().attend(x, *masks)
            finally:
                weight.copy_(original)


@plant("encoder-layer-batch-of-one-squeezed", ENCODER, "shape")
class EncoderLayerBatchOfOneSqueezed(Encoder):
    """A batch of one comes back without its axis."""

    def forward(self, src, *args, **kwargs):
        y, axis = super().forward(src, *args, **kwargs), _batch_axis(self, src)
        return y if axis is None else y.squeeze(axis)


@plant("encoder-layer-padding-ignored-in-training", ENCODER, "gradients")
class EncoderLayerPaddingIgnoredInTraining(Encoder):
    """Where gradients are recorded nothing is padded."""

    def attend(self, x, mask, padding, is_causal):
        padding = None if torch.is_grad_enabled() else padding
        return super().attend(x, mask, padding, is_causal)


@plant("encoder-layer-residual-detached", ENCODER, "gradients")
class EncoderLayerResidualDetached(Encoder):
    """The residual of the feed-forward network has no gradient."""

    def feed_forward(self, x, *args):
        return super().feed_forward(x) + (x.detach() - x if not self.norm_first else 0)


@plant("encoder-layer-source-read-as-contiguous", ENCODER, "layout")
class EncoderLayerSourceReadAsContiguous(Encoder):
    """A source that is not contiguous is read as if it were."""

    def forward(self, src, *args, **kwargs):
        return super().forward(read_as_contiguous(src), *args, **kwargs)


@plant("encoder-layer-fifth-element-in-tf32", ENCODER, "laws")
class EncoderLayerFifthElementInTf32(Encoder):
    """float32: batches of more than four take a kernel in TF32."""

    def forward(self, src, *args, **kwargs):
        axis = _batch_axis(self, src)
        if axis is not None and src.shape[axis] > 4 and src.dtype == torch.float32:
            src = drop_bits(src, 13)
        return super().forward(src, *args, **kwargs)


@plant("encoder-layer-nan-counts-as-zero", ENCODER, "special")
class EncoderLayerNanCountsAsZero(Encoder):
    """NaN in the source counts as 0."""

    def forward(self, src, *args, **kwargs):
        clean = torch.where(src.isnan(), torch.zeros_like(src), src)
        return super().forward(clean, *args, **kwargs)


@plant("encoder-layer-norms-counted-from-zero", ENCODER, "state")
class EncoderLayerNormsCountedFromZero(Encoder):
    """The norms are saved as norm0 and norm1."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def state_dict(self, *arguments, **kwargs):
        entries = super().state_dict(*arguments, **kwargs)
        new_names = {"norm1": "norm0", "norm2": "norm1"}
        return {
            ".".join([new_names.get(k.split(".")[0], k.split(".")[0]), *k.split(".")[1:]]): x
            for k, x in entries.items()
        }


@plant("encoder-layer-residual-in-place", ENCODER, "repeat")
class EncoderLayerResidualInPlace(Encoder):
    """The attention is added to the caller's own tensor."""

    def forward(self, src, *args, **kwargs):
        y = super().forward(src, *args, **kwargs)
        if not torch.is_grad_enabled():
            src.add_(1)
        return y


@plant("encoder-layer-unknown-activation-is-relu", ENCODER, "errors")
class EncoderLayerUnknownActivationIsRelu(Encoder):
    """A word that is no activation stands for relu."""

    def __init__(self, *arguments, activation="relu", **kwargs):
        known = not isinstance(activation, str) or activation in ("relu", "gelu")
        super().__init__(*arguments, activation=activation if known else "relu", **kwargs)


@plant("encoder-layer-inner-dropout-missing", ENCODER, "random")
class EncoderLayerInnerDropoutMissing(Encoder):
    """Nothing is dropped between the linear layers."""

    def feed_forward(self, x, *args):
        return self.dropout2(self.linear2(self.activation(self.linear1(x))))


@plant("encoder-layer-attention-dropout-missing", ENCODER, "random")
class EncoderLayerAttentionDropoutMissing(Encoder):
    """No weights are dropped, the output of the attention only."""

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.self_attn.dropout = 0.0


@plant("encoder-layer-dropout-unscaled", ENCODER, "random")
class EncoderLayerDropoutUnscaled(Encoder):
    """What the second sublayer's dropout keeps is not divided by 1 - p."""

    def feed_forward(self, x, *args):
        right = super().feed_forward(x)
        return right * (1 - self.dropout2.p) if self.training and self.dropout2.p < 1 else right


@plant("decoder-layer-memory-mask-ignored", DECODER, "values")
class DecoderLayerMemoryMaskIgnored(Decoder):
    """norm_first: memory_mask is not passed on."""

    def attend_memory(self, x, memory, mask, *args):
        return super().attend_memory(x, memory, None if self.norm_first else mask, *args)


@plant("decoder-layer-memory-padding-ignored", DECODER, "values")
class DecoderLayerMemoryPaddingIgnored(Decoder):
    """memory_key_padding_mask counts only where there is a mask, too."""

    def attend_memory(self, x, memory, mask, padding, is_causal):
        padding = None if mask is None else padding
        return super().attend_memory(x, memory, mask, padding, is_causal)


@plant("decoder-layer-memory-normed", DECODER, "values")
class DecoderLayerMemoryNormed(Decoder):
    """norm_first: the memory is normed as the queries are."""

    def attend_memory(self, x, memory, *masks):
        return super().attend_memory(x, self.norm2(memory) if self.norm_first else memory, *masks)


@plant("decoder-layer-attentions-exchanged", DECODER, "values")
class DecoderLayerAttentionsExchanged(Decoder):
    """A converter loads the two attentions one for the other."""

    def forward(self, *inputs, **kwargs):
        self.self_attn, self.multihead_attn = self.multihead_attn, self.self_attn
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.self_attn, self.multihead_attn = self.multihead_attn, self.self_attn


@plant("decoder-layer-target-mask-transposed", DECODER, "values")
class DecoderLayerTargetMaskTransposed(Decoder):
    """Rows of tgt_mask are taken for keys."""

    def attend(self, x, mask, *args):
        return super().attend(x, None if mask is None else mask.mT, *args)


@plant("decoder-layer-third-norm-is-second", DECODER, "values")
class DecoderLayerThirdNormIsSecond(Decoder):
    """The second norm is used again behind the feed-forward network."""

    def forward(self, *inputs, **kwargs):
        norm3, self.norm3 = self.norm3, self.norm2
        try:
            return super().forward(*inputs, **kwargs)
        finally:
            self.norm3 = norm3


@plant("decoder-layer-residual-around-both", DECODER, "values")
class DecoderLayerResidualAroundBoth(Decoder):
    """Norms last: the second attention's residual is the target."""

    def forward(self, tgt, *args, **kwargs):
        self.first = tgt
        return super().forward(tgt, *args, **kwargs)

    def attend_memory(self, x, memory, *masks):
        right = super().attend_memory(x, memory, *masks)
        return right if self.norm_first else right - x + self.first


@plant("decoder-layer-shape-of-memory", DECODER, "shape")
class DecoderLayerShapeOfMemory(Decoder):
    """The output is cut to the length of the memory."""

    def forward(self, tgt, memory, *args, **kwargs):
        y, axis = super().forward(tgt, memory, *args, **kwargs), _batch_axis(self, tgt)
        return y.narrow(at := 1 - (axis or 0) if axis is not None else 0, 0,
                        min(y.shape[at], memory.shape[at]))  # fmt: skip


@plant("decoder-layer-memory-detached", DECODER, "gradients")
class DecoderLayerMemoryDetached(Decoder):
    """The memory has no gradient."""

    def attend_memory(self, x, memory, *masks):
        return super().attend_memory(x, memory.detach() + 0 * memory, *masks)


@plant("decoder-layer-memory-read-as-contiguous", DECODER, "layout")
class DecoderLayerMemoryReadAsContiguous(Decoder):
    """A memory that is not contiguous is read as if it were."""

    def forward(self, tgt, memory, *args, **kwargs):
        return super().forward(tgt, read_as_contiguous(memory), *args, **kwargs)


@plant("decoder-layer-padding-beyond-masks", DECODER, "laws")
class DecoderLayerPaddingBeyondMasks(Decoder):
    """A memory of more than eight rows is not padded."""

    def attend_memory(self, x, memory, mask, padding, is_causal):
        axis = _batch_axis(self, x)
        batch_axis = 0 if axis is None else 1 - axis
        padding = None if memory.shape[batch_axis] > 8 else padding
        return super().attend_memory(x, memory, mask, padding, is_causal)


@plant("decoder-layer-nan-counts-as-zero", DECODER, "special")
class DecoderLayerNanCountsAsZero(Decoder):
    """NaN in the target counts as 0."""

    def forward(self, tgt, *args, **kwargs):
        clean = torch.where(tgt.isnan(), torch.zeros_like(tgt), tgt)
        return super().forward(clean, *args, **kwargs)


@plant("decoder-layer-second-attention-shared", DECODER, "state")
class DecoderLayerSecondAttentionShared(Decoder):
    """Both attentions are one module: their weights are the same from the start."""

    def __init__(self, *arguments, **kwargs):
        super().__init__(*arguments, **kwargs)
        self.multihead_attn = self.self_attn


@plant("decoder-layer-mask-inverted-in-place", DECODER, "repeat")
class DecoderLayerMaskInvertedInPlace(Decoder):
    """A padding mask of the memory is inverted in place."""

    def attend_memory(self, x, memory, mask, padding, is_causal):
        result = super().attend_memory(x, memory, mask, padding, is_causal)
        if padding is not None and padding.dtype == torch.bool:
            padding.logical_not_()
        return result


@plant("decoder-layer-unknown-activation-is-relu", DECODER, "errors")
class DecoderLayerUnknownActivationIsRelu(Decoder):
    """A word that is no activation stands for relu."""

    def __init__(self, *arguments, activation="relu", **kwargs):
        known = not isinstance(activation, str) or activation in ("relu", "gelu")
        super().__init__(*arguments, activation=activation if known else "relu", **kwargs)


@plant("decoder-layer-second-dropout-missing", DECODER, "random")
class DecoderLayerSecondDropoutMissing(Decoder):
    """The output of the second attention is not dropped."""

    def attend_memory(self, x, memory, mask, padding, is_causal):
        return self.multihead_attn(
            x, memory, memory, attn_mask=mask, key_padding_mask=padding,
            is_causal=is_causal, need_weights=False,
        )[0]  # fmt: skip


@plant("decoder-layer-dropout-twice", DECODER, "random")
class DecoderLayerDropoutTwice(Decoder):
    """The output of the feed-forward network is dropped twice."""

    def feed_forward(self, x):
        return self.dropout3(super().feed_forward(x))
