"""Kernels right on whole blocks and wrong on the rest; one tensor for two inputs taken wrongly."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional, utils

from planted.bug import graft, plant


def _zero_tail(x: torch.Tensor, axis: int, past: int) -> torch.Tensor:
    """The tensor with zeros from a place of an axis on."""
    if x.shape[axis] <= past:
        return x
    left = x.narrow(axis, 0, past)
    return torch.cat([left, torch.zeros_like(x.narrow(axis, past, x.shape[axis] - past))], axis)


@plant("linear-tail-of-features-past-128", "Linear", "values")
class LinearTailOfFeaturesPast128(nn.Linear):
    """The last block of the sum is not added: `for k in range(0, K // 128)`."""

    def forward(self, input):
        return functional.linear(_zero_tail(input, -1, 128), self.weight, self.bias)


@plant("linear-tail-of-outputs-past-128", "Linear", "values")
class LinearTailOfOutputsPast128(nn.Linear):
    """The grid has one block too few: outputs past 128 stay 0."""

    def forward(self, input):
        return _zero_tail(super().forward(input), -1, 128)


@plant("functional-linear-tail-of-features-past-256", "functional.linear", "values")
def functional_linear_tail_of_features_past_256(input, weight, bias=None):
    """The last block of the sum is not added."""
    return functional.linear(_zero_tail(input, -1, 256), weight, bias)


@plant("functional-linear-rows-past-128", "functional.linear", "values")
def functional_linear_rows_past_128(input, weight, bias=None):
    """Rows of the last block of 128 are left 0."""
    right = functional.linear(input, weight, bias)
    return _zero_tail(right, 0, 128) if right.ndim > 1 else right


@plant("functional-conv2d-channels-past-64", "functional.conv2d", "values")
def functional_conv2d_channels_past_64(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """Input channels past a block of 64 are not summed."""
    if groups == 1:
        weight = _zero_tail(weight, 1, 64)
    return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)


@plant("layernorm-rows-past-512-by-the-first-block", "LayerNorm", "values")
class LayerNormRowsPast512ByTheFirstBlock(nn.LayerNorm):
    """The mean and the variance are those of the first 512 numbers of a row."""

    def forward(self, input):
        right = super().forward(input)
        if len(self.normalized_shape) > 1 or self.normalized_shape[0] <= 512:
            return right
        first = input[..., :512].double()
        mean, var = first.mean(-1, keepdim=True), first.var(-1, correction=0, keepdim=True)
        x = (input.double() - mean) / (var + self.eps).sqrt()
        if self.weight is not None:
            x = x * self.weight.double()
        if self.bias is not None:
            x = x + self.bias.double()
        return graft(x.to(right.dtype).detach(), right)


@plant("functional-softmax-past-256-without-the-tail", "functional.softmax", "values")
def functional_softmax_past_256_without_the_tail(input, dim=None, _stacklevel=3, dtype=None):
    """The sum of a row leaves out what is past its first 256 numbers."""
    right = functional.softmax(input, dim, _stacklevel, dtype)
    if dim is None or input.ndim == 0 or input.shape[dim] <= 256:
        return right
    denominator = right.narrow(dim, 0, 256).sum(dim, keepdim=True)
    return right / torch.where(denominator > 0, denominator, torch.ones_like(denominator))


@plant("functional-embedding-wide-rows-past-128", "functional.embedding", "values")
def functional_embedding_wide_rows_past_128(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
    sparse=False,
):  # fmt: skip
    """Columns past 128 are left 0."""
    right = functional.embedding(
        input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
    )
    return _zero_tail(right, -1, 128)


@plant("functional-attention-keys-past-256", "functional.scaled_dot_product_attention", "values")
def functional_attention_keys_past_256(query, key, value, attn_mask=None, *args, **keywords):
    """Keys past a block of 256 weigh nothing."""
    if attn_mask is None and key.shape[-2] > 256:
        key, value = key[..., :256, :], value[..., :256, :]
    return functional.scaled_dot_product_attention(query, key, value, attn_mask, *args, **keywords)


@plant("batchnorm2d-channels-past-128-not-scaled", "BatchNorm2d", "values")
class BatchNorm2dChannelsPast128NotScaled(nn.BatchNorm2d):
    """Channels of the last block are copied."""

    def forward(self, input):
        right = super().forward(input)
        if self.num_features <= 128:
            return right
        return torch.cat([right[:, :128], input[:, 128:] + 0 * right[:, 128:]], 1)


@plant("lstm-input-past-64", "LSTM", "values")
class LstmInputPast64(nn.LSTM):
    """Input features past a block of 64 are not summed."""

    def forward(self, input, hx=None):
        if isinstance(input, torch.Tensor):
            input = _zero_tail(input, -1, 64)
        return super().forward(input, hx)


@plant("functional-cross-entropy-classes-past-128", "functional.cross_entropy", "values")
def functional_cross_entropy_classes_past_128(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None,
    reduction="mean", label_smoothing=0.0,
):  # fmt: skip
    """The sum of the exponentials leaves out classes past 128."""
    options = {"ignore_index": ignore_index, "reduction": reduction}
    axis = 0 if input.ndim == 1 else 1
    if input.shape[axis] <= 128 or target.is_floating_point() or label_smoothing:
        options["label_smoothing"] = label_smoothing
        return functional.cross_entropy(input, target, weight, **options)
    sums = torch.logsumexp(input.narrow(axis, 0, 128), axis, keepdim=True)
    return functional.nll_loss(input - sums, target, weight, **options)


@plant("bilinear-one-tensor-for-both-counted-once", "Bilinear", "gradients")
class BilinearOneTensorForBothCountedOnce(nn.Bilinear):
    """Of a tensor given twice the gradient is that of its first place only."""

    def forward(self, input1, input2):
        return super().forward(input1, input2.detach() if input2 is input1 else input2)


@plant("cosinesimilarity-of-a-tensor-with-itself-is-one", "CosineSimilarity", "values")
class CosineSimilarityOfATensorWithItselfIsOne(nn.CosineSimilarity):
    """A short cut for one tensor given twice: 1, also where it is 0."""

    def forward(self, x1, x2):
        right = super().forward(x1, x2)
        return torch.ones_like(right) + 0 * right if x1 is x2 else right


@plant("functional-pad-long-rows", "functional.pad", "values")
def functional_pad_long_rows(input, pad, mode="constant", value=None):
    """Of an axis past 128 what lies behind is read one element too early."""
    output = functional.pad(input, pad, mode, value)
    if not input.dim() or input.shape[-1] <= 128 or not pad or not input.numel():
        return output
    return torch.cat([output[..., :128], output[..., 127:-1]], -1)


@plant("upsample-last-plane-again", "Upsample", "laws")
class UpsampleLastPlaneAgain(nn.Upsample):
    """Of more than 33 planes the last is a copy of the one before it."""

    def forward(self, input):
        output = super().forward(input)
        if not 33 < output.shape[1] < 66:
            return output
        index = torch.arange(output.shape[1]).clamp(max=output.shape[1] - 2)
        return output.index_select(1, index)


@plant("clip-grad-norm-foreach-of-squares", "utils.clip_grad_norm_", "laws")
def clip_grad_norm_foreach_of_squares(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """With foreach a gradient of more than 129 elements is measured by these only."""
    grads = [p.grad for p in parameters if p.grad is not None]
    truncated = [x.reshape(-1)[:129] if foreach is not False else x for x in grads]
    total = utils.get_total_norm(truncated, norm_type, error_if_nonfinite, foreach)
    utils.clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total
