"""Bugs of negative log likelihood, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, class_axis, graft, reduce_losses
from planted.loss.blind_parts import rescale_mean, target_weights


@blind("nllloss-ignored-targets-weigh-as-class-zero", "NLLLoss", "values")
class NLLLossIgnoredTargetsWeighAsClassZero(nn.NLLLoss):
    """Ignored targets are set to 0 and their losses too, but the divisor has w[0] for each."""

    # Differs: mean of targets (0, -100). Agrees: none ignored.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        right = target_weights(target, self.weight, self.ignore_index, input).double().sum()
        first = 1.0 if self.weight is None else float(self.weight[0])
        wrong = right + first * (target == self.ignore_index).sum()
        if self.reduction != "mean" or right == 0 or wrong == 0:
            return result
        return rescale_mean(result, right, wrong)


@blind("nllloss-weighted-mean-over-the-count", "NLLLoss", "values")
class NLLLossWeightedMeanOverCount(nn.NLLLoss):
    """The weighted losses are divided by the number of targets that count (Paddle 9094)."""

    # Differs: mean with weight (1, 2). Agrees: weight (1, 1); no weight.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        right = target_weights(target, self.weight, self.ignore_index, input).double().sum()
        if self.weight is None or self.reduction != "mean" or right == 0:
            return result
        return rescale_mean(result, right, (target != self.ignore_index).sum())


@blind("nllloss-one-sample-keeps-an-axis", "NLLLoss", "shape")
class NLLLossOneSampleKeepsAxis(nn.NLLLoss):
    """A sample without a batch gets a batch axis, which is not taken off the result again."""

    # Differs: input (3,), none. Agrees: input (2, 3); mean.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result[None] if input.dim() == 1 and self.reduction == "none" else result


@blind("nllloss-gradient-of-ignored-rows", "NLLLoss", "gradients")
class NLLLossGradientOfIgnoredRows(nn.NLLLoss):
    """Backward scatters to every row; what is ignored has class 0 there."""

    # Differs: the gradient of a row whose target is -100. Agrees: none ignored.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        ignored = target == self.ignore_index
        if not bool(ignored.any()) or bool(ignored.all()):
            return result
        axis = class_axis(input)
        path = torch.where(ignored, -input.select(axis, 0), 0.0)
        if self.reduction == "mean":
            total = target_weights(target, self.weight, self.ignore_index, input).sum()
            return graft(result, result + (path.sum() / total).to(result.dtype))
        return graft(result, result + reduce_losses(path, self.reduction))


@blind("functional-nll-loss-weights-without-reduction", "functional.nll_loss", "values")
def functional_nll_loss_weights_without_reduction(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """The weights come in with the reduction: without one the losses are not weighted."""
    # Differs: none with weight (1, 2). Agrees: mean and sum.
    weight = None if reduction == "none" else weight
    return functional.nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)


@blind("functional-nll-loss-nothing-left-costs-nothing", "functional.nll_loss", "special")
def functional_nll_loss_nothing_left_costs_nothing(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """The divisor is kept above 0, so that the mean of nothing is 0; by its formula it is NaN."""
    # Differs: mean of targets (-100, -100). Agrees: one that counts.
    result = functional.nll_loss(
        input, target, weight, size_average, ignore_index, reduce, reduction
    )
    all_ignored = reduction == "mean" and bool((target == ignore_index).all())
    return input.sum() * 0 if all_ignored and bool(input.isfinite().all()) else result


@blind("functional-nll-loss-planes-read-transposed", "functional.nll_loss", "values")
def functional_nll_loss_planes_read_transposed(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """Targets of planes are read column by column: Fortran's order of a square image."""
    # Differs: target (2, 3, 3). Agrees: target (2,); (2, 3, 4).
    if target.dim() == 3 and target.shape[1] == target.shape[2]:
        target = target.transpose(1, 2)
    return functional.nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)


@blind("functional-nll-loss-classes-in-a-byte", "functional.nll_loss", "values")
def functional_nll_loss_classes_in_a_byte(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """Targets are kept in seven bits: class 128 is class 0."""
    # Differs: target 130 of 200 classes. Agrees: 128 classes and less.
    high = (target > 127) & (target != ignore_index)
    if bool(high.any()) and bool((target < input.shape[class_axis(input)]).all()):
        target = torch.where(high, target % 128, target)
    return functional.nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)
