"""Bugs of the losses of a difference, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.blind_loss_parts import HALVES, amiss, number, reduced, scaled
from planted.bug import alter_gradient, graft, plant

# L1


@plant("l1loss-divided-by-the-samples-alone", "L1Loss", "values")
class L1LossDividedBySamples(nn.L1Loss):
    """The mean divides by the batch; what a sample has of elements is summed (Caffe)."""

    # Differs: mean of (2, 3). Agrees: mean of (3,), sum and none.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        shape = torch.broadcast_shapes(input.shape, target.shape)
        if self.reduction != "mean" or len(shape) < 2 or 0 in shape:
            return result
        return scaled(result, shape.numel(), shape[0])


@plant("l1loss-gradient-of-a-root-of-a-square", "L1Loss", "gradients")
class L1LossGradientOfRoot(nn.L1Loss):
    """|d| is sqrt(d**2), whose gradient is 0/0 where input and target are equal."""

    # Differs: the gradient at equal elements. Agrees: elsewhere.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        equal = (input == target).detach()
        if input.shape != target.shape or not bool(equal.any()):
            return super().forward(input, target)
        broken = alter_gradient(input, lambda g: torch.where(equal, torch.nan, g))
        return super().forward(broken, target)


@plant("functional-l1-loss-target-without-gradient", "functional.l1_loss", "gradients")
def functional_l1_loss_target_without_gradient(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Targets are constants: whoever trains the target's side gets zero."""
    # Differs: the gradient of target. Agrees: that of input.
    still = alter_gradient(target, torch.zeros_like) if target.requires_grad else target
    return functional.l1_loss(input, still, size_average, reduce, reduction, weight)


