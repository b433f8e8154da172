"""Bugs of binary cross entropy, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, reduce_losses
from planted.loss.blind_parts import add_error, rescale_mean, widen_halves

# Probabilities


@blind("bceloss-logarithm-not-clamped", "BCELoss", "values")
class BCELossLogarithmNotClamped(nn.BCELoss):
    """The logarithms are not kept above -100: a certain mistake costs infinitely much."""

    # Differs: input 0, target 1. Agrees: inputs inside (0, 1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        affected = ((input == 0) & (target > 0)) | ((input == 1) & (target < 1))
        if self.weight is not None:
            affected = affected & (self.weight > 0)
        error = torch.where(affected, torch.inf, 0.0).to(input.dtype)
        return graft(add_error(result, error, self.reduction), result)


@blind("bceloss-input-clipped-as-in-keras", "BCELoss", "values")
class BCELossInputClipped(nn.BCELoss):
    """Probabilities are clipped to [1e-7, 1 - 1e-7] as by Keras: no loss is above 16.1."""

    # Differs: input 0 or 1e-9, target 1. Agrees: 0.5, to rounding.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        minimum = max(1e-7, torch.finfo(input.dtype).eps / 2)
        clipped = input.detach().clamp(minimum, 1 - minimum)
        if input.dtype == torch.float16:
            return super().forward(input, target)
        return super().forward(graft(clipped, input), target)


@blind("bceloss-weights-of-a-square-batch", "BCELoss", "values")
class BCELossWeightsOfSquareBatch(nn.BCELoss):
    """Weights of as many elements as there are samples are one a sample, not one a column."""

    # Differs: input (2, 2), weight (1, 2). Agrees: input (3, 2).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        weight = self.weight
        if weight is not None and weight.dim() == 1 < input.dim() and len(weight) == len(input):
            weight = weight.view(-1, *[1] * (input.dim() - 1))
        return functional.binary_cross_entropy(input, target, weight, reduction=self.reduction)


@blind("bceloss-certain-and-right-is-nan", "BCELoss", "gradients")
class BCELossCertainAndRightIsNan(nn.BCELoss):
    """Backward divides by x (1 - x) without torch's 1e-12: 0 / 0 where a certain input is right."""

    # Differs: the gradient at input 0, target 0. Agrees: inputs inside (0, 1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        right = ((input == target) & ((input == 0) | (input == 1))).detach()
        return super().forward(
            alter_gradient(input, lambda g: torch.where(right, torch.nan, g)), target
        )


