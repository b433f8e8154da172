"""MultiMarginLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, and their functions."""

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


def _empty(input):
    """What torch gives of an empty batch is memory that nobody wrote to."""
    return not input.numel()


@plant("multi-margin-loss-true-class-counts", "MultiMarginLoss", "values")
class MultiMarginLossTrueClassCounts(nn.MultiMarginLoss):
    """The true class has a loss, too: the margin itself."""

    def forward(self, input, target):
        if _empty(input) or self.margin <= 0:
            return super().forward(input, target)
        own = self.margin**self.p / input.shape[-1]
        extra = torch.full(target.shape, own, dtype=input.dtype)
        if self.weight is not None:
            extra = extra * self.weight[target]
        return super().forward(input, target) + reduce_losses(extra, self.reduction)


@plant("multi-margin-loss-not-over-classes", "MultiMarginLoss", "values")
class MultiMarginLossNotOverClasses(nn.MultiMarginLoss):
    """The sum over the classes is not divided by their number."""

    def forward(self, input, target):
        return super().forward(input, target) * input.shape[-1]


@plant("multi-margin-loss-gradient-of-others", "MultiMarginLoss", "gradients")
class MultiMarginLossGradientOfOthers(nn.MultiMarginLoss):
    """The true class is pushed by the hardest other class only."""

    def forward(self, input, target):
        if input.dim() < 2 or _empty(input):
            return super().forward(input, target)
        own = nn.functional.one_hot(target, input.shape[-1]).bool()
        halved = alter_gradient(input, lambda g: torch.where(own, g / 2, g))
        return super().forward(halved, target)


@plant("multi-margin-loss-weights-of-others", "MultiMarginLoss", "values")
class MultiMarginLossWeightsOfOthers(nn.MultiMarginLoss):
    """The mean divides by the weights, as the cross entropy does."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        if self.weight is None or self.reduction != "mean" or _empty(input):
            return loss
        return loss * target.numel() / self.weight[target].sum()


@plant("functional-multi-margin-loss-class-out-of-range", "functional.multi_margin_loss", "errors")
def functional_multi_margin_loss_class_out_of_range(
    input, target, p=1, margin=1.0, weight=None, reduction="mean"
):
    """An index that is no class is cut to one."""
    if not target.is_floating_point():
        target = target.clamp(0, input.shape[-1] - 1)
    options = {"weight": weight, "reduction": reduction}
    return functional.multi_margin_loss(input, target, p, margin, **options)


@plant("functional-multi-margin-loss-transposed", "functional.multi_margin_loss", "layout")
def functional_multi_margin_loss_transposed(
    input, target, p=1, margin=1.0, weight=None, reduction="mean"
):
    """Scores that are not contiguous are read as if they were."""
    options = {"weight": weight, "reduction": reduction}
    return functional.multi_margin_loss(read_as_contiguous(input), target, p, margin, **options)


@plant("multilabel-margin-loss-behind-the-end", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossBehindTheEnd(nn.MultiLabelMarginLoss):
    """Labels behind the first -1 count, too."""

    def forward(self, input, target):
        if _empty(input):
            return super().forward(input, target)
        rows = target.reshape(-1, target.shape[-1])
        packed = torch.full_like(rows, -1)
        for row, labels in zip(packed, rows, strict=True):
            unique_labels = torch.unique(labels[labels >= 0])
            row[: len(unique_labels)] = unique_labels
        return super().forward(input, packed.view_as(target))


@plant("multilabel-margin-loss-over-pairs", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossOverPairs(nn.MultiLabelMarginLoss):
    """The sum of a sample is divided by its labels as well."""

    def forward(self, input, target):
        if _empty(input):
            return super().forward(input, target)
        losses = functional.multilabel_margin_loss(input, target, reduction="none")
        many = (target >= 0).long().cumprod(-1).sum(-1).clamp(min=1)
        return reduce_losses(losses / many, self.reduction)


@plant("multilabel-margin-loss-target-is-no-label", "MultiLabelMarginLoss", "gradients")
class MultiLabelMarginLossTargetIsNoLabel(nn.MultiLabelMarginLoss):
    """Labels have no gradient: the others are pushed down only."""

    def forward(self, input, target):
        return super().forward(alter_gradient(input, lambda g: g.clamp(min=0)), target)


@plant("multilabel-margin-loss-unlabelled", "MultiLabelMarginLoss", "shape")
class MultiLabelMarginLossUnlabelled(nn.MultiLabelMarginLoss):
    """Losses that are not reduced are those of the classes."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return loss.unsqueeze(-1).expand_as(input) if self.reduction == "none" else loss


# rows: few cases draw more than 17 samples.
@plant("functional-multilabel-margin-loss-many", "functional.multilabel_margin_loss", "laws")
def functional_multilabel_margin_loss_many(input, target, reduction="mean"):
    """From 18 samples on the last one has no label."""
    if input.dim() > 1 and len(input) > 17:
        target = torch.cat([target[:-1], torch.full_like(target[-1:], -1)])
    return functional.multilabel_margin_loss(input, target, reduction=reduction)


@plant("functional-multilabel-margin-loss-label", "functional.multilabel_margin_loss", "errors")
def functional_multilabel_margin_loss_label(input, target, reduction="mean"):
    """A label that is no class ends the labels."""
    if not target.is_floating_point():
        target = torch.where((target >= input.shape[-1]) | (target < -1), -1, target)
    return functional.multilabel_margin_loss(input, target, reduction=reduction)


@plant("multilabel-soft-margin-loss-sum-of-classes", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossSumOfClasses(nn.MultiLabelSoftMarginLoss):
    """The sum over the classes is not divided by their number."""

    def forward(self, input, target):
        return super().forward(input, target) * input.shape[-1]


@plant("multilabel-soft-margin-loss-of-the-sigmoid", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossOfTheSigmoid(nn.MultiLabelSoftMarginLoss):
    """log(σ(x)) in place of log σ(x): a saturated score has a loss of ∞, or no digits."""

    def forward(self, input, target):
        losses = -torch.where(target == 1, input.sigmoid().log(), (-input).sigmoid().log())
        losses = losses if self.weight is None else losses * self.weight
        return reduce_losses(losses.sum(-1) / input.shape[-1], self.reduction)


@plant("multilabel-soft-margin-loss-positive-only", "MultiLabelSoftMarginLoss", "gradients")
class MultiLabelSoftMarginLossPositiveOnly(nn.MultiLabelSoftMarginLoss):
    """Only classes that are there have a gradient."""

    def forward(self, input, target):
        right = super().forward(input, target)
        masked = torch.where(target == 1, input, input.detach())
        return graft(right, super().forward(masked, target))


_SOFT = "functional.multilabel_soft_margin_loss"


@plant("functional-multilabel-soft-margin-loss-double", _SOFT, "values")
def functional_multilabel_soft_margin_loss_double(input, target, weight=None, reduction="mean"):
    """In float64 the losses are float32 numbers."""
    loss = functional.multilabel_soft_margin_loss(input, target, weight, reduction=reduction)
    return round_through(loss, torch.float32) if loss.dtype == torch.float64 else loss


@plant("functional-multilabel-soft-margin-loss-nan", _SOFT, "special")
def functional_multilabel_soft_margin_loss_nan(input, target, weight=None, reduction="mean"):
    """A score of NaN is one of 0."""
    input = torch.where(input.isnan(), torch.zeros_like(input), input)
    return functional.multilabel_soft_margin_loss(input, target, weight, reduction=reduction)
