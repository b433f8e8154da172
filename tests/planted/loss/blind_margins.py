"""Bugs of hinge and ranking losses, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, reduce_losses, round_through
from planted.loss.blind_parts import add_error, element_numbers, rescale_mean

# Hinge embedding


@blind("hingeembeddingloss-margin-of-whole-numbers", "HingeEmbeddingLoss", "values")
class HingeEmbeddingLossMarginOfWholeNumbers(nn.HingeEmbeddingLoss):
    """The margin passes through an attribute of type int: 0.5 becomes 0."""

    # Differs: margin=0.5, target -1. Agrees: margin=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        margin = float(int(self.margin))
        return functional.hinge_embedding_loss(input, target, margin, reduction=self.reduction)


@blind("hingeembeddingloss-similar-pairs-not-below-zero", "HingeEmbeddingLoss", "values")
class HingeEmbeddingLossSimilarPairsNotBelowZero(nn.HingeEmbeddingLoss):
    """The input is a distance, so that it is kept above 0 for target 1, too (mlpack 2444)."""

    # Differs: input -1, target 1. Agrees: input 1; target -1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        low = (target == 1) & (input.detach() < 0)
        return super().forward(torch.where(low, 0.0, input), target)


@blind("hingeembeddingloss-hinge-open-in-backward", "HingeEmbeddingLoss", "gradients")
class HingeEmbeddingLossHingeOpenInBackward(nn.HingeEmbeddingLoss):
    """Backward is the target: beyond the margin, where the loss is 0, it still pulls."""

    # Differs: the gradient at input 3, target -1, margin 1. Agrees: input 0.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        active = ((target == -1) & (input > self.margin)).detach()
        path = torch.where(active, -input, 0.0)
        return (
            graft(result, result + reduce_losses(path, self.reduction)) if active.any() else result
        )


@blind(
    "functional-hinge-embedding-loss-mean-over-the-active",
    "functional.hinge_embedding_loss",
    "values",
)
def functional_hinge_embedding_loss_mean_over_active(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """The mean is over the pairs whose loss is not 0, as libraries of metric learning have it."""
    # Differs: losses (0, 1). Agrees: losses (1, 2); sum.
    losses = functional.hinge_embedding_loss(input, target, margin, reduction="none")
    result = functional.hinge_embedding_loss(input, target, margin, size_average, reduce, reduction)
    active = (losses != 0).sum()
    return (
        rescale_mean(result, losses.numel(), active) if reduction == "mean" and active else result
    )


@blind(
    "functional-hinge-embedding-loss-margin-beside-the-hinge",
    "functional.hinge_embedding_loss",
    "values",
)
def functional_hinge_embedding_loss_margin_beside_hinge(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """margin + max(0, -x), where max(0, margin - x) is meant: the same for x <= 0 only."""
    # Differs: input 0.5, target -1. Agrees: input -1; target 1.
    result = functional.hinge_embedding_loss(input, target, margin, size_average, reduce, reduction)
    right = (margin - input).clamp_min(0)
    wrong = margin + (-input).clamp_min(0)
    affected = (target == -1) & (input > 0)
    return add_error(result, torch.where(affected, wrong - right, 0.0), reduction)


# Margin ranking


@blind("marginrankingloss-margin-takes-the-targets-sign", "MarginRankingLoss", "values")
class MarginRankingLossMarginTakesSign(nn.MarginRankingLoss):
    """max(0, y (margin - (x1 - x2))): for target -1 the margin is taken off, not added."""

    # Differs: margin=1, target -1. Agrees: target 1; margin=0.
    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        if not self.margin or bool((target == 1).all()):
            return super().forward(input1, input2, target)
        losses = (-target * (input1 - input2) + target * self.margin).clamp_min(0)
        return reduce_losses(losses, self.reduction)


@blind("marginrankingloss-second-input-pulled-like-the-first", "MarginRankingLoss", "gradients")
class MarginRankingLossSecondPulledLikeFirst(nn.MarginRankingLoss):
    """Both inputs get -y: the second one's sign is missing."""

    # Differs: the gradient of input2. Agrees: of input1.
    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return super().forward(input1, alter_gradient(input2, torch.neg), target)


@blind("marginrankingloss-margin-lost-in-later-blocks", "MarginRankingLoss", "values")
class MarginRankingLossMarginLostInLaterBlocks(nn.MarginRankingLoss):
    """A kernel reads the margin into its first block of 256 elements; in the others it is 0."""

    # Differs: 300 elements, margin=1. Agrees: 256 elements; margin=0.
    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input1, input2, target)
        right = functional.margin_ranking_loss(
            input1, input2, target, self.margin, reduction="none"
        )
        if right.numel() <= 256:
            return result
        wrong = functional.margin_ranking_loss(input1, input2, target, reduction="none")
        error = torch.where(element_numbers(right) >= 256, wrong - right, 0.0)
        return add_error(result, error, self.reduction)


@blind("functional-margin-ranking-loss-default-of-one", "functional.margin_ranking_loss", "values")
def functional_margin_ranking_loss_default_of_one(
    input1, input2, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """The margin is 1 where none is given, as it is in the other margin losses; here it is 0."""
    # Differs: no margin. Agrees: any margin that is given.
    return functional.margin_ranking_loss(
        input1, input2, target, margin, size_average, reduce, reduction
    )


@blind(
    "functional-margin-ranking-loss-difference-in-half",
    "functional.margin_ranking_loss",
    "values",
)
def functional_margin_ranking_loss_difference_in_half(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """Scores are compared in bfloat16: close ones are ties, and cost nothing without a margin."""
    # Differs: scores 1 and 1.001. Agrees: small integers; bfloat16.
    if input1.dtype in (torch.float32, torch.float64):
        input1, input2 = (round_through(x, torch.bfloat16) for x in (input1, input2))
    return functional.margin_ranking_loss(
        input1, input2, target, margin, size_average, reduce, reduction
    )
