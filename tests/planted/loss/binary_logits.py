"""BCEWithLogitsLoss and its function."""

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


class _Logits(nn.BCEWithLogitsLoss):
    def loss_with(self, input, target, **changes):
        """The loss with some of its arguments changed."""
        facts = {
            "weight": self.weight,
            "pos_weight": self.pos_weight,
            "reduction": self.reduction,
        }
        return functional.binary_cross_entropy_with_logits(input, target, **(facts | changes))


@plant("bce-with-logits-loss-naive", "BCEWithLogitsLoss", "values")
class BceWithLogitsLossNaive(_Logits):
    """Log of a sigmoid that is 0 or 1: a loss of 100 for any logit beyond 100."""

    def forward(self, input, target):
        if self.pos_weight is not None:
            return super().forward(input, target)
        p = input.sigmoid()
        return functional.binary_cross_entropy(p, target, self.weight, reduction=self.reduction)


@plant("bce-with-logits-loss-soft-positives", "BCEWithLogitsLoss", "values")
class BceWithLogitsLossSoftPositives(_Logits):
    """The weight of positives is that of targets of 1 only."""

    def forward(self, input, target):
        if self.pos_weight is None:
            return super().forward(input, target)
        plain = self.loss_with(input, target, pos_weight=None, reduction="none")
        heavy = self.loss_with(input, target, reduction="none")
        return reduce_losses(torch.where(target == 1, heavy, plain), self.reduction)


@plant("bce-with-logits-loss-overflows", "BCEWithLogitsLoss", "values")
class BceWithLogitsLossOverflows(_Logits):
    """log(1 + e^-x) is taken as printed: logits below -88 overflow."""

    def forward(self, input, target):
        if self.pos_weight is not None:
            return super().forward(input, target)
        weight = 1.0 if self.weight is None else self.weight
        losses = (1 - target) * input + (1 + (-input).exp()).log()
        return reduce_losses(losses * weight, self.reduction)


@plant("bce-with-logits-loss-gradient-of-positives", "BCEWithLogitsLoss", "gradients")
class BceWithLogitsLossGradientOfPositives(_Logits):
    """The gradient is σ(x) − y, whatever the weight of positives."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if self.pos_weight is None:
            return right
        return graft(right, self.loss_with(input, target, pos_weight=None))


@plant("bce-with-logits-loss-target-fixed", "BCEWithLogitsLoss", "gradients")
class BceWithLogitsLossTargetFixed(_Logits):
    """The target gets no gradient."""

    def forward(self, input, target):
        return super().forward(input, alter_gradient(target, torch.zeros_like))


@plant("bce-with-logits-loss-nan-logit", "BCEWithLogitsLoss", "special")
class BceWithLogitsLossNanLogit(_Logits):
    """A logit that is NaN counts as 0."""

    def forward(self, input, target):
        return super().forward(graft(input.nan_to_num(0.0, torch.inf, -torch.inf), input), target)


@plant("bce-with-logits-loss-pos-weight-not-loaded", "BCEWithLogitsLoss", "state")
class BceWithLogitsLossPosWeightNotLoaded(_Logits):
    """The weight of positives that is saved is 1."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.pos_weight is not None:
            destination[prefix + "pos_weight"] = torch.ones_like(self.pos_weight)


_LOGITS = "functional.binary_cross_entropy_with_logits"


def _torch_loss(input, target, weight, reduction, pos_weight):
    return functional.binary_cross_entropy_with_logits(
        input, target, weight, reduction=reduction, pos_weight=pos_weight
    )


@plant("functional-binary-cross-entropy-with-logits-column", _LOGITS, "errors")
def functional_binary_cross_entropy_with_logits_column(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """A target of another shape is broadcast."""
    input, target = torch.broadcast_tensors(input, target)
    return _torch_loss(input, target, weight, reduction, pos_weight)


@plant("functional-binary-cross-entropy-with-logits-weighs-negatives", _LOGITS, "values")
def functional_binary_cross_entropy_with_logits_weighs_negatives(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """The weight of positives is that of negatives."""
    if pos_weight is None:
        return _torch_loss(input, target, weight, reduction, None)
    return _torch_loss(-input, 1 - target, weight, reduction, pos_weight)


@plant("functional-binary-cross-entropy-with-logits-strided", _LOGITS, "layout")
def functional_binary_cross_entropy_with_logits_strided(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """Logits that are not contiguous are read as if they were."""
    return _torch_loss(read_as_contiguous(input), target, weight, reduction, pos_weight)


# elements: few cases draw more than 512 in one row.
@plant("functional-binary-cross-entropy-with-logits-many", _LOGITS, "laws")
def functional_binary_cross_entropy_with_logits_many(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """More than 1100 logits are read in bfloat16."""
    if input.dim() == 1 and len(input) > 1100 and input.dtype == torch.float32:
        input = round_through(input, torch.bfloat16)
    return _torch_loss(input, target, weight, reduction, pos_weight)


@plant("functional-binary-cross-entropy-with-logits-column-of-losses", _LOGITS, "shape")
def functional_binary_cross_entropy_with_logits_column_of_losses(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """Losses that are not reduced have one axis more."""
    loss = _torch_loss(input, target, weight, reduction, pos_weight)
    return loss.unsqueeze(-1) if reduction == "none" else loss


@plant("functional-binary-cross-entropy-with-logits-in-place", _LOGITS, "repeat")
def functional_binary_cross_entropy_with_logits_in_place(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean", pos_weight=None
):
    """The caller's logits become probabilities."""
    loss = _torch_loss(input, target, weight, reduction, pos_weight)
    if not torch.is_grad_enabled() and input.is_contiguous():
        input.sigmoid_()
    return loss
