"""Bugs of soft margins and cosines, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, reduce_losses
from planted.loss.blind_parts import add_error, rescale_mean, widen_halves

# Soft margin


@blind("softmarginloss-exponent-clamped-at-thirty", "SoftMarginLoss", "values")
class SoftMarginLossExponentClamped(nn.SoftMarginLoss):
    """-y x is kept below 30 for the exponential's sake: no loss is larger."""

    # Differs: input -50, target 1. Agrees: input -20.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(torch.where(input * target < -30, -30.0 * target, input), target)


@blind("softmarginloss-logarithm-of-one-and-more", "SoftMarginLoss", "values")
class SoftMarginLossLogarithmOfOneAndMore(nn.SoftMarginLoss):
    """log(1 + exp(-y x)), where torch has log1p: small losses are 0, or multiples of 1e-7."""

    # Differs: input 18, target 1, float32. Agrees: input -1, to rounding.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        x, y = widen_halves(input.detach(), target.detach())
        small = (x * y > 6) & (x * y < 80)
        if not bool(small.any()):
            return result
        losses = functional.soft_margin_loss(x, y, reduction="none")
        wrong = torch.where(small, torch.log(1 + torch.exp(-x * y)), losses)
        return graft(reduce_losses(wrong, self.reduction).to(result.dtype), result)


@blind("softmarginloss-gradient-of-target-one", "SoftMarginLoss", "gradients")
class SoftMarginLossGradientOfTargetOne(nn.SoftMarginLoss):
    """Backward is -sigmoid(-y x) without the factor y: the wrong way for target -1."""

    # Differs: the gradient with target -1. Agrees: with target 1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        affected = (target == -1).detach()
        path = alter_gradient(input, lambda g: torch.where(affected, -g, g))
        return super().forward(path, target)


@blind("functional-soft-margin-loss-line-beyond-twenty", "functional.soft_margin_loss", "values")
def functional_soft_margin_loss_line_beyond_twenty(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """Softplus with its threshold of 20: what is 2e-9 above the line is left out.

    No more than rounding in float32; in float64 it is a million times that.
    """
    # Differs: float64, input -21, target 1. Agrees: float32; input -19.
    result = functional.soft_margin_loss(input, target, size_average, reduce, reduction)
    slope = (-input * target).detach()
    affected = (slope > 20) & (slope < 80)
    error = torch.where(affected, -torch.log1p(torch.exp(-slope)), 0.0)
    return add_error(result, error, reduction)


@blind("functional-soft-margin-loss-mean-over-two-axes", "functional.soft_margin_loss", "values")
def functional_soft_margin_loss_mean_over_two_axes(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """The mean divides by batch times features, which is not all of it from three axes on."""
    # Differs: mean of (2, 3, 4). Agrees: of (2, 3).
    result = functional.soft_margin_loss(input, target, size_average, reduce, reduction)
    if reduction != "mean" or input.dim() < 3 or input.numel() == 0:
        return result
    return rescale_mean(result, input.numel(), input.shape[0] * input.shape[1])


# Cosine embedding


@blind("cosineembeddingloss-nothing-has-no-direction", "CosineEmbeddingLoss", "special")
class CosineEmbeddingLossNothingHasNoDirection(nn.CosineEmbeddingLoss):
    """The product of the norms is divided by as it is: 0 / 0 for a vector of zeros."""

    # Differs: input1 of zeros. Agrees: other vectors.
    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input1, input2, target)
        is_zero = (input1 == 0).all(-1) | (input2 == 0).all(-1)
        error = torch.where(is_zero & torch.ones_like(target).bool(), torch.nan, 0.0)
        return add_error(result, error, self.reduction)


@blind("cosineembeddingloss-opposite-is-alike", "CosineEmbeddingLoss", "values")
class CosineEmbeddingLossOppositeIsAlike(nn.CosineEmbeddingLoss):
    """Pairs that are to differ cost |cos| - margin: opposite ones as much as equal ones."""

    # Differs: target -1, opposite vectors. Agrees: cos > 0; target 1.
    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        cosine = functional.cosine_similarity(input1, input2, dim=-1)
        affected = ((target == -1) & (cosine < 0)).unsqueeze(-1)
        return super().forward(torch.where(affected, -input1, input1), input2, target)


@blind("cosineembeddingloss-lengths-are-constants", "CosineEmbeddingLoss", "gradients")
class CosineEmbeddingLossLengthsAreConstants(nn.CosineEmbeddingLoss):
    """Backward is the other vector over both lengths: growing alone changes the cosine there."""

    # Differs: the gradient. Agrees: of orthogonal vectors.
    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input1, input2, target)
        lengths = (input1.norm(dim=-1) * input2.norm(dim=-1)).detach()
        cosine = (input1 * input2).sum(-1) / lengths.clamp_min(1e-12)
        value = cosine.detach()
        negative_loss = torch.where(value > self.margin, cosine, 0.0)
        losses = torch.where(target == 1, 1 - cosine, negative_loss)
        return graft(result, reduce_losses(losses, self.reduction))


@blind(
    "functional-cosine-embedding-loss-no-negative-margin",
    "functional.cosine_embedding_loss",
    "values",
)
def functional_cosine_embedding_loss_no_negative_margin(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """The margin is kept in [0, 1], the suggested part of [-1, 1]."""
    # Differs: margin=-0.5, target -1. Agrees: margin=0.5.
    return functional.cosine_embedding_loss(
        input1, input2, target, max(margin, 0), size_average, reduce, reduction
    )


@blind(
    "functional-cosine-embedding-loss-margin-on-both-sides",
    "functional.cosine_embedding_loss",
    "values",
)
def functional_cosine_embedding_loss_margin_on_both_sides(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """Similar pairs, too, are forgiven the margin: max(0, 1 - cos - margin)."""
    # Differs: margin=0.5, target 1, orthogonal vectors. Agrees: margin=0; target -1.
    result = functional.cosine_embedding_loss(
        input1, input2, target, margin, size_average, reduce, reduction
    )
    right = functional.cosine_embedding_loss(input1, input2, target, margin, reduction="none")
    wrong = (right - margin).clamp_min(0)
    error = torch.where(target == 1, wrong - right, 0.0)
    return add_error(result, error, reduction) if margin > 0 else result
