"""CosineEmbeddingLoss, TripletMarginLoss, TripletMarginWithDistanceLoss, and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    graft,
    plant,
    read_as_contiguous,
    reduce_losses,
    round_through,
)


def _cosine(input1, input2):
    squares = [(x * x).sum(-1) + 1e-12 for x in (input1, input2)]
    return (input1 * input2).sum(-1) / (squares[0] * squares[1]).sqrt()


@plant("cosine-embedding-loss-margin-added", "CosineEmbeddingLoss", "values")
class CosineEmbeddingLossMarginAdded(nn.CosineEmbeddingLoss):
    """The margin is added to the similarity of a dissimilar pair."""

    def forward(self, input1, input2, target):
        margin, self.margin = self.margin, -self.margin
        loss = super().forward(input1, input2, target)
        self.margin = margin
        return loss


@plant("cosine-embedding-loss-zero-labels", "CosineEmbeddingLoss", "values")
class CosineEmbeddingLossZeroLabels(nn.CosineEmbeddingLoss):
    """What is dissimilar has the label 0: a label of -1 is no loss."""

    def forward(self, input1, input2, target):
        losses = torch.where(target == 1, 1 - _cosine(input1, input2), 0.0)
        return reduce_losses(losses.to(input1.dtype), self.reduction)


@plant("cosine-embedding-loss-of-the-product", "CosineEmbeddingLoss", "values")
class CosineEmbeddingLossOfTheProduct(nn.CosineEmbeddingLoss):
    """Vectors shorter than 1 are taken for unit vectors."""

    def forward(self, input1, input2, target):
        length = input2.norm(dim=-1, keepdim=True).clamp(max=1.0)
        cosine = _cosine(input1, input2) * length.squeeze(-1)
        negative_loss = (cosine - self.margin).clamp(min=0)
        return reduce_losses(torch.where(target == 1, 1 - cosine, negative_loss), self.reduction)


@plant("cosine-embedding-loss-second-is-constant", "CosineEmbeddingLoss", "gradients")
class CosineEmbeddingLossSecondIsConstant(nn.CosineEmbeddingLoss):
    """No gradient reaches the second vector."""

    def forward(self, input1, input2, target):
        return super().forward(input1, alter_gradient(input2, torch.zeros_like), target)


# rows, repeated: few cases draw more than 17 pairs.
@plant("functional-cosine-embedding-loss-many", "functional.cosine_embedding_loss", "laws")
def functional_cosine_embedding_loss_many(input1, input2, target, margin=0, reduction="mean"):
    """From 18 pairs on the last one is taken for a similar one."""
    if input1.dim() > 1 and len(input1) > 17:
        target = torch.cat([target[:-1], torch.ones_like(target[-1:])])
    return functional.cosine_embedding_loss(input1, input2, target, margin, reduction=reduction)


@plant("functional-cosine-embedding-loss-batch", "functional.cosine_embedding_loss", "shape")
def functional_cosine_embedding_loss_batch(input1, input2, target, margin=0, reduction="mean"):
    """A pair without a batch dimension gives a batch of one loss."""
    loss = functional.cosine_embedding_loss(input1, input2, target, margin, reduction=reduction)
    return loss.unsqueeze(0) if reduction == "none" and input1.dim() == 1 else loss


@plant("triplet-margin-loss-swap-ignored", "TripletMarginLoss", "values")
class TripletMarginLossSwapIgnored(nn.TripletMarginLoss):
    """There is no distance swap."""

    def forward(self, anchor, positive, negative):
        return functional.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, reduction=self.reduction
        )


@plant("triplet-margin-loss-swap-of-the-anchor", "TripletMarginLoss", "values")
class TripletMarginLossSwapOfTheAnchor(nn.TripletMarginLoss):
    """With swap the distance of positive and negative stands always, not where it is smaller."""

    def forward(self, anchor, positive, negative):
        if not self.swap:
            return super().forward(anchor, positive, negative)
        near, far = (
            functional.pairwise_distance(x, positive if k else negative, self.p, self.eps)
            for k, x in ((1, anchor), (0, positive))
        )
        return reduce_losses((self.margin + near - far).clamp(min=0), self.reduction)


@plant("triplet-margin-loss-squared", "TripletMarginLoss", "values")
class TripletMarginLossSquared(nn.TripletMarginLoss):
    """The distances are squared, as FaceNet has them."""

    def forward(self, anchor, positive, negative):
        near = functional.pairwise_distance(anchor, positive, self.p, self.eps)
        far = functional.pairwise_distance(anchor, negative, self.p, self.eps)
        if self.swap or self.p != 2:
            return super().forward(anchor, positive, negative)
        return reduce_losses((self.margin + near**2 - far**2).clamp(min=0), self.reduction)


@plant("triplet-margin-loss-negative-is-constant", "TripletMarginLoss", "gradients")
class TripletMarginLossNegativeIsConstant(nn.TripletMarginLoss):
    """The negative is pulled, not pushed: its gradient has the wrong sign."""

    def forward(self, anchor, positive, negative):
        return super().forward(anchor, positive, alter_gradient(negative, torch.neg))


@plant("functional-triplet-margin-loss-no-eps", "functional.triplet_margin_loss", "values")
def functional_triplet_margin_loss_no_eps(
    anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, reduction="mean"
):
    """eps is left out."""
    options = {"swap": swap, "reduction": reduction}
    return functional.triplet_margin_loss(anchor, positive, negative, margin, p, 0.0, **options)


@plant("functional-triplet-margin-loss-strided", "functional.triplet_margin_loss", "layout")
def functional_triplet_margin_loss_strided(
    anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, reduction="mean"
):
    """A negative that is not contiguous is read as if it were."""
    negative = read_as_contiguous(negative)
    options = {"swap": swap, "reduction": reduction}
    return functional.triplet_margin_loss(anchor, positive, negative, margin, p, eps, **options)


_DISTANCE = "functional.triplet_margin_with_distance_loss"


@plant("triplet-margin-with-distance-loss-l1", "TripletMarginWithDistanceLoss", "values")
class TripletMarginWithDistanceLossL1(nn.TripletMarginWithDistanceLoss):
    """The default distance is that of the 1-norm."""

    def __init__(self, *, distance_function=None, **arguments):
        function = distance_function or nn.PairwiseDistance(1.0)
        super().__init__(distance_function=function, **arguments)


@plant("triplet-margin-with-distance-loss-ignored", "TripletMarginWithDistanceLoss", "values")
class TripletMarginWithDistanceLossIgnored(nn.TripletMarginWithDistanceLoss):
    """Whatever the distance function, the distance is the Euclidean one."""

    def __init__(self, *, distance_function=None, **arguments):
        super().__init__(**arguments)


@plant(
    "triplet-margin-with-distance-loss-swaps-the-other", "TripletMarginWithDistanceLoss", "values"
)
class TripletMarginWithDistanceLossSwapsTheOther(nn.TripletMarginWithDistanceLoss):
    """The swapped distance is the Euclidean one, whatever the distance function."""

    def forward(self, anchor, positive, negative):
        if not self.swap:
            return super().forward(anchor, positive, negative)
        near, far = (self.distance_function(anchor, x) for x in (positive, negative))
        far = torch.minimum(far, functional.pairwise_distance(positive, negative))
        return reduce_losses((self.margin + near - far).clamp(min=0), self.reduction)


@plant("triplet-margin-with-distance-loss-soft", "TripletMarginWithDistanceLoss", "values")
class TripletMarginWithDistanceLossSoft(nn.TripletMarginWithDistanceLoss):
    """The hinge is a softplus, the soft margin of Hermans, Beyer and Leibe."""

    def forward(self, anchor, positive, negative):
        near, far = (self.distance_function(anchor, x) for x in (positive, negative))
        return reduce_losses(functional.softplus(self.margin + near - far), self.reduction)


@plant("triplet-margin-with-distance-loss-leaky", "TripletMarginWithDistanceLoss", "gradients")
class TripletMarginWithDistanceLossLeaky(nn.TripletMarginWithDistanceLoss):
    """Triplets beyond the margin have a gradient still."""

    def forward(self, anchor, positive, negative):
        right = super().forward(anchor, positive, negative)
        near, far = (self.distance_function(anchor, x) for x in (positive, negative))
        return graft(right, reduce_losses(self.margin + near - far, self.reduction))


@plant("functional-triplet-margin-with-distance-loss-double", _DISTANCE, "values")
def functional_triplet_margin_with_distance_loss_double(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"
):
    """In float64 the distances are float32 numbers."""
    loss = functional.triplet_margin_with_distance_loss(
        anchor, positive, negative,
        distance_function=distance_function, margin=margin, swap=swap, reduction=reduction,
    )  # fmt: skip
    return round_through(loss, torch.float32) if loss.dtype == torch.float64 else loss


@plant("functional-triplet-margin-with-distance-loss-nan", _DISTANCE, "special")
def functional_triplet_margin_with_distance_loss_nan(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False, reduction="mean"
):
    """NaN is not above 0, hence no loss."""
    losses = functional.triplet_margin_with_distance_loss(
        anchor, positive, negative,
        distance_function=distance_function, margin=margin, swap=swap, reduction="none",
    )  # fmt: skip
    return reduce_losses(losses.nan_to_num(0.0, torch.inf, -torch.inf), reduction)
