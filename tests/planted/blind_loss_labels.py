"""Bugs of losses of many labels, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.blind_loss_parts import amiss, reduced, scaled, weights_of, wide
from planted.bug import alter_gradient, graft, plant

# Multi-label margin


def _front(target: Tensor) -> Tensor:
    """Which targets are before the first −1."""
    return (target >= 0).long().cumprod(-1).bool()


def _hinges(
    input: Tensor, target: Tensor, chosen: Tensor, own: Tensor, least: float = 0.0
) -> Tensor:
    """Sums of the hinges of each chosen target against each class that is not `own`."""
    safe = torch.where(chosen, target, 0)
    hinges = (1 - (input.gather(-1, safe).unsqueeze(-1) - input.unsqueeze(-2))).clamp_min(least)
    return torch.where(chosen.unsqueeze(-1) & ~own.unsqueeze(-2), hinges, 0.0).sum((-1, -2))


def _own(target: Tensor, chosen: Tensor) -> Tensor:
    """For each class whether it is a target."""
    classes = torch.arange(target.shape[-1])
    return ((target.unsqueeze(-1) == classes) & chosen.unsqueeze(-1)).any(-2)


@plant("multilabelmarginloss-targets-behind-the-gap", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossTargetsBehindGap(nn.MultiLabelMarginLoss):
    """All targets that are not negative count, those behind the first -1, too."""

    # Differs: target (1, -1, 0). Agrees: target (1, 0, -1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        order = (target < 0).long().argsort(dim=-1, stable=True)
        return super().forward(input, target.gather(-1, order))


@plant("multilabelmarginloss-targets-against-each-other", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossTargetsAgainstEachOther(nn.MultiLabelMarginLoss):
    """A target is held against every class but itself; torch leaves out all targets."""

    # Differs: target (0, 1, -1). Agrees: target (0, -1, -1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        chosen = _front(target)
        right = _hinges(input, target, chosen, _own(target, chosen))
        nobody = torch.zeros_like(chosen)
        wrong = _hinges(input, target, chosen, nobody) - chosen.sum(-1)
        if bool((chosen.sum(-1) > 1).any()):
            error = (wrong - right) / max(input.shape[-1], 1)
            return amiss(result, error, self.reduction)
        return result


@plant("multilabelmarginloss-minus-one-is-the-last-class", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossMinusOneIsLastClass(nn.MultiLabelMarginLoss):
    """`is_target[target] = 1` of Python: -1 marks the last class, which no target meets then."""

    # Differs: target (0, -1, -1). Agrees: target (2, -1, -1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if input.shape[-1] == 0:
            return result
        chosen = _front(target)
        own = _own(target, chosen)
        marked = own.clone()
        marked[..., -1] |= (target < 0).any(-1)
        right, wrong = _hinges(input, target, chosen, own), _hinges(input, target, chosen, marked)
        return amiss(result, (wrong - right) / input.shape[-1], self.reduction)


@plant("multilabelmarginloss-one-sample-keeps-an-axis", "MultiLabelMarginLoss", "shape")
class MultiLabelMarginLossOneSampleKeepsAxis(nn.MultiLabelMarginLoss):
    """Without a reduction a sample without a batch comes back as a batch of one."""

    # Differs: input (3,), none. Agrees: input (1, 3).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result[None] if input.dim() == 1 and self.reduction == "none" else result


@plant(
    "functional-multilabel-margin-loss-over-the-targets",
    "functional.multilabel_margin_loss",
    "values",
)
def functional_multilabel_margin_loss_over_targets(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """A sample's loss is divided by the number of its targets, not by that of the classes."""
    # Differs: input (3,), target (0, -1, -1). Agrees: losses of 0.
    result = functional.multilabel_margin_loss(input, target, size_average, reduce, reduction)
    chosen = _front(target)
    right = _hinges(input, target, chosen, _own(target, chosen))
    count = chosen.sum(-1).clamp_min(1)
    return amiss(result, right / count - right / max(input.shape[-1], 1), reduction)


