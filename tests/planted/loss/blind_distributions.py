"""Bugs of losses of distributions, written without sight of the checks that are to find them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, reduce_losses
from planted.loss.blind_parts import add_error, rescale_mean, widen_halves

# Kullback and Leibler


@blind("kldivloss-nothing-times-its-logarithm", "KLDivLoss", "values")
class KLDivLossNothingTimesLogarithm(nn.KLDivLoss):
    """target * (target.log() - input), as the page sketches it: 0 * -inf is NaN, not 0."""

    # Differs: a target of 0. Agrees: positive targets; log_target.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if self.log_target:
            return result
        error = torch.where(target.detach() == 0, torch.nan, 0.0).to(input.dtype)
        mean = "sum" if self.reduction == "batchmean" else self.reduction
        return graft(add_error(result, error, mean), result)


@blind("kldivloss-one-distribution-is-one-sample", "KLDivLoss", "values")
class KLDivLossOneDistributionIsOneSample(nn.KLDivLoss):
    """ "batchmean" of a vector is its sum; torch divides by its length, the size of axis 0."""

    # Differs: batchmean of (3,). Agrees: batchmean of (2, 3).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        is_single = self.reduction == "batchmean" and input.dim() == 1
        return result * len(input) if is_single else result


@blind("kldivloss-elements-not-below-zero", "KLDivLoss", "values")
class KLDivLossElementsNotBelowZero(nn.KLDivLoss):
    """A divergence is not negative, so that each element's share is clamped at 0."""

    # Differs: target 0.1, input log 0.9. Agrees: target 0.9, input log 0.1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        losses = functional.kl_div(input, target, reduction="none", log_target=self.log_target)
        if not bool((losses < 0).any()):
            return super().forward(input, target)
        if self.reduction == "batchmean":
            return losses.clamp_min(0).sum() / input.shape[0]
        return reduce_losses(losses.clamp_min(0), self.reduction)


@blind("kldivloss-gradient-of-a-log-target-of-one-factor", "KLDivLoss", "gradients")
class KLDivLossGradientOfLogTarget(nn.KLDivLoss):
    """Backward of exp(t) (t - x) to t is exp(t) (t - x): the + exp(t) of the product is missing."""

    # Differs: the gradient of target with log_target. Agrees: without.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if not self.log_target or not target.requires_grad:
            return result
        error = target.detach().exp() * (target - target.detach())
        if self.reduction == "batchmean":
            return graft(result, result - error.sum() / max(input.shape[0], 1))
        return graft(result, result - reduce_losses(error, self.reduction))


@blind("functional-kl-div-batchmean-of-rows", "functional.kl_div", "values")
def functional_kl_div_batchmean_of_rows(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """ "batchmean" divides by the number of distributions along the last axis, not by axis 0."""
    # Differs: batchmean of (2, 3, 4). Agrees: of (2, 3).
    result = functional.kl_div(input, target, size_average, reduce, reduction, log_target)
    if reduction != "batchmean" or input.dim() < 2 or input.numel() == 0:
        return result
    return rescale_mean(result, input.shape[0], input.numel() // input.shape[-1])


@blind("functional-kl-div-targets-clipped-as-in-keras", "functional.kl_div", "values")
def functional_kl_div_targets_clipped(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """Targets are kept above 1e-7, Keras's epsilon: classes that never occur cost 1e-6 each."""
    # Differs: target 0, input -1. Agrees: target 0.5.
    if not log_target and target.dtype != torch.float16:
        target = graft(target.detach().clamp_min(1e-7), target)
    return functional.kl_div(input, target, size_average, reduce, reduction, log_target)


# Poisson


def _stirling(target: Tensor) -> Tensor:
    t = widen_halves(target.detach())
    return t * torch.log(t) - t + 0.5 * torch.log(2 * math.pi * t)


@blind("poissonnllloss-eps-inside-and-outside", "PoissonNLLLoss", "values")
class PoissonNLLLossEpsInsideAndOutside(nn.PoissonNLLLoss):
    """The input is replaced by input + eps, which is meant for the logarithm alone."""

    # Differs: log_input=False, eps=0.01. Agrees: log_input=True.
    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(log_input, target)
        if self.log_input:
            return result
        return add_error(result, torch.full_like(log_input.detach(), self.eps), self.reduction)


@blind("poissonnllloss-stirling-for-small-counts", "PoissonNLLLoss", "values")
class PoissonNLLLossStirlingForSmallCounts(nn.PoissonNLLLoss):
    """Stirling's term is added for every positive target, where torch has 0 up to 1."""

    # Differs: full=True, target 1. Agrees: targets 0 and 2.
    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(log_input, target)
        small = (target > 0) & (target <= 1)
        if not self.full or log_input.shape != target.shape or not bool(small.any()):
            return result
        error = torch.where(small, _stirling(target), 0.0)
        return add_error(result, error, self.reduction)


@blind("poissonnllloss-pi-of-five-digits", "PoissonNLLLoss", "values")
class PoissonNLLLossPiOfFiveDigits(nn.PoissonNLLLoss):
    """Stirling's term has 6.2832 for 2 pi: 1.2e-6 too much of each target above 1."""

    # Differs: full=True, target 2, float64. Agrees: full=False; target 1.
    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(log_input, target)
        if not self.full:
            return result
        extra = 0.5 * math.log(6.2832 / (2 * math.pi))
        large = (target > 1) & torch.ones_like(log_input, dtype=torch.bool)
        return add_error(result, torch.where(large, extra, 0.0).double(), self.reduction)


@blind("poissonnllloss-gradient-without-eps", "PoissonNLLLoss", "gradients")
class PoissonNLLLossGradientWithoutEps(nn.PoissonNLLLoss):
    """Backward of log(x + eps) is 1 / x: infinite where the rate is 0."""

    # Differs: the gradient at input 0, log_input=False. Agrees: log_input=True.
    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(log_input, target)
        if self.log_input or not bool((log_input == 0).any()):
            return result
        losses = log_input - target * torch.log(log_input)
        return graft(result, reduce_losses(losses, self.reduction))


@blind(
    "functional-poisson-nll-loss-stirling-of-the-masked-mean",
    "functional.poisson_nll_loss",
    "values",
)
def functional_poisson_nll_loss_stirling_of_masked_mean(
    input,
    target,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
):
    """Stirling's terms are averaged over the targets above 1 only, then added to the mean."""
    # Differs: full, mean, targets (1, 2). Agrees: targets (2, 3); none.
    result = functional.poisson_nll_loss(
        input, target, log_input, full, size_average, eps, reduce, reduction
    )
    large = (target > 1) & torch.ones_like(input, dtype=torch.bool)
    if not full or reduction != "mean" or not bool(large.any()) or bool(large.all()):
        return result
    terms = _stirling(target).expand(large.shape)[large]
    return result + (terms.mean() - terms.sum() / large.numel()).to(result.dtype)


@blind("functional-poisson-nll-loss-logarithm-of-nothing", "functional.poisson_nll_loss", "values")
def functional_poisson_nll_loss_logarithm_of_nothing(
    input,
    target,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
):
    """`eps` is a floor of the rate and not added to it: max(x, eps)."""
    # Differs: log_input=False, input 1, eps=0.01. Agrees: input 0.
    result = functional.poisson_nll_loss(
        input, target, log_input, full, size_average, eps, reduce, reduction
    )
    if log_input:
        return result
    x = widen_halves(input.detach())
    error = widen_halves(target.detach()) * (torch.log(x + eps) - torch.log(x.clamp_min(eps)))
    return add_error(result, error, reduction)
