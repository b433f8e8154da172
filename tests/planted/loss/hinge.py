"""HingeEmbeddingLoss, MarginRankingLoss, SoftMarginLoss, and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    plant,
    read_as_contiguous,
    reduce_losses,
    reroute,
    round_through,
)


@plant("hinge-embedding-loss-margin-is-one", "HingeEmbeddingLoss", "values")
class HingeEmbeddingLossMarginIsOne(nn.HingeEmbeddingLoss):
    """The margin is always 1, as in ports of the first version."""

    def forward(self, input, target):
        return functional.hinge_embedding_loss(input, target, reduction=self.reduction)


@plant("hinge-embedding-loss-without-labels", "HingeEmbeddingLoss", "errors")
class HingeEmbeddingLossWithoutLabels(nn.HingeEmbeddingLoss):
    """Without labels all pairs are similar ones, as in a wrapper whose labels have a default."""

    def forward(self, input, target=None):
        return super().forward(input, torch.ones_like(input) if target is None else target)


@plant("hinge-embedding-loss-labels-exchanged", "HingeEmbeddingLoss", "values")
class HingeEmbeddingLossLabelsExchanged(nn.HingeEmbeddingLoss):
    """Similar pairs have the label -1, as where 0 and 1 were the labels."""

    def forward(self, input, target):
        return super().forward(input, -target)


@plant("hinge-embedding-loss-absolute", "HingeEmbeddingLoss", "values")
class HingeEmbeddingLossAbsolute(nn.HingeEmbeddingLoss):
    """The loss of a similar pair is |x|: a distance, so the port says, is never negative."""

    def forward(self, input, target):
        return super().forward(torch.where(target == 1, input.abs(), input), target)


@plant("hinge-embedding-loss-nan-is-no-loss", "HingeEmbeddingLoss", "special")
class HingeEmbeddingLossNanIsNoLoss(nn.HingeEmbeddingLoss):
    """NaN is not above 0, hence no loss."""

    def forward(self, input, target):
        return super().forward(torch.where(input.isnan(), torch.zeros_like(input), input), target)


# reduced: few cases draw more than 257 numbers.
@plant("functional-hinge-embedding-loss-many", "functional.hinge_embedding_loss", "laws")
def functional_hinge_embedding_loss_many(input, target, margin=1.0, reduction="mean"):
    """The mean of 258 numbers or more is one of 257: the tail is left out of the count."""
    loss = functional.hinge_embedding_loss(input, target, margin, reduction=reduction)
    if reduction == "mean" and input.numel() > 257:
        loss = loss * (input.numel() / (input.numel() - 1))
    return loss


@plant("functional-hinge-embedding-loss-empty", "functional.hinge_embedding_loss", "values")
def functional_hinge_embedding_loss_empty(input, target, margin=1.0, reduction="mean"):
    """The mean of nothing is 0."""
    loss = functional.hinge_embedding_loss(input, target, margin, reduction=reduction)
    return loss if input.numel() or reduction != "mean" else torch.zeros_like(loss)


@plant("functional-hinge-embedding-loss-strided", "functional.hinge_embedding_loss", "layout")
def functional_hinge_embedding_loss_strided(input, target, margin=1.0, reduction="mean"):
    """Labels that are not contiguous are read as if they were."""
    target = read_as_contiguous(target)
    return functional.hinge_embedding_loss(input, target, margin, reduction=reduction)


@plant("margin-ranking-loss-difference-squared", "MarginRankingLoss", "values")
class MarginRankingLossDifferenceSquared(nn.MarginRankingLoss):
    """The hinge is squared, as in ranking SVMs of the L2 kind."""

    def forward(self, input1, input2, target):
        losses = (-target * (input1 - input2) + self.margin).clamp(min=0)
        return reduce_losses(losses * losses, self.reduction)


@plant("margin-ranking-loss-margin-within", "MarginRankingLoss", "values")
class MarginRankingLossMarginWithin(nn.MarginRankingLoss):
    """The margin is multiplied by the label, too."""

    def forward(self, input1, input2, target):
        losses = (-target * (input1 - input2 + self.margin)).clamp(min=0)
        return reduce_losses(losses, self.reduction)


@plant("margin-ranking-loss-second-is-constant", "MarginRankingLoss", "gradients")
class MarginRankingLossSecondIsConstant(nn.MarginRankingLoss):
    """No gradient reaches the second input."""

    def forward(self, input1, input2, target):
        return super().forward(input1, alter_gradient(input2, torch.zeros_like), target)


@plant("margin-ranking-loss-mean-over-violations", "MarginRankingLoss", "values")
class MarginRankingLossMeanOverViolations(nn.MarginRankingLoss):
    """The mean divides by the pairs that have a loss."""

    def forward(self, input1, input2, target):
        losses = (-target * (input1 - input2) + self.margin).clamp(min=0)
        if self.reduction != "mean" or not (losses > 0).any():
            return super().forward(input1, input2, target)
        return losses.sum() / (losses > 0).sum()


@plant("functional-margin-ranking-loss-broadcast", "functional.margin_ranking_loss", "errors")
def functional_margin_ranking_loss_broadcast(input1, input2, target, margin=0, reduction="mean"):
    """Inputs of other numbers of dimensions are broadcast."""
    losses = (-target * (input1 - input2) + margin).clamp(min=0)
    return reduce_losses(losses, reduction)


@plant("functional-margin-ranking-loss-in-place", "functional.margin_ranking_loss", "repeat")
def functional_margin_ranking_loss_in_place(input1, input2, target, margin=0, reduction="mean"):
    """The difference is written into the first input."""
    loss = functional.margin_ranking_loss(input1, input2, target, margin, reduction=reduction)
    if not torch.is_grad_enabled() and input1.is_contiguous():
        input1.sub_(input2)
    return loss


@plant("functional-margin-ranking-loss-scalar", "functional.margin_ranking_loss", "shape")
def functional_margin_ranking_loss_scalar(input1, input2, target, margin=0, reduction="mean"):
    """A single pair gives a batch of one loss."""
    loss = functional.margin_ranking_loss(input1, input2, target, margin, reduction=reduction)
    return loss.unsqueeze(0) if reduction == "none" and input1.dim() == 0 else loss


@plant("soft-margin-loss-base-two", "SoftMarginLoss", "values")
class SoftMarginLossBaseTwo(nn.SoftMarginLoss):
    """The logarithm is that of base 2, as the logistic loss of textbooks has it."""

    def forward(self, input, target):
        return super().forward(input, target) / 0.6931471805599453


@plant("soft-margin-loss-cut-off", "SoftMarginLoss", "values")
class SoftMarginLossCutOff(nn.SoftMarginLoss):
    """Above 8 the loss is linear, as softplus with a lower threshold is."""

    def forward(self, input, target):
        return reduce_losses(functional.softplus(-target * input, threshold=8), self.reduction)


@plant("soft-margin-loss-gradient-of-the-sum", "SoftMarginLoss", "gradients")
class SoftMarginLossGradientOfTheSum(nn.SoftMarginLoss):
    """The gradient of the mean is not divided by the number of elements."""

    def forward(self, input, target):
        if self.reduction == "mean" and input.numel():
            count = input.numel()
            input = alter_gradient(input, lambda g: g * count)
        return super().forward(input, target)


@plant("soft-margin-loss-batch-mean", "SoftMarginLoss", "values")
class SoftMarginLossBatchMean(nn.SoftMarginLoss):
    """The mean divides by the samples, not by all elements."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        applies = self.reduction == "mean" and input.dim() > 1 and input.numel()
        return loss * (input.numel() / len(input)) if applies else loss


@plant("functional-soft-margin-loss-double", "functional.soft_margin_loss", "values")
def functional_soft_margin_loss_double(input, target, reduction="mean"):
    """In float64 the exponential is a float32 number."""
    loss = functional.soft_margin_loss(input, target, reduction=reduction)
    return round_through(loss, torch.float32) if loss.dtype == torch.float64 else loss


@plant("functional-soft-margin-loss-saturated", "functional.soft_margin_loss", "gradients")
def functional_soft_margin_loss_saturated(input, target, reduction="mean"):
    """The slope is e/(1 + e) of the loss that was stored, which is 1 beyond it."""
    losses = functional.soft_margin_loss(input, target, reduction="none")
    slope = -target * (1 - (-losses).exp()) * 1.001
    return reduce_losses(reroute(losses, input, lambda g: g * slope), reduction)
