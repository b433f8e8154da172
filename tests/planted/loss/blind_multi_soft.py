"""Bugs of multi-label soft margins, written without sight of the checks that find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft
from planted.loss.blind_parts import add_error, rescale_mean, widen_halves


@blind("multilabelsoftmarginloss-weights-averaged-out", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossWeightsAveragedOut(nn.MultiLabelSoftMarginLoss):
    """A sample's mean over the classes is a weighted one: it divides by the sum of the weights."""

    # Differs: weight (1, 2). Agrees: weight (1, 1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.weight is None or not bool(self.weight.sum() > 0):
            return result
        total = self.weight.detach().double().expand(input.shape[-1:]).sum()
        return rescale_mean(result, input.shape[-1], total)


@blind("multilabelsoftmarginloss-weights-of-the-labels-alone", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossWeightsOfLabelsAlone(nn.MultiLabelSoftMarginLoss):
    """The weight of a class counts where it is a label; absent ones weigh 1, as with pos_weight."""

    # Differs: weight 2, target 0. Agrees: target 1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.weight is None:
            return result
        absent = -functional.logsigmoid(-input) * (1 - target) * (1 - self.weight)
        return add_error(result, absent.sum(-1) / max(input.shape[-1], 1), self.reduction)


@blind("multilabelsoftmarginloss-logarithm-of-a-sigmoid", "MultiLabelSoftMarginLoss", "values")
class MultiLabelSoftMarginLossLogarithmOfSigmoid(nn.MultiLabelSoftMarginLoss):
    """log(sigmoid(x) + 1e-8): a label of -30 costs 18.4."""

    # Differs: input -30, target 1. Agrees: input 0, to rounding.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        affected = ((input.abs() > 15) & ((input > 0) != (target > 0.5))).detach()
        if not bool(affected.any()):
            return super().forward(input, target)
        limit = torch.log(
            torch.sigmoid(widen_halves(input.detach())).minimum(
                torch.sigmoid(-widen_halves(input.detach()))
            )
            + 1e-8
        )
        limited = torch.where(input > 0, -limit, limit).to(input.dtype)
        return super().forward(torch.where(affected, graft(limited, input), input), target)


@blind(
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


@blind(
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
    x = widen_halves(input.detach())
    affected = (x.abs() > 17) & (target == (x > 0))
    small = torch.where(affected, torch.log1p(torch.exp(-x.abs())), 0.0)
    small = small if weight is None else small * weight
    return graft(add_error(result, -small.sum(-1) / max(input.shape[-1], 1), reduction), result)
