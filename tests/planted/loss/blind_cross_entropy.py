"""Bugs of cross entropy, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, class_axis, graft, reduce_losses
from planted.loss.blind_parts import is_soft, rescale_mean, target_weights


@blind("crossentropyloss-soft-targets-divided-by-their-weight", "CrossEntropyLoss", "values")
class CrossEntropyLossSoftTargetsDividedByWeight(nn.CrossEntropyLoss):
    """The mean over soft targets divides by the sum of w t, as it does for classes.

    Of probabilities torch divides by the number of samples.
    """

    # Differs: soft targets, weight (1, 2), mean. Agrees: classes; no weight.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if not is_soft(target) or self.weight is None or self.reduction != "mean":
            return result
        axis, shape = class_axis(input), [1] * target.dim()
        shape[axis] = -1
        total = (target.detach().double() * self.weight.double().view(shape)).sum()
        return rescale_mean(result, target.numel() // max(target.shape[axis], 1), total)


@blind("crossentropyloss-smoothing-without-class-weights", "CrossEntropyLoss", "values")
class CrossEntropyLossSmoothingWithoutClassWeights(nn.CrossEntropyLoss):
    """The uniform part of smoothed labels is the plain mean of the classes' losses."""

    # Differs: label_smoothing=0.1, weight (1, 2). Agrees: no weight; no smoothing.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        mixed = self.weight is not None and self.label_smoothing > 0 and not is_soft(target)
        if not mixed or input.numel() == 0:
            return result
        arguments = (input, target, self.weight)
        right = functional.cross_entropy(
            *arguments,
            ignore_index=self.ignore_index,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        axis = class_axis(input)
        logarithms = input.log_softmax(axis)
        shape = [1] * input.dim()
        shape[axis] = -1
        loss_error = (logarithms * (self.weight.view(shape) - 1)).mean(axis)
        counted = target != self.ignore_index
        error = torch.where(counted, loss_error * self.label_smoothing, 0.0)
        if self.reduction == "none":
            return right + error
        total = target_weights(target, self.weight, self.ignore_index, input).sum()
        error = error.sum() / (total if self.reduction == "mean" else 1)
        return result + error.to(result.dtype)


@blind("crossentropyloss-smoothing-counts-what-is-ignored", "CrossEntropyLoss", "values")
class CrossEntropyLossSmoothingCountsIgnored(nn.CrossEntropyLoss):
    """Ignored targets give no class, but the uniform part has their rows, too (torch 73205)."""

    # Differs: one of two targets ignored, label_smoothing=0.1. Agrees: none ignored.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if is_soft(target) or not self.label_smoothing or self.weight is not None:
            return result
        ignored = target == self.ignore_index
        if not bool(ignored.any()):
            return result
        uniform = (
            -input.log_softmax(class_axis(input)).mean(class_axis(input)) * self.label_smoothing
        )
        error = torch.where(ignored, uniform, 0.0)
        if self.reduction == "mean":
            return result + error.sum() / (~ignored).sum()
        return result + reduce_losses(error, self.reduction)


@blind("crossentropyloss-smoothing-in-single", "CrossEntropyLoss", "values")
class CrossEntropyLossSmoothingInSingle(nn.CrossEntropyLoss):
    """`label_smoothing` is a `float` argument of the kernel: 0.1 is 1.5e-9 too large."""

    # Differs: label_smoothing=0.1 in float64. Agrees: in float32; 0.25.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        smoothing = float(torch.tensor(self.label_smoothing, dtype=torch.float32))
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=smoothing,
        )


@blind("crossentropyloss-logits-times-one-hot", "CrossEntropyLoss", "special")
class CrossEntropyLossLogitsTimesOneHot(nn.CrossEntropyLoss):
    """The class is chosen by a product with its one-hot row: 0 * -inf of a masked class is NaN."""

    # Differs: logits (0, -inf), target 0. Agrees: finite logits.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if is_soft(target) or self.label_smoothing:
            return result
        axis = class_axis(input)
        masked = (input.detach() == -torch.inf).sum(axis)
        safe_target = torch.where(target == self.ignore_index, 0, target)
        own = input.detach().gather(axis, safe_target.unsqueeze(axis)).squeeze(axis) == -torch.inf
        affected = (masked > own.to(masked.dtype)) & (target != self.ignore_index)
        if not bool(affected.any()):
            return result
        losses = torch.where(affected, torch.nan, torch.zeros_like(result))
        return result + reduce_losses(losses, "sum" if self.reduction == "mean" else self.reduction)


@blind(
    "functional-cross-entropy-only-negative-targets-ignored", "functional.cross_entropy", "values"
)
def functional_cross_entropy_only_negative_targets_ignored(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """Targets are ignored where they are negative: an `ignore_index` that is a class counts."""
    # Differs: target 0, ignore_index=0. Agrees: ignore_index=-100.
    ignored = ignore_index if ignore_index < 0 else -100
    return functional.cross_entropy(
        input, target, weight, size_average, ignored, reduce, reduction, label_smoothing
    )


@blind("functional-cross-entropy-soft-targets-not-smoothed", "functional.cross_entropy", "values")
def functional_cross_entropy_soft_targets_not_smoothed(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """Smoothing is for classes; targets that are soft already are taken as they are."""
    # Differs: soft targets, label_smoothing=0.1. Agrees: classes.
    smooth = 0.0 if is_soft(target) and 0 <= label_smoothing <= 1 else label_smoothing
    return functional.cross_entropy(
        input, target, weight, size_average, ignore_index, reduce, reduction, smooth
    )


@blind("functional-cross-entropy-last-axis-of-a-square", "functional.cross_entropy", "values")
def functional_cross_entropy_last_axis_of_square(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """Classes are on the last axis wherever its size lets them be, as in TensorFlow.

    Of (N, C, L) with C = L the loss is that of the transposed logits.
    """
    # Differs: input (2, 3, 3). Agrees: input (2, 3); (2, 3, 4).
    if input.dim() == 3 and input.shape[1] == input.shape[2] and not is_soft(target):
        input = input.transpose(1, 2)
    return functional.cross_entropy(
        input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
    )


@blind(
    "functional-cross-entropy-gradient-of-targets-of-one",
    "functional.cross_entropy",
    "gradients",
)
def functional_cross_entropy_gradient_of_targets_of_one(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """Backward is softmax - target times the row's gradient, as if each target summed to one.

    Of targets that do not, or with class weights, that is not the derivative.
    """
    # Differs: the gradient with soft targets (0.5, 0.2). Agrees: soft targets (0.5, 0.5).
    result = functional.cross_entropy(
        input, target, weight, size_average, ignore_index, reduce, reduction, label_smoothing
    )
    if not is_soft(target) or label_smoothing or not input.requires_grad or input.numel() == 0:
        return result
    axis, own = class_axis(input), target.detach()
    if weight is not None:
        shape = [1] * input.dim()
        shape[axis] = -1
        own = own * weight.detach().view(shape)
    other_gradient = (1 - own.sum(axis, keepdim=True)) * input.detach().softmax(axis)
    path = ((input - input.detach()) * other_gradient).sum(axis)
    return graft(result, result + reduce_losses(path, reduction))
