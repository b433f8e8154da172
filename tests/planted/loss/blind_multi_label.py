"""Bugs of the multi-label margin, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, reduce_losses
from planted.loss.blind_parts import add_error


def _leading_targets(target: Tensor) -> Tensor:
    """Which targets are before the first −1."""
    return (target >= 0).long().cumprod(-1).bool()


def _hinge_sums(
    input: Tensor, target: Tensor, chosen: Tensor, excluded: Tensor, minimum: float = 0.0
) -> Tensor:
    """For each sample the sum of hinges of chosen targets with all classes but the masked ones."""
    safe_target = torch.where(chosen, target, 0)
    hinges = (1 - (input.gather(-1, safe_target).unsqueeze(-1) - input.unsqueeze(-2))).clamp_min(
        minimum
    )
    return torch.where(chosen.unsqueeze(-1) & ~excluded.unsqueeze(-2), hinges, 0.0).sum((-1, -2))


def _is_target_class(target: Tensor, chosen: Tensor) -> Tensor:
    """Whether each class is a target."""
    classes = torch.arange(target.shape[-1])
    return ((target.unsqueeze(-1) == classes) & chosen.unsqueeze(-1)).any(-2)


@blind("multilabelmarginloss-targets-behind-the-gap", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossTargetsBehindGap(nn.MultiLabelMarginLoss):
    """All targets that are not negative count, also those after the first -1."""

    # Differs: target (1, -1, 0). Agrees: target (1, 0, -1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        order = (target < 0).long().argsort(dim=-1, stable=True)
        return super().forward(input, target.gather(-1, order))


@blind("multilabelmarginloss-targets-against-each-other", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossTargetsAgainstEachOther(nn.MultiLabelMarginLoss):
    """A target is compared with every other class; torch leaves out all targets."""

    # Differs: target (0, 1, -1). Agrees: target (0, -1, -1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if input.dim() == 0:
            return result
        chosen = _leading_targets(target)
        right = _hinge_sums(input, target, chosen, _is_target_class(target, chosen))
        no_class = torch.zeros_like(chosen)
        wrong = _hinge_sums(input, target, chosen, no_class) - chosen.sum(-1)
        if bool((chosen.sum(-1) > 1).any()):
            error = (wrong - right) / max(input.shape[-1], 1)
            return add_error(result, error, self.reduction)
        return result


@blind("multilabelmarginloss-minus-one-is-the-last-class", "MultiLabelMarginLoss", "values")
class MultiLabelMarginLossMinusOneIsLastClass(nn.MultiLabelMarginLoss):
    """`is_target[target] = 1` in Python: -1 marks the last class, which then counts as a target."""

    # Differs: target (0, -1, -1). Agrees: target (2, -1, -1).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        if input.dim() == 0 or input.shape[-1] == 0:
            return result
        chosen = _leading_targets(target)
        is_target = _is_target_class(target, chosen)
        marked = is_target.clone()
        marked[..., -1] |= (target < 0).any(-1)
        right, wrong = (
            _hinge_sums(input, target, chosen, is_target),
            _hinge_sums(input, target, chosen, marked),
        )
        return add_error(result, (wrong - right) / input.shape[-1], self.reduction)


@blind("multilabelmarginloss-one-sample-keeps-an-axis", "MultiLabelMarginLoss", "shape")
class MultiLabelMarginLossOneSampleKeepsAxis(nn.MultiLabelMarginLoss):
    """Without a reduction, the loss of an unbatched sample is a batch of one."""

    # Differs: input (3,), reduction="none". Agrees: input (1, 3).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result[None] if input.dim() == 1 and self.reduction == "none" else result


@blind(
    "functional-multilabel-margin-loss-over-the-targets",
    "functional.multilabel_margin_loss",
    "values",
)
def functional_multilabel_margin_loss_over_targets(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """A sample's loss is divided by the number of its targets, not by that of the classes."""
    # Differs: input (3,), target (0, -1, -1). Agrees: losses of 0.
    result = functional.multilabel_margin_loss(input, target, size_average, reduce, reduction)
    if input.dim() == 0:
        return result
    chosen = _leading_targets(target)
    right = _hinge_sums(input, target, chosen, _is_target_class(target, chosen))
    count = chosen.sum(-1).clamp_min(1)
    return add_error(result, right / count - right / max(input.shape[-1], 1), reduction)


@blind(
    "functional-multilabel-margin-loss-target-pulled-once",
    "functional.multilabel_margin_loss",
    "gradients",
)
def functional_multilabel_margin_loss_target_pulled_once(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """A target's gradient is -1 / C however many classes are within its margin."""
    # Differs: the gradient with two classes within. Agrees: with one; the values.
    result = functional.multilabel_margin_loss(input, target, size_average, reduce, reduction)
    if input.numel() == 0 or input.dim() == 0 or not input.requires_grad:
        return result
    chosen = _leading_targets(target)
    is_target = _is_target_class(target, chosen)
    score = input.gather(-1, torch.where(chosen, target, 0))
    within = 1 - (score.unsqueeze(-1) - input.unsqueeze(-2)) > 0
    within = (within & chosen.unsqueeze(-1) & ~is_target.unsqueeze(-2)).sum(-1)
    surplus = (score * (within - 1).clamp_min(0)).sum(-1) / input.shape[-1]
    return graft(result, result + reduce_losses(surplus, reduction))
