"""Bugs written without sight of the suite: losses."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, class_axis, graft, reduce_losses


@blind("crossentropyloss-smoothing-reaches-ignored-targets", "CrossEntropyLoss", "values")
class _IgnoredSmoothed(nn.CrossEntropyLoss):
    """The smoothed part of the loss is not masked at ignored targets: the mask was written for the
    gathered score, before there was smoothing."""

    # Differs: label_smoothing=0.1 and a target of -100. Agrees: label_smoothing=0; none ignored.

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.label_smoothing == 0 or target.is_floating_point():
            return result
        ignored = target == self.ignore_index
        if not ignored.any():
            return result
        axis = class_axis(input)
        logs = functional.log_softmax(input, axis).movedim(axis, -1)
        weight = torch.ones_like(logs[..., :1]) if self.weight is None else self.weight
        share = self.label_smoothing / input.size(axis)
        extra = torch.where(ignored, -share * (logs * weight).sum(-1), 0.0)
        if self.reduction == "none":
            return result + extra
        if self.reduction == "sum":
            return result + extra.sum()
        valid_targets = target[~ignored]
        return result + extra.sum() / (
            valid_targets.numel() if self.weight is None else self.weight[valid_targets].sum()
        )


@blind("bcewithlogitsloss-exponential-overflows", "BCEWithLogitsLoss", "values")
class _Overflows(nn.BCEWithLogitsLoss):
    """log(1 + exp(-x)) is computed as it is written, and is infinite where exp overflows."""

    # Differs: x=-100 in float32. Agrees: x=-50.

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        over = -input.detach() > math.log(torch.finfo(input.dtype).max)
        if not over.any():
            return super().forward(input, target)
        weights = {"weight": self.weight, "pos_weight": self.pos_weight}
        losses = functional.binary_cross_entropy_with_logits(
            input, target, reduction="none", **weights
        )
        return reduce_losses(torch.where(over, torch.inf, losses), self.reduction)


@blind("smoothl1loss-zero-beta-divides-by-it", "SmoothL1Loss", "values")
class _ZeroBeta(nn.SmoothL1Loss):
    """At beta=0 equal numbers give 0 / 0: both branches are computed, and the square's is chosen
    by a comparison that lets equality in."""

    # Differs: beta=0, input equal to target. Agrees: beta=1; beta=0 where they differ.

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if self.beta != 0 or not (input == target).any():
            return super().forward(input, target)
        losses = functional.l1_loss(input, target, reduction="none")
        return reduce_losses(torch.where(input == target, torch.nan, losses), self.reduction)


@blind("functional-ctc-loss-joined-targets-at-even-steps", "functional.ctc_loss", "values")
def _even_steps(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Targets joined to one vector are taken to begin at multiples of the longest length, as rows
    of a padded matrix do."""
    # Differs: targets [1, 2, 1] of lengths (1, 2). Agrees: equal lengths; a matrix of targets.
    options = (input_lengths, target_lengths, blank, reduction, zero_infinity)
    right = functional.ctc_loss(log_probs, targets, *options)
    if targets.dim() == 1 and log_probs.dim() == 3 and targets.numel():
        lengths = torch.as_tensor(target_lengths)
        longest = max(int(lengths.max()), 1)
        starts = torch.arange(lengths.numel()).unsqueeze(1) * longest
        places = (starts + torch.arange(longest)).clamp(max=targets.numel() - 1)
        if (lengths != longest).any():
            return functional.ctc_loss(log_probs, targets[places], *options)
    return right


@blind("ctcloss-empty-target-costs-nothing", "CTCLoss", "values")
class _EmptyTarget(nn.CTCLoss):
    """An empty target has the loss 0, where the path of blanks has a probability too."""

    # Differs: a target length of 0. Agrees: target lengths of 1 or more.

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        lengths = torch.as_tensor(target_lengths)
        options = (log_probs, targets, input_lengths, target_lengths)
        if not (lengths == 0).any():
            return super().forward(*options)
        losses = functional.ctc_loss(*options, self.blank, "none", self.zero_infinity)
        losses = torch.where(lengths.view(losses.shape) == 0, torch.zeros_like(losses), losses)
        if self.reduction == "mean":
            losses = losses / lengths.view(losses.shape).clamp(min=1)
        return reduce_losses(losses, self.reduction)


