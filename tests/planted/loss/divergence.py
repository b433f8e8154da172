"""KLDivLoss and its function."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import graft, plant, read_as_contiguous, reduce_losses, round_through


@plant("kl-div-loss-batchmean-is-mean", "KLDivLoss", "values")
class KlDivLossBatchmeanIsMean(nn.KLDivLoss):
    """A "batchmean" divides by all elements, as "mean" does."""

    def forward(self, input, target):
        reduction = "mean" if self.reduction == "batchmean" and input.numel() else self.reduction
        return functional.kl_div(input, target, reduction=reduction, log_target=self.log_target)


@plant("kl-div-loss-mean-is-batchmean", "KLDivLoss", "values")
class KlDivLossMeanIsBatchmean(nn.KLDivLoss):
    """A "mean" divides by the batch, as torch announces for its next major version."""

    def forward(self, input, target):
        reduction = "batchmean" if self.reduction == "mean" and input.numel() else self.reduction
        return functional.kl_div(input, target, reduction=reduction, log_target=self.log_target)


@plant("kl-div-loss-cross-entropy", "KLDivLoss", "values")
class KlDivLossCrossEntropy(nn.KLDivLoss):
    """The entropy of the target, which no input changes, is left out."""

    def forward(self, input, target):
        if self.log_target or self.reduction == "batchmean":
            return super().forward(input, target)
        return reduce_losses(-target * input, self.reduction)


@plant("kl-div-loss-entropy-left-out", "KLDivLoss", "gradients")
class KlDivLossEntropyLeftOut(nn.KLDivLoss):
    """The gradient of the target is that of the cross entropy alone."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if self.log_target:
            return right
        entropy = functional.kl_div(torch.zeros_like(input), target, reduction=self.reduction)
        return graft(right, right - entropy)


@plant("kl-div-loss-of-a-transpose", "KLDivLoss", "layout")
class KlDivLossOfATranspose(nn.KLDivLoss):
    """A target that is not contiguous is read as if it were."""

    def forward(self, input, target):
        return super().forward(input, read_as_contiguous(target))


@plant("kl-div-loss-endless-is-large", "KLDivLoss", "special")
class KlDivLossEndlessIsLarge(nn.KLDivLoss):
    """The logarithm of 0 counts as -100."""

    def forward(self, input, target):
        finite = torch.where(input == -torch.inf, torch.full_like(input, -100.0), input)
        return super().forward(graft(finite, input), target)


@plant("functional-kl-div-logarithm-of-target", "functional.kl_div", "values")
def functional_kl_div_logarithm_of_target(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """A target of logarithms is weighed by itself, not by its exponential."""
    if not log_target or reduction == "batchmean":
        return functional.kl_div(input, target, reduction=reduction, log_target=log_target)
    return reduce_losses(-target * (target - input), reduction)


# elements: few cases draw more than 512 in one row.
@plant("functional-kl-div-many-in-bfloat16", "functional.kl_div", "laws")
def functional_kl_div_many_in_bfloat16(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """More than 1100 logarithms are read in bfloat16."""
    if input.dim() == 1 and len(input) > 1100 and input.dtype == torch.float32:
        input = round_through(input, torch.bfloat16)
    return functional.kl_div(input, target, reduction=reduction, log_target=log_target)


@plant("functional-kl-div-exponentials-in-place", "functional.kl_div", "repeat")
def functional_kl_div_exponentials_in_place(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """The caller's logarithms become probabilities."""
    loss = functional.kl_div(input, target, reduction=reduction, log_target=log_target)
    if log_target and not torch.is_grad_enabled() and target.is_contiguous():
        target.exp_()
    return loss


@plant("functional-kl-div-any-mean", "functional.kl_div", "errors")
def functional_kl_div_any_mean(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """A reduction of another name is a mean."""
    known = reduction in ("none", "sum", "mean", "batchmean")
    reduction = reduction if known else "mean"
    return functional.kl_div(input, target, reduction=reduction, log_target=log_target)


@plant("functional-kl-div-batch-of-columns", "functional.kl_div", "values")
def functional_kl_div_batch_of_columns(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """A "batchmean" divides by the last axis, not by the first."""
    loss = functional.kl_div(input, target, reduction=reduction, log_target=log_target)
    if reduction != "batchmean" or input.dim() < 2 or not input.numel():
        return loss
    return loss * (input.shape[0] / input.shape[-1])


@plant("functional-kl-div-rows-of-losses", "functional.kl_div", "shape")
def functional_kl_div_rows_of_losses(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """Losses that are not reduced are added up along the last axis."""
    loss = functional.kl_div(input, target, reduction=reduction, log_target=log_target)
    return loss.sum(-1) if reduction == "none" and loss.dim() > 1 else loss