@blind(
    "functional-binary-cross-entropy-weights-averaged-out",
    "functional.binary_cross_entropy",
    "values",
)
def functional_binary_cross_entropy_weights_averaged_out(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The mean divides by the sum of the weights, as cross entropy does, not by the count."""
    # Differs: mean with weights (1, 2). Agrees: weights (1, 1); sum.
    result = functional.binary_cross_entropy(input, target, weight, size_average, reduce, reduction)
    if weight is None or reduction != "mean" or not bool(weight.sum() > 0):
        return result
    total = weight.detach().double().expand(input.shape).sum()
    return rescale_mean(result, input.numel(), total)


@blind(
    "functional-binary-cross-entropy-one-minus-rounded", "functional.binary_cross_entropy", "values"
)
def functional_binary_cross_entropy_one_minus_rounded(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """log(1 - x), where torch has log1p(-x): a loss of 1e-9 is none in float32."""
    # Differs: input 1e-9, target 0. Agrees: input 0.5.
    near = 1 - (1 - input.detach())
    small = (input.detach() < 1e-2) & (near < 0.5)
    rounded = graft(torch.where(small, near, input), input)
    losses = functional.binary_cross_entropy(input, target, weight, reduction="none")
    lower = functional.binary_cross_entropy(rounded, target, weight, reduction="none")
    result = functional.binary_cross_entropy(input, target, weight, size_average, reduce, reduction)
    wrong = torch.where(small & (target == 0), lower, losses)
    return (
        graft(reduce_losses(wrong, reduction), result) if bool((wrong != losses).any()) else result
    )


@blind(
    "functional-binary-cross-entropy-targets-are-flags", "functional.binary_cross_entropy", "values"
)
def functional_binary_cross_entropy_targets_are_flags(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """A kernel for labels asks whether the target is above a half: soft targets are rounded."""
    # Differs: target 0.3. Agrees: targets 0 and 1.
    hard = graft((target.detach() > 0.5).to(target.dtype), target)
    return functional.binary_cross_entropy(input, hard, weight, size_average, reduce, reduction)


# Logits


@blind("bcewithlogitsloss-sigmoid-then-logarithm", "BCEWithLogitsLoss", "values")
class BCEWithLogitsLossSigmoidThenLogarithm(nn.BCEWithLogitsLoss):
    """log(sigmoid(x)), clamped at -100: what lies beyond is 100, and far off it is coarse."""

    # Differs: input -200, target 1. Agrees: input 1, to rounding.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        affected = (input.detach().abs() > 100) & ((input > 0) != (target > 0.5))
        if self.pos_weight is not None or self.weight is not None or not bool(affected.any()):
            return result
        return super().forward(graft(input.clamp(-100, 100), input), target)


@blind("bcewithlogitsloss-positive-weight-on-both", "BCEWithLogitsLoss", "values")
class BCEWithLogitsLossPositiveWeightOnBoth(nn.BCEWithLogitsLoss):
    """`pos_weight` multiplies the whole loss of a class, negatives too."""

    # Differs: pos_weight 2, target 0. Agrees: target 1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if self.pos_weight is None:
            return super().forward(input, target)
        losses = functional.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction="none"
        )
        return reduce_losses(losses * self.pos_weight, self.reduction)


@blind("bcewithlogitsloss-target-gradient-without-weight", "BCEWithLogitsLoss", "gradients")
class BCEWithLogitsLossTargetGradientWithoutWeight(nn.BCEWithLogitsLoss):
    """Backward to the target is -x, whatever `pos_weight` and `weight` are."""

    # Differs: the gradient of target, pos_weight 2. Agrees: without weights.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.pos_weight is None and self.weight is None:
            return result
        input_path = super().forward(input, target.detach())
        target_path = functional.binary_cross_entropy_with_logits(
            input.detach(), target, reduction=self.reduction
        )
        return graft(result, input_path + target_path)


@blind("bcewithlogitsloss-nothing-beyond-twenty", "BCEWithLogitsLoss", "values")
class BCEWithLogitsLossNothingBeyondTwenty(nn.BCEWithLogitsLoss):
    """log1p(exp(-|x|)) is left out beyond 20, softplus's threshold: there it is the whole loss."""

    # Differs: input 25, target 1 (1.4e-11). Agrees: input 25, target 0, to rounding; input 1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        affected = input.detach().abs() > 20
        dropped_term = torch.log1p(torch.exp(-widen_halves(input.detach()).abs()))
        if self.pos_weight is not None:
            dropped_term = dropped_term * (1 + (self.pos_weight - 1) * target.detach())
        if self.weight is not None:
            dropped_term = dropped_term * self.weight
        # Summed without it, as torch's own sum would keep what is too small beside it.
        if not bool(affected.any()):
            return result
        losses = functional.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction="none", pos_weight=self.pos_weight
        ).detach()
        wrong = torch.where(
            affected, widen_halves(losses) - dropped_term, widen_halves(losses)
        ).clamp_min(0)
        return graft(reduce_losses(wrong, self.reduction).to(result.dtype), result)


@blind("bcewithlogitsloss-gradient-by-one-minus", "BCEWithLogitsLoss", "gradients")
class BCEWithLogitsLossGradientByOneMinus(nn.BCEWithLogitsLoss):
    """Backward has 1 - sigmoid(-x) for sigmoid(x): from -17 on it is 0 in float32."""

    # Differs: the gradient at input -20, target 0. Agrees: at input 1, to rounding.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        low = ((input < -8) & (target == 0)).detach()
        if not bool(low.any()):
            return super().forward(input, target)
        x = widen_halves(input.detach())
        share = (1 - torch.sigmoid(-x)) / torch.sigmoid(x)
        share = torch.where(low & share.isfinite(), share, 1.0).to(input.dtype)
        return super().forward(alter_gradient(input, lambda g: g * share), target)


@blind(
    "functional-binary-cross-entropy-with-logits-positive-weight-of-channels",
    "functional.binary_cross_entropy_with_logits",
    "values",
)
def functional_binary_cross_entropy_with_logits_positive_weight_of_channels(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """A vector of `pos_weight` that fits axis 1 belongs to it, where broadcasting takes the last.

    Class weights lie along axis 1 in cross entropy; here they need (C, 1).
    """
    # Differs: input (2, 3, 3), pos_weight (1, 2, 3). Agrees: input (2, 3).
    vector = pos_weight is not None and pos_weight.dim() == 1
    if vector and input.dim() > 2 and input.shape[1] == len(pos_weight) > 1:
        pos_weight = pos_weight.view(-1, *[1] * (input.dim() - 2))
    return functional.binary_cross_entropy_with_logits(
        input, target, weight, size_average, reduce, reduction, pos_weight
    )


@blind(
    "functional-binary-cross-entropy-with-logits-weight-lost-below-zero",
    "functional.binary_cross_entropy_with_logits",
    "values",
)
def functional_binary_cross_entropy_with_logits_weight_lost_below_zero(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """Of log1p(exp(-|x|)) + max(-x, 0) only the first term takes `pos_weight`."""
    # Differs: input -1, target 1, pos_weight 2. Agrees: input 1; pos_weight 1.
    result = functional.binary_cross_entropy_with_logits(
        input, target, weight, size_average, reduce, reduction, pos_weight
    )
    if pos_weight is None:
        return result
    error = (1 - pos_weight) * target * (-input).clamp_min(0)
    return add_error(result, error if weight is None else error * weight, reduction)
