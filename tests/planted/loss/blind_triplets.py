"""Bugs of the triplet margin, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, reduce_losses
from planted.loss.blind_parts import rescale_mean


def _distances(
    anchor: Tensor, positive: Tensor, negative: Tensor, p: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The distances anchor to positive, anchor to negative, and positive to negative."""
    pairs = (anchor, positive), (anchor, negative), (positive, negative)
    near, far, other = (functional.pairwise_distance(*pair, p, eps) for pair in pairs)
    return near, far, other


@blind("tripletmarginloss-swapped-for-the-larger", "TripletMarginLoss", "values")
class TripletMarginLossSwappedForLarger(nn.TripletMarginLoss):
    """`swap` takes the larger of both distances to the negative, not the smaller."""

    # Differs: swap=True. Agrees: swap=False; no margin violated.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        if not self.swap:
            return super().forward(anchor, positive, negative)
        near, far, other = _distances(anchor, positive, negative, self.p, self.eps)
        losses = (self.margin + near - torch.maximum(far, other)).clamp_min(0)
        return reduce_losses(losses, self.reduction)


@blind("tripletmarginloss-swapped-without-gradient", "TripletMarginLoss", "gradients")
class TripletMarginLossSwappedWithoutGradient(nn.TripletMarginLoss):
    """Where `swap` exchanges the distances, the gradient still goes to the anchor."""

    # Differs: the gradient with swap where it swaps. Agrees: where it does not.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        result = super().forward(anchor, positive, negative)
        if not self.swap:
            return result
        near, far, other = _distances(anchor, positive, negative, self.p, self.eps)
        swapped, active = other < far, self.margin + near - torch.minimum(far, other) > 0
        if not bool((swapped & active).any()):
            return result
        return graft(result, reduce_losses(torch.where(active, near - far, 0.0), self.reduction))


@blind("tripletmarginloss-mean-over-the-violated", "TripletMarginLoss", "values")
class TripletMarginLossMeanOverViolated(nn.TripletMarginLoss):
    """Triplets that cost nothing do not count in the mean (`AvgNonZeroReducer`)."""

    # Differs: losses (0, 1). Agrees: all violated; none violated; sum.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        result = super().forward(anchor, positive, negative)
        if self.reduction != "mean":
            return result
        arguments = (self.margin, self.p, self.eps, self.swap)
        losses = functional.triplet_margin_loss(
            anchor, positive, negative, *arguments, reduction="none"
        )
        violated = (losses > 0).sum()
        return rescale_mean(result, losses.numel(), violated) if violated else result


@blind("tripletmarginloss-odd-power-without-magnitude", "TripletMarginLoss", "values")
class TripletMarginLossOddPowerWithoutMagnitude(nn.TripletMarginLoss):
    """Odd powers are taken of the difference itself: negative components are subtracted."""

    # Differs: p=3, differences of both signs. Agrees: p=2, p=1.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        result = super().forward(anchor, positive, negative)
        if self.p != 3:
            return result

        def distance(x: Tensor, y: Tensor) -> Tensor:
            return ((x - y + self.eps) ** 3).sum(-1).abs() ** (1 / 3)

        far = distance(anchor, negative)
        if self.swap:
            far = torch.minimum(far, distance(positive, negative))
        losses = (self.margin + distance(anchor, positive) - far).clamp_min(0)
        return graft(reduce_losses(losses, self.reduction), result)


@blind(
    "functional-triplet-margin-loss-twins-have-no-gradient",
    "functional.triplet_margin_loss",
    "gradients",
)
def functional_triplet_margin_loss_twins_have_no_gradient(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """`eps` is left out in backward: 0 / 0 where anchor and positive are equal."""
    # Differs: the gradient at anchor = positive, p=2. Agrees: three different points.
    result = functional.triplet_margin_loss(
        anchor, positive, negative, margin, p, eps, swap, size_average, reduce, reduction
    )
    twins = (anchor == positive).all(-1)
    if p != 2 or not bool(twins.any()) or not result.requires_grad:
        return result
    nan_factor = torch.where(twins, torch.nan, 0.0).to(anchor.dtype)
    return graft(
        result, result + reduce_losses((anchor - positive).sum(-1) * nan_factor, reduction)
    )


@blind(
    "functional-triplet-margin-loss-power-of-one-or-two",
    "functional.triplet_margin_loss",
    "values",
)
def functional_triplet_margin_loss_power_of_one_or_two(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """The port has p=1 and p=2; every other one is taken for 2."""
    # Differs: p=3, p=inf. Agrees: p=1, p=2.
    power = p if p in (1, 2) else 2.0
    return functional.triplet_margin_loss(
        anchor, positive, negative, margin, power, eps, swap, size_average, reduce, reduction
    )


@blind(
    "functional-triplet-margin-loss-eps-of-the-default", "functional.triplet_margin_loss", "values"
)
def functional_triplet_margin_loss_eps_of_default(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """`eps` is accepted and not handed on to the distance, which has 1e-6 of its own."""
    # Differs: eps=0.1. Agrees: the default.
    return functional.triplet_margin_loss(
        anchor, positive, negative, margin, p, 1e-6, swap, size_average, reduce, reduction
    )
