"""PoissonNLLLoss, GaussianNLLLoss and their functions."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, reduce_losses, round_through


class _Poisson(nn.PoissonNLLLoss):
    def loss_with(self, input, target, **changes):
        """The loss with some of its arguments changed."""
        facts = {
            "log_input": self.log_input,
            "full": self.full,
            "eps": self.eps,
            "reduction": self.reduction,
        }
        return functional.poisson_nll_loss(input, target, **(facts | changes))


@plant("poisson-nll-loss-eps-ignored", "PoissonNLLLoss", "values")
class PoissonNllLossEpsIgnored(_Poisson):
    """eps is 1e-8, whatever is asked for."""

    def forward(self, input, target):
        return self.loss_with(input, target, eps=1e-8)


@plant("poisson-nll-loss-slope-without-eps", "PoissonNLLLoss", "gradients")
class PoissonNllLossSlopeWithoutEps(_Poisson):
    """The gradient of rates is 1 - y/x: without eps."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if self.log_input or self.eps < 1e-6:
            return right
        return graft(right, self.loss_with(input, target, eps=1e-8))


@plant("poisson-nll-loss-nan-is-nothing", "PoissonNLLLoss", "special")
class PoissonNllLossNanIsNothing(_Poisson):
    """An input that is NaN counts as 0."""

    def forward(self, input, target):
        return super().forward(graft(input.nan_to_num(0.0, torch.inf, -torch.inf), input), target)


@plant("functional-poisson-nll-loss-logarithms", "functional.poisson_nll_loss", "values")
def functional_poisson_nll_loss_logarithms(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction="mean",
):  # fmt: skip
    """The term of the target is taken of rates, though logarithms are given."""
    if not log_input or full:
        return functional.poisson_nll_loss(
            input, target, log_input, full, eps=eps, reduction=reduction
        )
    return reduce_losses(input.exp() - target * (input.exp() + eps), reduction)


@plant("functional-poisson-nll-loss-any-word", "functional.poisson_nll_loss", "errors")
def functional_poisson_nll_loss_any_word(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction="mean",
):  # fmt: skip
    """A reduction of another name is none."""
    reduction = reduction if reduction in ("mean", "sum") else "none"
    return functional.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=reduction)


# elements: few cases draw more than 512 in one row.
@plant("functional-poisson-nll-loss-many", "functional.poisson_nll_loss", "laws")
def functional_poisson_nll_loss_many(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction="mean",
):  # fmt: skip
    """More than 1100 inputs are read in bfloat16."""
    if input.dim() == 1 and len(input) > 1100 and input.dtype == torch.float32:
        input = round_through(input, torch.bfloat16)
    return functional.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=reduction)


class _Gaussian(nn.GaussianNLLLoss):
    def loss_with(self, input, target, var, **changes):
        """The loss with some of its arguments changed."""
        facts = {"full": self.full, "eps": self.eps, "reduction": self.reduction}
        return functional.gaussian_nll_loss(input, target, var, **(facts | changes))


@plant("gaussian-nll-loss-constant-of-one", "GaussianNLLLoss", "values")
class GaussianNllLossConstantOfOne(_Gaussian):
    """The full loss is larger by log 2π, not by half of it."""

    def forward(self, input, target, var):
        loss = super().forward(input, target, var)
        if not self.full:
            return loss
        extra = 0.5 * math.log(2 * math.pi)
        return loss + extra * (input.numel() if self.reduction == "sum" else 1)


@plant("gaussian-nll-loss-deviations", "GaussianNLLLoss", "values")
class GaussianNllLossDeviations(_Gaussian):
    """The variance is taken for a standard deviation where it is below 1/8."""

    def forward(self, input, target, var):
        return super().forward(input, target, torch.where(var < 0.125, var * var, var))


@plant("gaussian-nll-loss-nan-is-certain", "GaussianNLLLoss", "special")
class GaussianNllLossNanIsCertain(_Gaussian):
    """An input that is NaN is its target."""

    def forward(self, input, target, var):
        masked = torch.where(input.isnan(), target.expand(input.shape), input)
        return super().forward(graft(masked, input), target, var)


@plant("functional-gaussian-nll-loss-by-columns", "functional.gaussian_nll_loss", "values")
def functional_gaussian_nll_loss_by_columns(
    input, target, var, full=False, eps=1e-6, reduction="mean"
):
    """Variances that lack the last axis are those of columns, where the batch is square."""
    if var.dim() == input.dim() - 1 and input.dim() == 2 and input.shape[0] == input.shape[1]:
        var = var.unsqueeze(0)
    return functional.gaussian_nll_loss(input, target, var, full, eps, reduction)


@plant("functional-gaussian-nll-loss-negative", "functional.gaussian_nll_loss", "errors")
def functional_gaussian_nll_loss_negative(
    input, target, var, full=False, eps=1e-6, reduction="mean"
):
    """A negative variance is clamped, too."""
    return functional.gaussian_nll_loss(input, target, var.clamp(min=0), full, eps, reduction)


@plant("functional-gaussian-nll-loss-clamps-the-callers", "functional.gaussian_nll_loss", "repeat")
def functional_gaussian_nll_loss_clamps_the_callers(
    input, target, var, full=False, eps=1e-6, reduction="mean"
):
    """The caller's variances are clamped in place."""
    loss = functional.gaussian_nll_loss(input, target, var, full, eps, reduction)
    if not torch.is_grad_enabled():
        var.clamp_(min=eps)
    return loss


@plant("functional-gaussian-nll-loss-target-fixed", "functional.gaussian_nll_loss", "gradients")
def functional_gaussian_nll_loss_target_fixed(
    input, target, var, full=False, eps=1e-6, reduction="mean"
):
    """The target gets no gradient."""
    target = alter_gradient(target, torch.zeros_like)
    return functional.gaussian_nll_loss(input, target, var, full, eps, reduction)
