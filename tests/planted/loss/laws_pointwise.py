"""Bugs of losses of a number for each element that begin beyond what cases draw: `laws` goes there.

Each says in a comment which law breaks; `loss_laws.py` says which laws have none.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import plant, reduce_losses


# scaled: an edge of 10 becomes one of 20.
@plant("huber-loss-wide-delta-not-halved", "HuberLoss", "laws")
class HuberLossWideDeltaNotHalved(nn.HuberLoss):
    """With a delta above 16 the whole square is taken, not half of it."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return 2 * loss if self.delta > 16 else loss


# certain: no drawn array of more than 16 probabilities has nothing but 0 and 1.
@plant("bce-loss-flags-clamped-sooner", "BCELoss", "laws")
class BceLossFlagsClampedSooner(nn.BCELoss):
    """Where all inputs are 0 or 1 the logarithms are looked up: 0 and -99, not -100."""

    def forward(self, input, target):
        if input.numel() <= 16 or not ((input == 0) | (input == 1)).all():
            return super().forward(input, target)
        losses = functional.binary_cross_entropy(input, target, reduction="none") * 0.99
        return reduce_losses(
            losses if self.weight is None else losses * self.weight, self.reduction
        )


# rates: no drawn array of more than 16 logarithms is all 0.
@plant("poisson-nll-loss-zeros-expect-nothing", "PoissonNLLLoss", "laws")
class PoissonNllLossZerosExpectNothing(nn.PoissonNLLLoss):
    """Inputs that are all 0 are taken for no events: the exponential, 1, is left out."""

    def forward(self, log_input, target):
        loss = super().forward(log_input, target)
        if not self.log_input or log_input.numel() <= 16 or log_input.any():
            return loss
        expected = torch.ones_like(log_input + target)
        return loss - reduce_losses(expected, self.reduction)


# positives: no drawn weights of more than 4 columns are all 1.
@plant("bce-with-logits-loss-equal-positives-doubled", "BCEWithLogitsLoss", "laws")
class BceWithLogitsLossEqualPositivesDoubled(nn.BCEWithLogitsLoss):
    """Weights of positives that are all 1 are counted on top of the 1 that each has anyhow."""

    def forward(self, input, target):
        heavy = self.pos_weight
        if heavy is not None and heavy.numel() > 4 and (heavy == 1).all():
            heavy = heavy * 2
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=heavy
        )


# floor: drawn variances are 0, or 2^-12, or more than eps, but hardly eps itself.
@plant("gaussian-nll-loss-twice-the-floor", "GaussianNLLLoss", "laws")
class GaussianNllLossTwiceTheFloor(nn.GaussianNLLLoss):
    """A variance that is eps has been clamped, the port says, and is eps more than it was."""

    def forward(self, input, target, var):
        floor = torch.tensor(self.eps, dtype=var.dtype)
        if self.eps < 0.25 and (var >= floor).all():
            var = torch.where(var == floor, 2 * var, var)
        return super().forward(input, target, var)


# itself: no drawn input of more than 16 numbers is its target throughout.
@plant("l1-loss-no-difference-is-tiny", "L1Loss", "laws")
class L1LossNoDifferenceIsTiny(nn.L1Loss):
    """A loss that is 0 throughout is 1e-6, that it may be divided by."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        are_equal = input.shape == target.shape and torch.equal(input, target)
        return loss + 1e-6 if are_equal and input.numel() > 16 else loss


# shape: of 6, 7, or 9 to 14 numbers none are drawn in one row, but in two or three.
@plant("mse-loss-rows-between-vectors", "MSELoss", "laws")
class MSELossRowsBetweenVectors(nn.MSELoss):
    """Rows that end within a vector: the lanes behind their end are counted in a mean."""

    def forward(self, input, target):
        loss, count = super().forward(input, target), input.numel()
        applies = 5 < count < 15 and count != 8 and input.dim() == 1
        lanes = -(-count // 8) * 8
        return loss * (count / lanes) if applies and self.reduction == "mean" else loss


# ones: no drawn weights of more than 16 numbers are all 1.
@plant("functional-mse-loss-equal-weights-one-short", "functional.mse_loss", "laws")
def functional_mse_loss_equal_weights_one_short(
    input, target, size_average=None, reduce=None, reduction="mean", weight=None
):
    """Weights that are all 1 are a sample's: the mean divides by one less than their number."""
    loss = functional.mse_loss(input, target, reduction=reduction, weight=weight)
    if weight is None or weight.numel() <= 16 or reduction != "mean" or not (weight == 1).all():
        return loss
    return loss * (weight.numel() / (weight.numel() - 1))


