"""Bugs of triplets of any distance, written without sight of the checks that are to find them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, reduce_losses
from planted.loss.blind_parts import add_error


def _choose_distance(distance: Any) -> Any:
    return functional.pairwise_distance if distance is None else distance


@blind(
    "tripletmarginwithdistanceloss-swap-is-all-or-nothing",
    "TripletMarginWithDistanceLoss",
    "values",
)
class TripletMarginWithDistanceLossSwapAllOrNothing(nn.TripletMarginWithDistanceLoss):
    """`swap` is decided for the batch: by the distances' sums, not sample by sample."""

    # Differs: swap, one of two samples to be swapped. Agrees: one sample; swap=False.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        result = super().forward(anchor, positive, negative)
        if not self.swap:
            return result
        distance = _choose_distance(self.distance_function)
        far, other = distance(anchor, negative), distance(positive, negative)
        right = torch.minimum(far, other)
        wrong = other if bool(other.sum() < far.sum()) else far
        if bool((right == wrong).all()):
            return result
        losses = (self.margin + distance(anchor, positive) - wrong).clamp_min(0)
        return reduce_losses(losses, self.reduction)


@blind(
    "tripletmarginwithdistanceloss-default-without-eps",
    "TripletMarginWithDistanceLoss",
    "gradients",
)
class TripletMarginWithDistanceLossDefaultWithoutEps(nn.TripletMarginWithDistanceLoss):
    """The default distance is a plain norm, without `eps`: no gradient between equal points."""

    # Differs: the gradient at anchor = positive. Agrees: three different points.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        result = super().forward(anchor, positive, negative)
        pairs = [(anchor, positive), (anchor, negative), (positive, negative)][: 2 + self.swap]
        plain = self.distance_function is None or isinstance(
            self.distance_function, nn.PairwiseDistance
        )
        twins = any(bool((x == y).all(-1).any()) for x, y in pairs)
        if not plain or not twins or not result.requires_grad:
            return result
        constants = [torch.where((x == y).all(-1, True), x.detach(), x) for x, y in pairs]
        other = [torch.where((x == y).all(-1, True), y.detach(), y) for x, y in pairs]
        near, *far = map(_choose_distance(self.distance_function), constants, other)
        far = torch.minimum(*far) if self.swap else far[0]
        losses = (self.margin + near - far).clamp_min(0)
        return graft(result, reduce_losses(losses, self.reduction))


@blind(
    "tripletmarginwithdistanceloss-nearest-without-gradient",
    "TripletMarginWithDistanceLoss",
    "gradients",
)
class TripletMarginWithDistanceLossNearestWithoutGradient(nn.TripletMarginWithDistanceLoss):
    """With `swap` the smaller distance is chosen under `no_grad`: nothing pushes the negative."""

    # Differs: the gradient with swap. Agrees: swap=False.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        result = super().forward(anchor, positive, negative)
        if not self.swap or not result.requires_grad:
            return result
        distance = _choose_distance(self.distance_function)
        near = distance(anchor, positive)
        far = torch.minimum(distance(anchor, negative), distance(positive, negative))
        losses = (self.margin + near - far.detach()).clamp_min(0)
        return graft(result, reduce_losses(losses, self.reduction))


@blind(
    "functional-triplet-margin-with-distance-loss-margin-behind-the-hinge",
    "functional.triplet_margin_with_distance_loss",
    "values",
)
def functional_triplet_margin_with_distance_loss_margin_behind_hinge(
    anchor,
    positive,
    negative,
    *,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """max(0, near - far) + margin, where the hinge is to be around all of it."""
    # Differs: near < far. Agrees: near > far.
    result = functional.triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=distance_function,
        margin=margin,
        swap=swap,
        reduction=reduction,
    )
    distance = _choose_distance(distance_function)
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = torch.minimum(far, distance(positive, negative))
    error = (near - far).clamp_min(0) + margin - (margin + near - far).clamp_min(0)
    return add_error(result, torch.where(near < far, error, 0.0), reduction)


@blind(
    "functional-triplet-margin-with-distance-loss-swapped-order",
    "functional.triplet_margin_with_distance_loss",
    "values",
)
def functional_triplet_margin_with_distance_loss_swapped_order(
    anchor,
    positive,
    negative,
    *,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """`swap` measures from the negative to the positive: another number if order matters.

    Of the default distance it is the `eps` whose sign is another: 2e-6 in a distance.
    """
    # Differs: swap, positive 0, negative 1. Agrees: swap=False; a symmetric distance.
    if not swap:
        return functional.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=distance_function,
            margin=margin,
            swap=swap,
            reduction=reduction,
        )
    distance = _choose_distance(distance_function)
    near = distance(anchor, positive)
    far = torch.minimum(distance(anchor, negative), distance(negative, positive))
    return reduce_losses((margin + near - far).clamp_min(0), reduction)


@blind(
    "functional-triplet-margin-with-distance-loss-anchor-pulled-once",
    "functional.triplet_margin_with_distance_loss",
    "gradients",
)
def functional_triplet_margin_with_distance_loss_anchor_pulled_once(
    anchor,
    positive,
    negative,
    *,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """The anchor's gradient comes from the positive alone: a scatter overwrites the other part."""
    # Differs: the gradient of anchor. Agrees: of positive and negative.
    arguments = {
        "distance_function": distance_function,
        "margin": margin,
        "swap": swap,
        "reduction": reduction,
    }
    result = functional.triplet_margin_with_distance_loss(anchor, positive, negative, **arguments)
    if not anchor.requires_grad:
        return result
    distance = _choose_distance(distance_function)
    away = alter_gradient(anchor, torch.zeros_like)
    near, far = distance(anchor, positive), distance(away, negative)
    if swap:
        far = torch.minimum(far, distance(positive, negative))
    return graft(result, reduce_losses((margin + near - far).clamp_min(0), reduction))
