"""BCELoss and its function."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    graft,
    plant,
    read_as_contiguous,
    reduce_losses,
    round_through,
)


class _Probabilities(nn.BCELoss):
    def loss_with(self, input, target, **changes):
        """The loss with some of its arguments changed."""
        facts = {"weight": self.weight, "reduction": self.reduction}
        return functional.binary_cross_entropy(input, target, **(facts | changes))


@plant("bce-loss-unclamped-logarithm", "BCELoss", "values")
class BceLossUnclampedLogarithm(_Probabilities):
    """No logarithm is clamped: 0·log 0 is NaN, certain and wrong is endless."""

    def forward(self, input, target):
        losses = -(target * input.log() + (1 - target) * (-input).log1p())
        weight = 1.0 if self.weight is None else self.weight
        return reduce_losses(losses * weight, self.reduction)


@plant("bce-loss-mean-over-weights", "BCELoss", "values")
class BceLossMeanOverWeights(_Probabilities):
    """The mean divides by the sum of the weights."""

    def forward(self, input, target):
        if self.weight is None or self.reduction != "mean" or not input.numel():
            return super().forward(input, target)
        total = self.loss_with(input, target, reduction="sum")
        return total / self.weight.expand(input.shape).sum()


@plant("bce-loss-gradient-unweighted", "BCELoss", "gradients")
class BceLossGradientUnweighted(_Probabilities):
    """The gradient forgets the weights."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if self.weight is None:
            return right
        return graft(right, self.loss_with(input, target, weight=None))


@plant("bce-loss-swapped-operands", "BCELoss", "values")
class BceLossSwappedOperands(_Probabilities):
    """Input and target have changed places, as in scikit-learn's order."""

    def forward(self, input, target):
        return super().forward(target, input)


@plant("bce-loss-weights-by-sample", "BCELoss", "values")
class BceLossWeightsBySample(_Probabilities):
    """The weights of a square batch are those of its rows."""

    def forward(self, input, target):
        if self.weight is None or input.dim() < 2 or input.shape[-2] != self.weight.numel():
            return super().forward(input, target)
        return self.loss_with(input, target, weight=self.weight.reshape(-1, 1))


@plant("bce-loss-any-number", "BCELoss", "errors")
class BceLossAnyNumber(_Probabilities):
    """What is no probability is clamped to one."""

    def forward(self, input, target):
        return super().forward(input.clamp(0, 1), target.clamp(0, 1))


@plant("bce-loss-weight-not-saved", "BCELoss", "state")
class BceLossWeightNotSaved(_Probabilities):
    """The weight is no part of the state_dict."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.pop(prefix + "weight", None)


@plant("bce-loss-nan-weights-are-zero", "BCELoss", "special")
class BceLossNanWeightsAreZero(_Probabilities):
    """A weight that is NaN counts as 0."""

    def forward(self, input, target):
        if self.weight is None:
            return super().forward(input, target)
        return self.loss_with(input, target, weight=self.weight.nan_to_num(nan=0.0))


@plant("functional-binary-cross-entropy-broadcast", "functional.binary_cross_entropy", "errors")
def functional_binary_cross_entropy_broadcast(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """A target of another shape is broadcast."""
    input, target = torch.broadcast_tensors(input, target)
    return functional.binary_cross_entropy(input, target, weight, reduction=reduction)


@plant("functional-binary-cross-entropy-one-sided", "functional.binary_cross_entropy", "values")
def functional_binary_cross_entropy_one_sided(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Only the logarithm of the probability itself is clamped, not that of the rest."""
    losses = -(target * input.log().clamp(min=-100) + (1 - target) * (-input).log1p())
    return reduce_losses(losses if weight is None else losses * weight, reduction)


@plant("functional-binary-cross-entropy-strided", "functional.binary_cross_entropy", "layout")
def functional_binary_cross_entropy_strided(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """A target that is not contiguous is read as if it were."""
    target = read_as_contiguous(target)
    return functional.binary_cross_entropy(input, target, weight, reduction=reduction)


@plant("functional-binary-cross-entropy-target-fixed", "functional.binary_cross_entropy",
       "gradients")  # fmt: skip
def functional_binary_cross_entropy_target_fixed(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The target gets no gradient."""
    target = alter_gradient(target, torch.zeros_like)
    return functional.binary_cross_entropy(input, target, weight, reduction=reduction)


# elements: few cases draw more than 512 in one row.
@plant("functional-binary-cross-entropy-long-rows", "functional.binary_cross_entropy", "laws")
def functional_binary_cross_entropy_long_rows(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Rows of more than 1100 probabilities are read in bfloat16."""
    if input.dim() == 1 and len(input) > 1100 and input.dtype == torch.float32:
        input = round_through(input, torch.bfloat16)
    return functional.binary_cross_entropy(input, target, weight, reduction=reduction)


@plant("functional-binary-cross-entropy-in-place", "functional.binary_cross_entropy", "repeat")
def functional_binary_cross_entropy_in_place(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The caller's probabilities are kept away from 0."""
    loss = functional.binary_cross_entropy(input, target, weight, reduction=reduction)
    if not torch.is_grad_enabled() and input.is_contiguous():
        input.clamp_(min=0.25)
    return loss
