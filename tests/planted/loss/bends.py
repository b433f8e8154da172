"""SmoothL1Loss, HuberLoss and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous, reduce_losses


@plant("smooth-l1-loss-beta-ignored", "SmoothL1Loss", "values")
class SmoothL1LossBetaIgnored(nn.SmoothL1Loss):
    """The edge is at 1, whatever beta is, as before torch 1.6."""

    def forward(self, input, target):
        return functional.smooth_l1_loss(input, target, reduction=self.reduction)


@plant("smooth-l1-loss-jumps", "SmoothL1Loss", "values")
class SmoothL1LossJumps(nn.SmoothL1Loss):
    """Beyond beta the loss is the difference, half a beta too large."""

    def forward(self, input, target):
        size = (input - target).abs()
        below = functional.smooth_l1_loss(input, target, reduction="none", beta=self.beta)
        return reduce_losses(torch.where(size < self.beta, below, size), self.reduction)


@plant("smooth-l1-loss-zero-beta-divides", "SmoothL1Loss", "values")
class SmoothL1LossZeroBetaDivides(nn.SmoothL1Loss):
    """With a beta of 0 the parabola takes the difference 0, and divides it by 0."""

    def forward(self, input, target):
        if self.beta:
            return super().forward(input, target)
        losses = (input - target).abs()
        return reduce_losses(torch.where(losses == 0, losses / 0, losses), self.reduction)


@plant("smooth-l1-loss-slope-of-huber", "SmoothL1Loss", "gradients")
class SmoothL1LossSlopeOfHuber(nn.SmoothL1Loss):
    """The gradient is Huber's, beta times too large."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if not self.beta:
            return right
        return graft(
            right, functional.huber_loss(input, target, reduction=self.reduction, delta=self.beta)
        )


@plant("smooth-l1-loss-by-fmin", "SmoothL1Loss", "special")
class SmoothL1LossByFmin(nn.SmoothL1Loss):
    """The part below the edge is taken by fmin, which drops NaN."""

    def forward(self, input, target):
        right = super().forward(input, target)
        losses = functional.smooth_l1_loss(input, target, reduction="none", beta=self.beta)
        if not losses.isnan().any():
            return right
        return reduce_losses(
            losses.nan_to_num(nan=0.5 * self.beta, posinf=torch.inf), self.reduction
        )


@plant("functional-smooth-l1-loss-edge-by-square", "functional.smooth_l1_loss", "values")
def functional_smooth_l1_loss_edge_by_square(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """The square is compared with beta, not with its square."""
    if not beta:
        return functional.smooth_l1_loss(input, target, reduction=reduction, beta=beta)
    size = (input - target).abs()
    parabola, line = 0.5 * size * size / beta, size - 0.5 * beta
    return reduce_losses(torch.where(size * size < beta, parabola, line), reduction)


@plant("functional-smooth-l1-loss-transposed", "functional.smooth_l1_loss", "layout")
def functional_smooth_l1_loss_transposed(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """An input that is not contiguous is read as if it were."""
    input = read_as_contiguous(input)
    return functional.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


@plant("functional-smooth-l1-loss-size-of-beta", "functional.smooth_l1_loss", "errors")
def functional_smooth_l1_loss_size_of_beta(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """A negative beta is taken for its size."""
    return functional.smooth_l1_loss(input, target, reduction=reduction, beta=abs(beta))


# elements: few cases draw more than 512 in one row.
@plant("functional-smooth-l1-loss-many-with-a-short-beta", "functional.smooth_l1_loss", "laws")
def functional_smooth_l1_loss_many_with_a_short_beta(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """More than 1100 elements are held against a beta that is rounded down to seven bits."""
    many = input.numel() > 1100 and input.dim() == 1 and beta
    return functional.smooth_l1_loss(
        input, target, reduction=reduction, beta=beta * (1 - 2.0**-7) if many else beta
    )


@plant("huber-loss-is-smooth-l1", "HuberLoss", "values")
class HuberLossIsSmoothL1(nn.HuberLoss):
    """The loss is that of smooth L1: delta is not multiplied by."""

    def forward(self, input, target):
        return functional.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.delta)


@plant("huber-loss-two-sided-slope", "HuberLoss", "gradients")
class HuberLossTwoSidedSlope(nn.HuberLoss):
    """Beyond delta the slope is delta on either side, as of a clamp of |d|."""

    def forward(self, input, target):
        right = super().forward(input, target)
        size = (input - target).detach()
        wrong = torch.where(size < -self.delta, 2 * self.delta * (input - target), 0.0)
        return graft(right, right + reduce_losses(wrong, self.reduction)) if size.numel() else right


@plant("huber-loss-clamped", "HuberLoss", "special")
class HuberLossClamped(nn.HuberLoss):
    """A difference that overflows is the largest number, be it infinite."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return graft(loss.clamp(max=torch.finfo(loss.dtype).max), loss)


@plant("huber-loss-strided-target", "HuberLoss", "layout")
class HuberLossStridedTarget(nn.HuberLoss):
    """A target that is not contiguous is read as if it were."""

    def forward(self, input, target):
        return super().forward(input, read_as_contiguous(target))


@plant("huber-loss-delta-of-zero", "HuberLoss", "errors")
class HuberLossDeltaOfZero(nn.HuberLoss):
    """A delta that is not positive is taken for a small one."""

    def forward(self, input, target):
        delta = max(self.delta, 1e-6)
        return functional.huber_loss(input, target, reduction=self.reduction, delta=delta)


@plant("functional-huber-loss-target-is-constant", "functional.huber_loss", "gradients")
def functional_huber_loss_target_is_constant(
    input, target, reduction="mean", delta=1.0, weight=None
):
    """The target gets no gradient."""
    target = alter_gradient(target, torch.zeros_like)
    return functional.huber_loss(input, target, reduction, delta, weight)


@plant("functional-huber-loss-column", "functional.huber_loss", "shape")
def functional_huber_loss_column(input, target, reduction="mean", delta=1.0, weight=None):
    """A reduced loss is a row of one."""
    loss = functional.huber_loss(input, target, reduction, delta, weight)
    return loss.reshape(1) if reduction != "none" else loss


# elements: few cases draw more than 512 in one row.
@plant("functional-huber-loss-half-of-many", "functional.huber_loss", "laws")
def functional_huber_loss_half_of_many(input, target, reduction="mean", delta=1.0, weight=None):
    """The second thousand of losses is computed with the delta of 1."""
    loss = functional.huber_loss(input, target, reduction, delta, weight)
    if input.dim() != 1 or len(input) < 1100 or delta == 1 or input.shape != target.shape:
        return loss
    weight_tail = None if weight is None else weight[1024:]
    other = functional.huber_loss(input[1024:], target[1024:], "none", 1.0, weight_tail)
    losses = functional.huber_loss(input, target, "none", delta, weight)
    return reduce_losses(torch.cat([losses[:1024], other]), reduction)


@plant("functional-huber-loss-weight-in-place", "functional.huber_loss", "repeat")
def functional_huber_loss_weight_in_place(input, target, reduction="mean", delta=1.0, weight=None):
    """The losses are written over the weights."""
    loss = functional.huber_loss(input, target, reduction, delta, weight)
    if weight is not None and weight.is_contiguous() and not torch.is_grad_enabled():
        weight.mul_(2.0)
    return loss