@plant(
    "functional-multilabel-margin-loss-target-pulled-once",
    "functional.multilabel_margin_loss",
    "gradients",
)
def functional_multilabel_margin_loss_target_pulled_once(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """A target is pulled by 1 / C however many classes are within its margin."""
    # Differs: the gradient with two classes within. Agrees: with one; the values.
    result = functional.multilabel_margin_loss(input, target, size_average, reduce, reduction)
    chosen = _front(target)
    own = _own(target, chosen)
    if input.numel() == 0 or not input.requires_grad:
        return result
    score = input.gather(-1, torch.where(chosen, target, 0))
    within = 1 - (score.unsqueeze(-1) - input.unsqueeze(-2)) > 0
    within = (within & chosen.unsqueeze(-1) & ~own.unsqueeze(-2)).sum(-1)
    surplus = (score * (within - 1).clamp_min(0)).sum(-1) / input.shape[-1]
    return graft(result, result + reduced(surplus, reduction))


@plant(
    "functional-multilabel-margin-loss-repeated-targets-once",
    "functional.multilabel_margin_loss",
    "values",
)
def functional_multilabel_margin_loss_repeated_targets_once(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """Targets become a row of flags: one that is named twice counts once. The page sums over j."""
    # Differs: target (0, 0, -1). Agrees: target (0, 1, -1).
    result = functional.multilabel_margin_loss(input, target, size_average, reduce, reduction)
    chosen = _front(target)
    same = (target.unsqueeze(-1) == target.unsqueeze(-2)) & chosen.unsqueeze(-2)
    again = same.tril(-1).any(-1) & chosen
    return amiss(
        result,
        -_hinges(input, target, again, _own(target, chosen)) / max(input.shape[-1], 1),
        reduction,
    )


# Multi-label soft margin


@plant("multilabelsoftmarginloss-weights-averaged-out", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossWeightsAveragedOut(nn.MultiLabelSoftMarginLoss):
    """A sample's mean over the classes is a weighted one: it divides by the sum of the weights."""

    # Differs: weight (1, 2). Agrees: weight (1, 1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.weight is None or not bool(self.weight.sum() > 0):
            return result
        total = self.weight.detach().double().expand(input.shape[-1:]).sum()
        return scaled(result, input.shape[-1], total)


@plant("multilabelsoftmarginloss-weights-of-the-labels-alone", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossWeightsOfLabelsAlone(nn.MultiLabelSoftMarginLoss):
    """The weight of a class counts where it is a label; absent ones weigh 1, as with pos_weight."""

    # Differs: weight 2, target 0. Agrees: target 1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.weight is None:
            return result
        absent = -functional.logsigmoid(-input) * (1 - target) * (1 - self.weight)
        return amiss(result, absent.sum(-1) / max(input.shape[-1], 1), self.reduction)


@plant("multilabelsoftmarginloss-logarithm-of-a-sigmoid", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossLogarithmOfSigmoid(nn.MultiLabelSoftMarginLoss):
    """log(sigmoid(x) + 1e-8): a label of -30 costs 18.4."""

    # Differs: input -30, target 1. Agrees: input 0, to rounding.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        far = ((input.abs() > 15) & ((input > 0) != (target > 0.5))).detach()
        if not bool(far.any()):
            return super().forward(input, target)
        limit = torch.log(
            torch.sigmoid(wide(input.detach())).minimum(torch.sigmoid(-wide(input.detach()))) + 1e-8
        )
        bent = torch.where(input > 0, -limit, limit).to(input.dtype)
        return super().forward(torch.where(far, graft(bent, input), input), target)


@plant(
    "functional-multilabel-soft-margin-loss-classes-summed",
    "functional.multilabel_soft_margin_loss",
    "values",
)
def functional_multilabel_soft_margin_loss_classes_summed(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Without a reduction a sample's losses are summed over the classes, not averaged."""
    # Differs: none. Agrees: mean; sum; one class.
    result = functional.multilabel_soft_margin_loss(
        input, target, weight, size_average, reduce, reduction
    )
    return result * input.shape[-1] if reduction == "none" else result


@plant(
    "functional-multilabel-soft-margin-loss-target-without-gradient",
    "functional.multilabel_soft_margin_loss",
    "gradients",
)
def functional_multilabel_soft_margin_loss_target_without_gradient(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Labels are data: their gradient, -x w / C, is none."""
    # Differs: the gradient of target. Agrees: of input.
    if target.requires_grad:
        target = alter_gradient(target, torch.zeros_like)
    return functional.multilabel_soft_margin_loss(
        input, target, weight, size_average, reduce, reduction
    )


@plant(
    "functional-multilabel-soft-margin-loss-small-losses-lost",
    "functional.multilabel_soft_margin_loss",
    "values",
)
def functional_multilabel_soft_margin_loss_small_losses_lost(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """log(1 + exp(-x)) is 0 from 17 on in float32, where it is 4e-8 and less."""
    # Differs: input 20, target 1 in each class. Agrees: input -20, target 1, to rounding.
    result = functional.multilabel_soft_margin_loss(
        input, target, weight, size_average, reduce, reduction
    )
    x = wide(input.detach())
    lost = (x.abs() > 17) & (target == (x > 0))
    small = torch.where(lost, torch.log1p(torch.exp(-x.abs())), 0.0)
    small = small if weight is None else small * weight
    return graft(amiss(result, -small.sum(-1) / max(input.shape[-1], 1), reduction), result)


# Multi-class margin


@plant("multimarginloss-weight-within-the-power", "MultiMarginLoss", "values")
class MultiMarginLossWeightWithinPower(nn.MultiMarginLoss):
    """(w max(0, ...))**p: with p=2 the weight is squared; on older pages it stood so."""

    # Differs: p=2, weight 2. Agrees: p=1; weight 1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        weight = self.weight if self.weight is None or self.p == 1 else self.weight**2
        return functional.multi_margin_loss(
            input, target, self.p, self.margin, weight, reduction=self.reduction
        )


@plant("multimarginloss-weight-of-the-other-class", "MultiMarginLoss", "values")
class MultiMarginLossWeightOfOtherClass(nn.MultiMarginLoss):
    """Each term takes the weight of class i, not of the target."""

    # Differs: weight (1, 2). Agrees: weight (2, 2).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.weight is None or input.numel() == 0:
            return result
        index = target.unsqueeze(-1) if input.dim() > target.dim() else target
        hinges = (self.margin - input.gather(-1, index) + input).clamp_min(0) ** self.p
        uneven = (hinges * (self.weight - self.weight[index])).sum(-1)
        error = uneven / input.shape[-1]
        return amiss(result, error.reshape(target.shape), self.reduction)


@plant("multimarginloss-square-with-the-gradient-of-a-line", "MultiMarginLoss", "gradients")
class MultiMarginLossSquareWithGradientOfLine(nn.MultiMarginLoss):
    """Backward with p=2 is without the factor 2."""

    # Differs: the gradient with p=2. Agrees: with p=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return alter_gradient(result, lambda g: g / 2) if self.p == 2 else result


@plant(
    "functional-multi-margin-loss-mean-over-the-weights", "functional.multi_margin_loss", "values"
)
def functional_multi_margin_loss_mean_over_weights(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The mean divides by the sum of the targets' weights, as cross entropy does."""
    # Differs: mean with weight (1, 2), target 1. Agrees: sum; weight (1, 1).
    result = functional.multi_margin_loss(
        input, target, p, margin, weight, size_average, reduce, reduction
    )
    if weight is None or reduction != "mean":
        return result
    total = weights_of(target, weight, -100, input).double().sum()
    return scaled(result, target.numel(), total) if total > 0 else result


@plant("functional-multi-margin-loss-own-class-counted", "functional.multi_margin_loss", "values")
def functional_multi_margin_loss_own_class_counted(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The target is not left out of the sum: margin**p / C more for each sample."""
    # Differs: margin=1. Agrees: margin=0.
    result = functional.multi_margin_loss(
        input, target, p, margin, weight, size_average, reduce, reduction
    )
    more = weights_of(target, weight, -100, input) * max(margin, 0) ** p
    return amiss(result, more / max(input.shape[-1], 1), reduction)


@plant("functional-multi-margin-loss-ranked-by-the-best", "functional.multi_margin_loss", "values")
def functional_multi_margin_loss_ranked_by_best(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Crammer and Singer's hinge: of the classes within the margin the best one counts alone."""
    # Differs: two other classes within the margin. Agrees: one; two classes.
    result = functional.multi_margin_loss(
        input, target, p, margin, weight, size_average, reduce, reduction
    )
    if input.numel() == 0:
        return result
    index = target.unsqueeze(-1) if input.dim() > target.dim() else target
    hinges = (margin - input.gather(-1, index) + input).clamp_min(0) ** p
    hinges = hinges.scatter(-1, index, 0.0)
    surplus = (hinges.amax(-1) - hinges.sum(-1)) / input.shape[-1]
    weights = weights_of(target, weight, -100, input)
    return amiss(result, surplus.reshape(target.shape) * weights, reduction)
