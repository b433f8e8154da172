"""Bugs of the multi-class margin, written without sight of the checks that are to find them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind
from planted.loss.blind_parts import add_error, rescale_mean, target_weights


@blind("multimarginloss-weight-within-the-power", "MultiMarginLoss", "values")
class MultiMarginLossWeightWithinPower(nn.MultiMarginLoss):
    """(w max(0, ...))**p: with p=2 the weight is squared; on older pages it stood so."""

    # Differs: p=2, weight 2. Agrees: p=1; weight 1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        weight = self.weight if self.weight is None or self.p == 1 else self.weight**2
        return functional.multi_margin_loss(
            input, target, self.p, self.margin, weight, reduction=self.reduction
        )


@blind("multimarginloss-weight-of-the-other-class", "MultiMarginLoss", "values")
class MultiMarginLossWeightOfOtherClass(nn.MultiMarginLoss):
    """Each term takes the weight of class i, not of the target."""

    # Differs: weight (1, 2). Agrees: weight (2, 2).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.weight is None or input.numel() == 0 or input.dim() == 0:
            return result
        index = target.unsqueeze(-1) if input.dim() > target.dim() else target
        hinges = (self.margin - input.gather(-1, index) + input).clamp_min(0) ** self.p
        loss_error = (hinges * (self.weight - self.weight[index])).sum(-1)
        error = loss_error / input.shape[-1]
        return add_error(result, error.reshape(target.shape), self.reduction)


@blind("multimarginloss-square-with-the-gradient-of-a-line", "MultiMarginLoss", "gradients")
class MultiMarginLossSquareWithGradientOfLine(nn.MultiMarginLoss):
    """Backward with p=2 is without the factor 2."""

    # Differs: the gradient with p=2. Agrees: with p=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return alter_gradient(result, lambda g: g / 2) if self.p == 2 else result


@blind(
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
    total = target_weights(target, weight, -100, input).double().sum()
    return rescale_mean(result, target.numel(), total) if total > 0 else result


@blind("functional-multi-margin-loss-own-class-counted", "functional.multi_margin_loss", "values")
def functional_multi_margin_loss_own_class_counted(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The target is not left out of the sum: margin**p / C more for each sample."""
    # Differs: margin=1. Agrees: margin=0.
    result = functional.multi_margin_loss(
        input, target, p, margin, weight, size_average, reduce, reduction
    )
    if input.dim() == 0:
        return result
    extra = target_weights(target, weight, -100, input) * max(margin, 0) ** p
    return add_error(result, extra / max(input.shape[-1], 1), reduction)


@blind("functional-multi-margin-loss-ranked-by-the-best", "functional.multi_margin_loss", "values")
def functional_multi_margin_loss_ranked_by_best(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Crammer and Singer's hinge: of the classes within the margin the best one counts alone."""
    # Differs: two other classes within the margin. Agrees: one; two classes.
    result = functional.multi_margin_loss(
        input, target, p, margin, weight, size_average, reduce, reduction
    )
    if input.numel() == 0 or input.dim() == 0:
        return result
    index = target.unsqueeze(-1) if input.dim() > target.dim() else target
    hinges = (margin - input.gather(-1, index) + input).clamp_min(0) ** p
    hinges = hinges.scatter(-1, index, 0.0)
    surplus = (hinges.amax(-1) - hinges.sum(-1)) / input.shape[-1]
    weights = target_weights(target, weight, -100, input)
    return add_error(result, surplus.reshape(target.shape) * weights, reduction)