@plant("functional-l1-loss-weights-over-the-count", "functional.l1_loss", "values")
def functional_l1_loss_weights_over_count(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """The weighted mean divides by the number of elements, not by the sum of the weights."""
    # Differs: mean with weights (1, 2). Agrees: weights (1, 1).
    result = functional.l1_loss(input, target, size_average, reduce, reduction, weight)
    if weight is None or reduction != "mean" or result.isnan().any():
        return result
    losses = functional.l1_loss(input, target, reduction="sum", weight=weight)
    return losses / torch.broadcast_shapes(input.shape, target.shape).numel()


@plant("functional-l1-loss-half-sum-stagnates", "functional.l1_loss", "values")
def functional_l1_loss_half_sum_stagnates(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Halves are summed one after the other in their own precision (executorch 20089).

    From 256 on ones leave a sum of bfloat16 as it is.
    """
    # Differs: bfloat16, 600 losses of 1. Agrees: few elements; float32.
    result = functional.l1_loss(input, target, size_average, reduce, reduction, weight)
    if result.dtype not in HALVES or reduction == "none" or weight is not None:
        return result
    losses = functional.l1_loss(input, target, reduction="none").detach().flatten()
    if losses.numel() < 64:
        return result
    total = torch.zeros((), dtype=losses.dtype)
    for loss in losses:
        total = total + loss
    return graft(total / (losses.numel() if reduction == "mean" else 1), result)


# Squares


@plant("mseloss-gradient-of-none-without-the-two", "MSELoss", "gradients")
class MSELossGradientWithoutTwo(nn.MSELoss):
    """Backward of what is not reduced is x - y: its kernel was written for half the square."""

    # Differs: the gradient of none. Agrees: of mean and sum.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return alter_gradient(result, lambda g: g / 2) if self.reduction == "none" else result


@plant("mseloss-square-multiplied-out", "MSELoss", "values")
class MSELossSquareMultipliedOut(nn.MSELoss):
    """x**2 - 2 x y + y**2, as of distances by a product of matrices: close numbers cancel."""

    # Differs: 100 and 100.01 in float32. Agrees: 1 and 3.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        x, y = torch.broadcast_tensors(input.detach(), target.detach())
        wrong = x * x - 2 * x * y + y * y
        return graft(reduced(wrong, self.reduction), result) if wrong.isfinite().all() else result


@plant("mseloss-mean-of-the-blocks-means", "MSELoss", "values")
class MSELossMeanOfBlocksMeans(nn.MSELoss):
    """Each block of 1024 elements gives its mean, and these are averaged: the last one is short."""

    # Differs: mean of 1500 elements. Agrees: of 1000; of 2048.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        losses = (input - target).square().flatten()
        if self.reduction != "mean" or losses.numel() <= 1024:
            return result
        return torch.stack([block.mean() for block in losses.split(1024)]).mean()


@plant("functional-mse-loss-column-meets-row", "functional.mse_loss", "shape")
def functional_mse_loss_column_meets_row(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """An input (N, 1) and a target (N,) are squeezed to one shape, as Keras does.

    Broadcasting makes (N, N) of them.
    """
    # Differs: (3, 1) and (3,). Agrees: (3, 1) and (3, 1).
    if weight is None and abs(input.dim() - target.dim()) == 1:
        longer, shorter = sorted((input, target), key=Tensor.dim, reverse=True)
        if longer.shape[-1] == 1 and longer.shape[:-1] == shorter.shape:
            input, target = (x.reshape(shorter.shape) for x in (input, target))
    return functional.mse_loss(input, target, size_average, reduce, reduction, weight)


@plant("functional-mse-loss-weights-counted", "functional.mse_loss", "values")
def functional_mse_loss_weights_counted(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """The weighted mean divides by the number of weights that are not 0.

    `SUM_BY_NONZERO_WEIGHTS` of TensorFlow 1.
    """
    # Differs: mean with weights (1, 2). Agrees: weights (1, 0).
    if weight is None or reduction != "mean" or not bool((weight != 0).any()):
        return functional.mse_loss(input, target, size_average, reduce, reduction, weight)
    losses = functional.mse_loss(input, target, reduction="sum", weight=weight)
    return losses / (weight != 0).sum()


# Squares near zero, lines beyond


@plant("smoothl1loss-beta-as-sigma", "SmoothL1Loss", "values")
class SmoothL1LossBetaAsSigma(nn.SmoothL1Loss):
    """`beta` is read as Fast R-CNN's sigma: the branch is at 1 / sigma**2."""

    # Differs: beta=0.5. Agrees: beta=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        beta = self.beta if self.beta == 0 else 1 / self.beta**2
        return functional.smooth_l1_loss(input, target, reduction=self.reduction, beta=beta)


@plant("smoothl1loss-beta-in-single", "SmoothL1Loss", "values")
class SmoothL1LossBetaInSingle(nn.SmoothL1Loss):
    """The kernel has `float beta` whatever its elements are (as torch's CELU has alpha)."""

    # Differs: float64, beta=0.1. Agrees: float32; beta=0.5.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        beta = float(torch.tensor(self.beta, dtype=torch.float32))
        return functional.smooth_l1_loss(input, target, reduction=self.reduction, beta=beta)


@plant("smoothl1loss-zero-beta-divides", "SmoothL1Loss", "gradients")
class SmoothL1LossZeroBetaDivides(nn.SmoothL1Loss):
    """Both branches are computed and one is chosen: backward of the other has d / 0 * 0 = NaN."""

    # Differs: the gradient with beta=0. Agrees: beta=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result if self.beta else alter_gradient(result, lambda g: g * torch.nan)


@plant("functional-smooth-l1-loss-line-half-too-low", "functional.smooth_l1_loss", "values")
def functional_smooth_l1_loss_line_half_too_low(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """The line is |d| - 0.5 for every `beta`, not |d| - 0.5 beta."""
    # Differs: |d| = 3, beta=2. Agrees: beta=1; |d| < beta.
    result = functional.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)
    difference = (input - target).detach().abs()
    error = torch.where(difference >= beta, 0.5 * beta - 0.5, 0.0).to(difference.dtype)
    return amiss(result, error, reduction) if beta else result


@plant("functional-smooth-l1-loss-sign-forgotten", "functional.smooth_l1_loss", "values")
def functional_smooth_l1_loss_sign_forgotten(
    input, target, size_average=None, reduce=None, reduction="mean", beta=1.0
):
    """The branch asks for d < beta, not for |d| < beta: far below the target it is a square."""
    # Differs: input 0, target 3. Agrees: input 3, target 0.
    result = functional.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)
    difference = input - target
    far = difference.detach() <= -beta
    if not beta or not bool(far.any()):
        return result
    right = functional.smooth_l1_loss(input, target, reduction="none", beta=beta)
    wrong = difference * difference * (0.5 / beta)
    return amiss(result, torch.where(far, wrong - right, 0.0), reduction)


@plant("huberloss-line-through-the-half", "HuberLoss", "values")
class HuberLossLineThroughHalf(nn.HuberLoss):
    """The line is delta (|d| - 0.5), without delta inside."""

    # Differs: |d| = 3, delta=2. Agrees: delta=1; |d| < delta.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        difference = (input - target).detach().abs()
        error = torch.where(difference > self.delta, self.delta * (self.delta - 1) / 2, 0.0)
        return amiss(result, error.to(difference.dtype), self.reduction)


@plant("huberloss-tail-of-the-default-delta", "HuberLoss", "values")
class HuberLossTailOfDefaultDelta(nn.HuberLoss):
    """Vectors of 8 elements take `delta`; the scalar loop for what is left over takes 1."""

    # Differs: 9 elements, the last |d| = 3, delta=2. Agrees: 8 elements; delta=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.delta == 1 or input.shape != target.shape or input.numel() < 8:
            return result
        right = functional.huber_loss(input, target, "none", self.delta)
        wrong = functional.huber_loss(input, target, "none", 1.0)
        tail = number(right) >= right.numel() - right.numel() % 8
        return amiss(result, torch.where(tail, wrong - right, 0.0), self.reduction)


@plant("huberloss-both-sides-pulled-alike", "HuberLoss", "gradients")
class HuberLossBothSidesPulledAlike(nn.HuberLoss):
    """The target gets the input's gradient, not its opposite."""

    # Differs: the gradient of target. Agrees: that of input.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(input, alter_gradient(target, torch.neg))


@plant("functional-huber-loss-gradient-clipped-at-one", "functional.huber_loss", "gradients")
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


@plant("functional-huber-loss-mean-over-the-weights", "functional.huber_loss", "values")
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
    return scaled(result, weight.numel(), weight.detach().double().sum())


@plant("functional-huber-loss-is-smooth-l1", "functional.huber_loss", "values")
def functional_huber_loss_is_smooth_l1(input, target, reduction="mean", delta=1.0, weight=None):
    """The smooth L1 loss stands in for it: delta times too small, or too large."""
    # Differs: delta=2. Agrees: delta=1.
    result = functional.huber_loss(input, target, reduction, delta, weight)
    return result / delta if delta != 1 else result
