"""Bugs of L1 and squared losses, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, reduce_losses
from planted.loss.blind_parts import HALVES, rescale_mean

# L1


@blind("l1loss-divided-by-the-samples-alone", "L1Loss", "values")
class L1LossDividedBySamples(nn.L1Loss):
    """The mean divides by the batch; what a sample has of elements is summed (Caffe)."""

    # Differs: mean of (2, 3). Agrees: mean of (3,), sum and none.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        shape = torch.broadcast_shapes(input.shape, target.shape)
        if self.reduction != "mean" or len(shape) < 2 or 0 in shape:
            return result
        return rescale_mean(result, shape.numel(), shape[0])


@blind("l1loss-divided-by-whole-blocks", "L1Loss", "values")
class L1LossDividedByWholeBlocks(nn.L1Loss):
    """The mean divides by blocks times 1024: what is masked out of the last block counts."""

    # Differs: mean of 1500 elements. Agrees: of 1000; of 2048; sum.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        count = torch.broadcast_shapes(input.shape, target.shape).numel()
        if self.reduction != "mean" or count <= 1024:
            return result
        return rescale_mean(result, count, -(-count // 1024) * 1024)


@blind("l1loss-gradient-of-a-root-of-a-square", "L1Loss", "gradients")
class L1LossGradientOfRoot(nn.L1Loss):
    """|d| is sqrt(d**2), whose gradient is 0/0 where input and target are equal."""

    # Differs: the gradient at equal elements. Agrees: elsewhere.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        equal = (input == target).detach()
        if input.shape != target.shape or not bool(equal.any()):
            return super().forward(input, target)
        broken = alter_gradient(input, lambda g: torch.where(equal, torch.nan, g))
        return super().forward(broken, target)


@blind("functional-l1-loss-target-without-gradient", "functional.l1_loss", "gradients")
def functional_l1_loss_target_without_gradient(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Targets are constants: whoever trains the target's side gets zero."""
    # Differs: the gradient of target. Agrees: that of input.
    detached_target = alter_gradient(target, torch.zeros_like) if target.requires_grad else target
    return functional.l1_loss(input, detached_target, size_average, reduce, reduction, weight)


@blind("functional-l1-loss-weights-over-the-count", "functional.l1_loss", "values")
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


@blind("functional-l1-loss-half-sum-stagnates", "functional.l1_loss", "values")
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


@blind("mseloss-gradient-of-none-without-the-two", "MSELoss", "gradients")
class MSELossGradientWithoutTwo(nn.MSELoss):
    """Backward of what is not reduced is x - y: its kernel was written for half the square."""

    # Differs: the gradient of none. Agrees: of mean and sum.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return alter_gradient(result, lambda g: g / 2) if self.reduction == "none" else result


@blind("mseloss-square-multiplied-out", "MSELoss", "values")
class MSELossSquareMultipliedOut(nn.MSELoss):
    """x**2 - 2 x y + y**2, as of distances by a product of matrices: close numbers cancel."""

    # Differs: 100 and 100.01 in float32. Agrees: 1 and 3.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        x, y = torch.broadcast_tensors(input.detach(), target.detach())
        wrong = x * x - 2 * x * y + y * y
        return (
            graft(reduce_losses(wrong, self.reduction), result)
            if wrong.isfinite().all()
            else result
        )


@blind("mseloss-mean-of-the-blocks-means", "MSELoss", "values")
class MSELossMeanOfBlocksMeans(nn.MSELoss):
    """Each block of 1024 elements gives its mean, and these are averaged: the last one is short."""

    # Differs: mean of 1500 elements. Agrees: of 1000; of 2048.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        losses = (input - target).square().flatten()
        if self.reduction != "mean" or losses.numel() <= 1024:
            return result
        return torch.stack([block.mean() for block in losses.split(1024)]).mean()


@blind("functional-mse-loss-column-meets-row", "functional.mse_loss", "shape")
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


@blind("functional-mse-loss-weights-counted", "functional.mse_loss", "values")
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
