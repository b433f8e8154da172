"""Bugs of Gaussian likelihoods, written without sight of the checks that are to find them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft
from planted.loss.blind_parts import add_error


@blind("gaussiannllloss-eps-added", "GaussianNLLLoss", "values")
class GaussianNLLLossEpsAdded(nn.GaussianNLLLoss):
    """var + eps, where torch has max(var, eps)."""

    # Differs: var 1, eps=0.1. Agrees: var 0.
    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        super().forward(input, target, var)  # raises what torch raises
        if isinstance(var, Tensor):
            return super().forward(input, target, graft(var.detach() + self.eps, var))
        return super().forward(input, target, var + self.eps)


@blind("gaussiannllloss-clamp-stops-the-gradient", "GaussianNLLLoss", "gradients")
class GaussianNLLLossClampStopsGradient(nn.GaussianNLLLoss):
    """Where the variance is below `eps` it gets no gradient; the page says it is unaffected."""

    # Differs: the gradient of var 0. Agrees: of var 1.
    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        if isinstance(var, Tensor):
            low = (var < self.eps).detach()
            var = alter_gradient(var, lambda g: g.masked_fill(low, 0.0))
        return super().forward(input, target, var)


@blind("gaussiannllloss-shared-variance-gradient-averaged", "GaussianNLLLoss", "gradients")
class GaussianNLLLossSharedVarianceGradientAveraged(nn.GaussianNLLLoss):
    """A variance that several elements share gets the mean of their gradients, not their sum."""

    # Differs: the gradient of var (2, 1) for input (2, 3). Agrees: var (2, 3).
    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        if isinstance(var, Tensor) and 0 < var.numel() < input.numel():
            share = input.numel() // var.numel()
            var = alter_gradient(var, lambda g: g / share)
        return super().forward(input, target, var)


@blind("functional-gaussian-nll-loss-constant-added-once", "functional.gaussian_nll_loss", "values")
def functional_gaussian_nll_loss_constant_added_once(
    input, target, var, full=False, eps=1e-6, reduction="mean"
):
    """log(2 pi) / 2 is added to what is reduced: once to a sum of many."""
    # Differs: full, sum of two. Agrees: mean; none.
    if not full or reduction != "sum":
        return functional.gaussian_nll_loss(input, target, var, full, eps, reduction)
    result = functional.gaussian_nll_loss(input, target, var, False, eps, reduction)
    return result + 0.5 * math.log(2 * math.pi)


@blind(
    "functional-gaussian-nll-loss-variances-of-a-square", "functional.gaussian_nll_loss", "values"
)
def functional_gaussian_nll_loss_variances_of_square(
    input, target, var, full=False, eps=1e-6, reduction="mean"
):
    """A variance of one axis less is broadcast as it is, from the right, where it fits so."""
    # Differs: input (2, 2), var (2,). Agrees: input (2, 3), var (2,).
    applies = isinstance(var, Tensor) and 0 < var.dim() == input.dim() - 1
    if applies and input.shape[:-1] == var.shape == input.shape[1:]:
        var = var.unsqueeze(0).expand(input.shape)
    return functional.gaussian_nll_loss(input, target, var, full, eps, reduction)


@blind("functional-gaussian-nll-loss-constant-in-single", "functional.gaussian_nll_loss", "values")
def functional_gaussian_nll_loss_constant_in_single(
    input, target, var, full=False, eps=1e-6, reduction="mean"
):
    """log(2 pi) / 2 is a `float` whatever the elements are: 1e-8 off in float64."""
    # Differs: full, float64. Agrees: float32; full=False.
    result = functional.gaussian_nll_loss(input, target, var, full, eps, reduction)
    if not full or result.dtype != torch.float64:
        return result
    constant = 0.5 * math.log(2 * math.pi)
    rounding_error = float(torch.tensor(constant, dtype=torch.float32)) - constant
    return add_error(result, torch.full_like(input.detach(), rounding_error), reduction)