@blind("ctcloss-infinite-loss-zeroed-after-its-gradient", "CTCLoss", "gradients")
class _NanGradient(nn.CTCLoss):
    """zero_infinity zeroes an infinite loss but not its gradient, which is NaN."""

    # Differs: the gradient for a target longer than the input. Agrees: targets that fit; values.

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        options = (targets, input_lengths, target_lengths)
        if self.zero_infinity:
            losses = functional.ctc_loss(log_probs.detach(), *options, self.blank, "none", False)
            infinite = losses.isinf().unsqueeze(-1)
            log_probs = alter_gradient(
                log_probs, lambda gradient: gradient.masked_fill(infinite, torch.nan)
            )
        return super().forward(log_probs, *options)


@blind("kldivloss-target-gets-no-gradient", "KLDivLoss", "gradients")
class _ConstantTarget(nn.KLDivLoss):
    """The target's gradient is zeros, as if targets were always data."""

    # Differs: the gradient of the target. Agrees: every value; the gradient of the input.

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(input, alter_gradient(target, torch.zeros_like))


@blind("gaussiannllloss-clamps-the-variance-it-was-given", "GaussianNLLLoss", "repeat")
class _ClampsTheirs(nn.GaussianNLLLoss):
    """The variance is clamped to eps in place, so that the caller's tensor changes."""

    # Differs: the variance after the call, where one is below eps. Agrees: variances above eps.

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        if isinstance(var, Tensor) and var.is_contiguous() and not (var < 0).any():
            var.data.clamp_(min=self.eps)
        return super().forward(input, target, var)


@blind("poissonnllloss-stirling-from-one-on", "PoissonNLLLoss", "values")
class _FromOneOn(nn.PoissonNLLLoss):
    """Stirling's term is added for targets of 1 too; it is meant for those above 1."""

    # Differs: full=True, a target of exactly 1. Agrees: targets of 0 and 2; full=False.

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        is_one = target.detach() == 1
        if not self.full or not is_one.any():
            return super().forward(log_input, target)
        losses = functional.poisson_nll_loss(
            log_input, target, self.log_input, True, eps=self.eps, reduction="none"
        )
        term = 0.5 * math.log(2 * math.pi) - 1
        return reduce_losses(torch.where(is_one, losses + term, losses), self.reduction)


@blind("multimarginloss-weight-inside-the-square", "MultiMarginLoss", "values")
class _WeightSquared(nn.MultiMarginLoss):
    """For p=2 the class's weight multiplies the margin before the power, not after."""

    # Differs: p=2 and a weight that is not 1. Agrees: p=1; no weight.

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if self.p != 2 or self.weight is None:
            return super().forward(input, target)
        weight, margin = self.weight, self.margin
        losses = functional.multi_margin_loss(input, target, 2, margin, weight, reduction="none")
        return reduce_losses(losses * weight[target].view(losses.shape), self.reduction)


@blind("tripletmarginloss-swapped-distance-is-constant", "TripletMarginLoss", "gradients")
class _ConstantSwap(nn.TripletMarginLoss):
    """The distance from positive to negative passes no gradient where swap takes it."""

    # Differs: gradients for swap=True where it is the smaller. Agrees: swap=False; every value.

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        value = super().forward(anchor, positive, negative)
        if not self.swap:
            return value
        how = (self.p, self.eps)
        near = functional.pairwise_distance(anchor, positive, *how)
        far = functional.pairwise_distance(anchor, negative, *how)
        swapped = functional.pairwise_distance(positive, negative, *how).detach()
        losses = (self.margin + near - torch.minimum(far, swapped)).clamp(min=0)
        return graft(value, reduce_losses(losses, self.reduction))
