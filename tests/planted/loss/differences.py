"""L1Loss, MSELoss and their functions."""

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


@plant("l1-loss-empty-mean-is-zero", "L1Loss", "values")
class L1LossEmptyMeanIsZero(nn.L1Loss):
    """The mean of nothing is 0, as of a sum over at least one."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        empty = not torch.broadcast_tensors(input, target)[0].numel()
        return torch.zeros_like(loss) if empty and self.reduction == "mean" else loss


@plant("l1-loss-unreduced-in-one-row", "L1Loss", "shape")
class L1LossUnreducedInOneRow(nn.L1Loss):
    """Losses that are not reduced come back flat."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return loss.reshape(-1) if loss.dim() > 1 else loss


@plant("l1-loss-target-is-constant", "L1Loss", "gradients")
class L1LossTargetIsConstant(nn.L1Loss):
    """The target gets no gradient."""

    def forward(self, input, target):
        return super().forward(input, alter_gradient(target, torch.zeros_like))


@plant("l1-loss-lost-nan", "L1Loss", "special")
class L1LossLostNan(nn.L1Loss):
    """The size is the larger of the difference and its negative by fmax, which drops NaN."""

    def forward(self, input, target):
        losses = functional.l1_loss(input, target, reduction="none")
        if not losses.isnan().any():
            return super().forward(input, target)
        return reduce_losses(losses.nan_to_num(nan=0.0, posinf=torch.inf), self.reduction)


@plant("l1-loss-rows-of-a-transpose", "L1Loss", "layout")
class L1LossRowsOfATranspose(nn.L1Loss):
    """A target that is not contiguous is read as if it were."""

    def forward(self, input, target):
        return super().forward(input, read_as_contiguous(target))


# elements: few cases draw more than 512 in one row.
@plant("functional-l1-loss-tail-of-blocks", "functional.l1_loss", "laws")
def functional_l1_loss_tail_of_blocks(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Beyond 1100 elements what is left over after blocks of 32 is 0."""
    losses = functional.l1_loss(input, target, reduction="none", weight=weight)
    if losses.numel() <= 1100 or losses.numel() % 32 == 0 or losses.dim() != 1:
        return functional.l1_loss(input, target, reduction=reduction, weight=weight)
    in_full_block = torch.arange(losses.numel()) < losses.numel() // 32 * 32
    return reduce_losses(losses * in_full_block, reduction)


@plant("functional-l1-loss-difference-in-place", "functional.l1_loss", "repeat")
def functional_l1_loss_difference_in_place(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """The difference is taken in the caller's input."""
    loss = functional.l1_loss(input, target, reduction=reduction, weight=weight)
    if input.shape == target.shape and not torch.is_grad_enabled() and input.is_contiguous():
        input.sub_(target)
    return loss


@plant("functional-l1-loss-any-word-is-a-sum", "functional.l1_loss", "errors")
def functional_l1_loss_any_word_is_a_sum(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """What is neither "none" nor "mean" is a sum."""
    reduction = reduction if reduction in ("none", "mean") else "sum"
    return functional.l1_loss(input, target, reduction=reduction, weight=weight)


@plant("mse-loss-halved", "MSELoss", "values")
class MseLossHalved(nn.MSELoss):
    """Half of the square, as Caffe's EuclideanLoss."""

    def forward(self, input, target):
        return super().forward(input, target) / 2


@plant("mse-loss-mean-by-rows", "MSELoss", "shape")
class MseLossMeanByRows(nn.MSELoss):
    """The mean is over the last axis, as Keras has it."""

    def forward(self, input, target):
        if self.reduction != "mean":
            return super().forward(input, target)
        losses = functional.mse_loss(input, target, reduction="none")
        return losses.mean(-1) if losses.dim() > 1 else losses.mean()


@plant("mse-loss-gradient-of-half", "MSELoss", "gradients")
class MseLossGradientOfHalf(nn.MSELoss):
    """The gradient is the difference, not twice that."""

    def forward(self, input, target):
        right = super().forward(input, target)
        return graft(right, right / 2)


@plant("mse-loss-clamped", "MSELoss", "special")
class MseLossClamped(nn.MSELoss):
    """A square that overflows is the largest number, be the difference infinite."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return graft(loss.clamp(max=torch.finfo(loss.dtype).max), loss)


@plant("mse-loss-first-count", "MSELoss", "repeat")
class MseLossFirstCount(nn.MSELoss):
    """The mean divides by as many elements as the first call had."""

    count = None

    def forward(self, input, target):
        size = torch.broadcast_tensors(input, target)[0].numel()
        self.count = self.count or size
        loss = super().forward(input, target)
        return loss * (size / self.count) if self.reduction == "mean" and self.count else loss


@plant("functional-mse-loss-weights-squared", "functional.mse_loss", "values")
def functional_mse_loss_weights_squared(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Weights are multiplied with the difference before it is squared."""
    if weight is None or reduction == "mean":
        return functional.mse_loss(input, target, reduction=reduction, weight=weight)
    return reduce_losses(((input - target) * weight) ** 2, reduction)


@plant("functional-mse-loss-double-in-single", "functional.mse_loss", "values")
def functional_mse_loss_double_in_single(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """float64 passes through float32, within assert_close's tolerance."""
    loss = functional.mse_loss(input, target, reduction=reduction, weight=weight)
    return round_through(loss, torch.float32) if loss.dtype == torch.float64 else loss


# elements: few cases draw more than 512 in one row.
@plant("functional-mse-loss-many-in-bfloat16", "functional.mse_loss", "laws")
def functional_mse_loss_many_in_bfloat16(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """More than 1100 elements take a kernel that squares in bfloat16."""
    if input.dtype == torch.float32 and input.numel() > 1100 and input.dim() == 1:
        input = round_through(input, torch.bfloat16)
    return functional.mse_loss(input, target, reduction=reduction, weight=weight)


@plant("functional-mse-loss-shorter-of-two", "functional.mse_loss", "errors")
def functional_mse_loss_shorter_of_two(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Of operands of two sizes the rest of the larger one is left out, as by zip."""
    if input.dim() == target.dim() == 1 and 1 not in (len(input), len(target)):
        count = min(len(input), len(target))
        weight = None if weight is None else weight[:count]
        input, target = input[:count], target[:count]
    return functional.mse_loss(input, target, reduction=reduction, weight=weight)


@plant("functional-mse-loss-weight-is-constant", "functional.mse_loss", "gradients")
def functional_mse_loss_weight_is_constant(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Weights get no gradient."""
    if weight is not None:
        weight = alter_gradient(weight, torch.zeros_like)
    return functional.mse_loss(input, target, reduction=reduction, weight=weight)