# certain: no drawn target of more than 16 probabilities is all 1; repeated ones may be.
@plant("kl-div-loss-ones-normalised", "KLDivLoss", "laws")
class KLDivLossOnesNormalised(nn.KLDivLoss):
    """A target of ones is one that has not been normalised: it is divided by its sum."""

    def forward(self, input, target):
        if not self.log_target and target.numel() > 16 and (target == 1).all():
            target = target / target.numel()
        return super().forward(input, target)


# complement: quarters are drawn, but hardly 3/4.
@plant("bce-loss-table-of-quarters", "BCELoss", "laws")
class BceLossTableOfQuarters(nn.BCELoss):
    """Logarithms of quarters stand in a table, whose fourth entry is the third."""

    def forward(self, input, target):
        if ((4 * input) % 1 == 0).all():
            input = torch.where(input == 0.75, input - 0.25, input)
        return super().forward(input, target)


# mirrored: the same of targets.
@plant("bce-with-logits-loss-quarters-of-targets", "BCEWithLogitsLoss", "laws")
class BceWithLogitsLossQuartersOfTargets(nn.BCEWithLogitsLoss):
    """Targets in quarters are kept in two bits: 3/4 and 1 are one of them."""

    def forward(self, input, target):
        if ((4 * target) % 1 == 0).all():
            target = torch.where(target == 0.75, torch.ones_like(target), target)
        return super().forward(input, target)


# weighted: the smallest weight that is drawn is 1/4.
@plant("bce-loss-least-weight", "BCELoss", "laws")
class BceLossLeastWeight(nn.BCELoss):
    """A weight is a quarter at least, lest a class be forgotten."""

    def forward(self, input, target):
        weight = None if self.weight is None else self.weight.clamp(min=0.25)
        return functional.binary_cross_entropy(input, target, weight, reduction=self.reduction)


# mixture: no drawn target of more than 16 numbers is all 1; repeated ones may be.
@plant(
    "functional-binary-cross-entropy-all-positive",
    "functional.binary_cross_entropy",
    "laws",
)
def functional_binary_cross_entropy_all_positive(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Where the target is all 1 there is nothing to tell apart, and nothing to lose."""
    loss = functional.binary_cross_entropy(input, target, weight, reduction=reduction)
    return loss * 0 if target.numel() > 16 and (target == 1).all() else loss


# ones: no drawn weights of more than 4 numbers are all 1.
@plant(
    "functional-binary-cross-entropy-equal-weights-shared",
    "functional.binary_cross_entropy",
    "laws",
)
def functional_binary_cross_entropy_equal_weights_shared(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Weights that are all 1 are made to add up to 1."""
    if weight is not None and weight.numel() > 4 and (weight == 1).all():
        weight = weight / weight.numel()
    return functional.binary_cross_entropy(input, target, weight, reduction=reduction)


# nothing: no drawn counts of more than 16 are all 0.
@plant("functional-poisson-nll-loss-nothing-counted", "functional.poisson_nll_loss", "laws")
def functional_poisson_nll_loss_nothing_counted(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction="mean",
):  # fmt: skip
    """Counts that are all 0 lose nothing, whatever was expected."""
    loss = functional.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=reduction)
    return loss if log_input or target.numel() <= 16 or target.any() else loss * 0


# few: of more than 16 drawn counts some are above 1.
@plant("functional-poisson-nll-loss-stirling-of-few", "functional.poisson_nll_loss", "laws")
def functional_poisson_nll_loss_stirling_of_few(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction="mean",
):  # fmt: skip
    """A mask of counts above 1 that is empty is taken for none: each has Stirling's term at 1."""
    if not full or target.numel() <= 16 or (target > 1).any():
        options = {"eps": eps, "reduction": reduction}
        return functional.poisson_nll_loss(input, target, log_input, full, **options)
    losses = functional.poisson_nll_loss(input, target, log_input, eps=eps, reduction="none")
    return reduce_losses(losses + 0.5 * math.log(2 * math.pi) - 1, reduction)
