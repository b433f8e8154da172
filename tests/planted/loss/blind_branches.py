"""Bugs of smooth L1 and Huber losses, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft
from planted.loss.blind_parts import add_error, element_numbers, rescale_mean


@blind("smoothl1loss-beta-as-sigma", "SmoothL1Loss", "values")
class SmoothL1LossBetaAsSigma(nn.SmoothL1Loss):
    """`beta` is read as Fast R-CNN's sigma: the branch is at 1 / sigma**2."""

    # Differs: beta=0.5. Agrees: beta=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        beta = self.beta if self.beta == 0 else 1 / self.beta**2
        return functional.smooth_l1_loss(input, target, reduction=self.reduction, beta=beta)


@blind("smoothl1loss-beta-in-single", "SmoothL1Loss", "values")
class SmoothL1LossBetaInSingle(nn.SmoothL1Loss):
    """The kernel has `float beta` whatever its elements are (as torch's CELU has alpha)."""

    # Differs: float64, beta=0.1. Agrees: float32; beta=0.5.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        beta = float(torch.tensor(self.beta, dtype=torch.float32))
        return functional.smooth_l1_loss(input, target, reduction=self.reduction, beta=beta)


@blind("smoothl1loss-zero-beta-divides", "SmoothL1Loss", "gradients")
class SmoothL1LossZeroBetaDivides(nn.SmoothL1Loss):
    """Both branches are computed and one is chosen: backward of the other has d / 0 * 0 = NaN."""

    # Differs: the gradient with beta=0. Agrees: beta=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result if self.beta else alter_gradient(result, lambda g: g * torch.nan)


@blind("functional-smooth-l1-loss-line-half-too-low", "functional.smooth_l1_loss", "values")
def functional_smooth_l1_loss_line_half_too_low(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """The line is |d| - 0.5 for every `beta`, not |d| - 0.5 beta."""
    # Differs: |d| = 3, beta=2. Agrees: beta=1; |d| < beta.
    result = functional.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)
    difference = (input - target).detach().abs()
    error = torch.where(difference >= beta, 0.5 * beta - 0.5, 0.0).to(difference.dtype)
    return add_error(result, error, reduction) if beta else result


@blind("functional-smooth-l1-loss-sign-forgotten", "functional.smooth_l1_loss", "values")
def functional_smooth_l1_loss_sign_forgotten(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """The branch asks for d < beta, not for |d| < beta: far below the target it is a square."""
    # Differs: input 0, target 3. Agrees: input 3, target 0.
    result = functional.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)
    difference = input - target
    affected = difference.detach() <= -beta
    if not beta or not bool(affected.any()):
        return result
    right = functional.smooth_l1_loss(input, target, reduction="none", beta=beta)
    wrong = difference * difference * (0.5 / beta)
    return add_error(result, torch.where(affected, wrong - right, 0.0), reduction)


@blind("huberloss-line-through-the-half", "HuberLoss", "values")
class HuberLossLineThroughHalf(nn.HuberLoss):
    """The line is delta (|d| - 0.5), without delta inside."""

    # Differs: |d| = 3, delta=2. Agrees: delta=1; |d| < delta.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        difference = (input - target).detach().abs()
        error = torch.where(difference > self.delta, self.delta * (self.delta - 1) / 2, 0.0)
        return add_error(result, error.to(difference.dtype), self.reduction)


@blind("huberloss-tail-of-the-default-delta", "HuberLoss", "values")
class HuberLossTailOfDefaultDelta(nn.HuberLoss):
    """Vectors of 8 elements take `delta`; the scalar loop for what is left over takes 1."""

    # Differs: 9 elements, the last |d| = 3, delta=2. Agrees: 8 elements; delta=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.delta == 1 or input.shape != target.shape or input.numel() < 8:
            return result
        right = functional.huber_loss(input, target, "none", self.delta)
        wrong = functional.huber_loss(input, target, "none", 1.0)
        tail = element_numbers(right) >= right.numel() - right.numel() % 8
        return add_error(result, torch.where(tail, wrong - right, 0.0), self.reduction)


@blind("huberloss-both-sides-pulled-alike", "HuberLoss", "gradients")
class HuberLossBothSidesPulledAlike(nn.HuberLoss):
    """The target gets the input's gradient, not its opposite."""

    # Differs: the gradient of target. Agrees: that of input.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(input, alter_gradient(target, torch.neg))


@blind("functional-huber-loss-gradient-clipped-at-one", "functional.huber_loss", "gradients")
def functional_huber_loss_gradient_clipped_at_one(
    input, target, reduction="mean", delta=1.0, weight=None
):
    """Backward clips the difference to [-1, 1] whatever `delta` is."""
    # Differs: the gradient at |d| = 3, delta=2. Agrees: delta=1.
    result = functional.huber_loss(input, target, reduction, delta, weight)
    if delta <= 1 or weight is not None:
        return result
    path = functional.huber_loss(input, target, reduction, 1.0)
    return graft(result, path)


@blind("functional-huber-loss-mean-over-the-weights", "functional.huber_loss", "values")
def functional_huber_loss_mean_over_weights(
    input, target, reduction="mean", delta=1.0, weight=None
):
    """The weighted losses are divided by the sum of the weights, as l1_loss has it.

    torch averages them: the page says that the mean of the output is taken.
    """
    # Differs: mean with weights (1, 2). Agrees: weights (1, 1).
    result = functional.huber_loss(input, target, reduction, delta, weight)
    if weight is None or reduction != "mean" or not bool(weight.sum() > 0):
        return result
    return rescale_mean(result, weight.numel(), weight.detach().double().sum())


@blind("functional-huber-loss-is-smooth-l1", "functional.huber_loss", "values")
def functional_huber_loss_is_smooth_l1(input, target, reduction="mean", delta=1.0, weight=None):
    """The smooth L1 loss stands in for it: delta times too small, or too large."""
    # Differs: delta=2. Agrees: delta=1.
    result = functional.huber_loss(input, target, reduction, delta, weight)
    return result / delta if delta != 1 else result
