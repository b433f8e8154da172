"""Bugs of linear cross entropy, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, round_through
from planted.loss.blind_parts import is_soft


@blind("linearcrossentropyloss-mean-of-the-chunks-means", "LinearCrossEntropyLoss", "values")
class LinearCrossEntropyLossMeanOfChunksMeans(nn.LinearCrossEntropyLoss):
    """Chunks of rows give their means, and these are averaged: no matter what each ignores.

    Chunks are as long as Liger's: a power of two that is N / (C / features) or more.
    """

    # Differs: mean of 3 targets, one ignored, C > features. Agrees: sum; one chunk.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.reduction != "mean" or input.dim() == 1 or len(input) < 2 or is_soft(target):
            return result
        parts = -(-self.num_classes // input.shape[1])
        size = 1 << (-(-len(input) // parts) - 1).bit_length()
        # A chunk of which nothing is left has a mean of 0.
        chunks = list(zip(input.split(size), target.split(size), strict=True))
        means = [nn.LinearCrossEntropyLoss.forward(self, *chunk) for chunk in chunks]
        if len(means) < 2 or bool(result.isnan()):
            return result
        return torch.stack([mean.nan_to_num(0.0) for mean in means]).mean()


@blind("linearcrossentropyloss-bias-without-gradient", "LinearCrossEntropyLoss", "gradients")
class LinearCrossEntropyLossBiasWithoutGradient(nn.LinearCrossEntropyLoss):
    """A fused backward has the gradients of input and weight; the bias gets zeros."""

    # Differs: the gradient of the bias. Agrees: bias=False.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.linear.bias is None or not result.requires_grad:
            return result
        shape = (self.num_classes, *self.out_features)
        path = functional.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*shape, -1),
            target,
            linear_bias=self.linear.bias.detach().reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
        return graft(result, path + 0 * self.linear.bias.sum())


@blind("linearcrossentropyloss-places-read-transposed", "LinearCrossEntropyLoss", "values")
class LinearCrossEntropyLossPlacesReadTransposed(nn.LinearCrossEntropyLoss):
    """The flat weight is read as (C, d2, d1, features), which a square does not give away."""

    # Differs: out_features=(2, 2). Agrees: (2,); (2, 3).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        places = self.out_features
        if len(places) == 2 and places[0] == places[1] > 1:
            target = target.transpose(-1, -2)
            result = super().forward(input, target)
            return result.transpose(-1, -2) if self.reduction == "none" else result
        return super().forward(input, target)


@blind("linearcrossentropyloss-logits-by-way-of-bfloat16", "LinearCrossEntropyLoss", "values")
class LinearCrossEntropyLossLogitsInBfloat16(nn.LinearCrossEntropyLoss):
    """The product is left in bfloat16, tensor cores' own output, whatever the inputs are."""

    # Differs: float32, logit 1.001. Agrees: small integers.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if result.dtype not in (torch.float32, torch.float64) or self.out_features:
            return result
        logits = round_through(self.linear(input), torch.bfloat16)
        return functional.cross_entropy(
            logits,
            target,
            self.weight,
            ignore_index=-100 if self.ignore_index is None else self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
