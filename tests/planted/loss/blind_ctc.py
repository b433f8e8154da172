"""Bugs of CTC's calls and reductions, written without sight of the checks that are to find them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft
from planted.loss.blind_parts import length_list, reduce_ctc


@blind("ctcloss-mean-of-the-sums", "CTCLoss", "values")
class CTCLossMeanOfSums(nn.CTCLoss):
    """The mean is over the batch; torch first divides each loss by its target's length."""

    # Differs: mean of labels (1, 2). Agrees: of one label; sum; none.
    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        arguments = (log_probs, targets, input_lengths, target_lengths)
        result = super().forward(*arguments)
        lengths = length_list(target_lengths)
        if self.reduction != "mean" or max(lengths, default=0) < 2:
            return result
        return functional.ctc_loss(*arguments, self.blank, "none", self.zero_infinity).mean()


@blind("ctcloss-no-label-no-loss", "CTCLoss", "values")
class CTCLossNoLabelNoLoss(nn.CTCLoss):
    """A sample without labels costs nothing; its one path is all blanks."""

    # Differs: a target of length 0. Agrees: longer ones.
    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        arguments = (log_probs, targets, input_lengths, target_lengths)
        result = super().forward(*arguments)
        lengths = torch.tensor(length_list(target_lengths))
        if not bool((lengths == 0).any()):
            return result
        losses = functional.ctc_loss(*arguments, self.blank, "none", self.zero_infinity)
        losses = torch.where((lengths == 0).reshape(losses.shape), 0.0, losses)
        return reduce_ctc(losses.reshape(-1), lengths, self.reduction, result)


@blind("ctcloss-impossible-is-merely-unlikely", "CTCLoss", "values")
class CTCLossImpossibleIsMerelyUnlikely(nn.CTCLoss):
    """log 0 is -1e5, as in Optax: labels that do not fit cost 1e5, not infinitely much."""

    # Differs: two labels in one frame. Agrees: labels that fit.
    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        arguments = (log_probs, targets, input_lengths, target_lengths)
        result = super().forward(*arguments)
        losses = functional.ctc_loss(*arguments, self.blank, "none")
        if self.zero_infinity or not bool(losses.isposinf().any()):
            return result
        wrong = torch.where(losses.isposinf(), 1e5, losses).reshape(-1).detach()
        return graft(reduce_ctc(wrong, target_lengths, self.reduction, result), result)


@blind("functional-ctc-loss-blank-is-zero", "functional.ctc_loss", "values")
def functional_ctc_loss_blank_is_zero(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """`blank` is not handed on: class 0 is the blank, where no target has it as a label."""
    # Differs: blank=1, labels (2,). Agrees: blank=0.
    assumed_blank = 0 if bool((targets != 0).all()) else blank
    return functional.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, assumed_blank, reduction, zero_infinity
    )


@blind("functional-ctc-loss-frames-behind-the-end", "functional.ctc_loss", "values")
def functional_ctc_loss_frames_behind_end(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """All frames count, the padding of the shorter inputs, too."""
    # Differs: an input length below T. Agrees: all of length T.
    functional.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank)
    full = torch.full_like(torch.as_tensor(input_lengths), log_probs.shape[0])
    target_lengths = torch.as_tensor(target_lengths)
    return functional.ctc_loss(
        log_probs, targets, full, target_lengths, blank, reduction, zero_infinity
    )


@blind("functional-ctc-loss-labels-at-a-stride", "functional.ctc_loss", "values")
def functional_ctc_loss_labels_at_stride(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Joined targets are read at n times the first one's length, not where the last one ended."""
    # Differs: 1-D targets of lengths (1, 2, 1). Agrees: equal lengths; (N, S).
    lengths = length_list(target_lengths)
    if targets.dim() == 1 and len(set(lengths)) > 1 and log_probs.dim() == 3:
        stride, total = lengths[0], len(targets)
        places = [min(n * stride + k, total - 1) for n, m in enumerate(lengths) for k in range(m)]
        targets = targets[places]
    return functional.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
    )


@blind("functional-ctc-loss-divided-by-the-padded-length", "functional.ctc_loss", "values")
def functional_ctc_loss_divided_by_padded_length(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """The mean divides by S, the padded targets' length, not by each target's own."""
    # Differs: targets (1, 3) of length 2, mean. Agrees: full length; joined targets.
    arguments = (log_probs, targets, input_lengths, target_lengths, blank)
    result = functional.ctc_loss(*arguments, reduction, zero_infinity)
    applies = targets.dim() == 2 and min(length_list(target_lengths), default=0) < targets.shape[1]
    if reduction != "mean" or not applies:
        return result
    return functional.ctc_loss(*arguments, "none", zero_infinity).mean() / targets.shape[1]


@blind("functional-ctc-loss-infinity-zeroed-in-forward-alone", "functional.ctc_loss", "gradients")
def functional_ctc_loss_infinity_zeroed_in_forward_alone(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """With `zero_infinity` the losses are 0, the gradients NaN: 0 times those of infinity."""
    # Differs: the gradient of two labels in one frame. Agrees: labels that fit.
    arguments = (log_probs, targets, input_lengths, target_lengths, blank)
    if zero_infinity and log_probs.requires_grad and log_probs.dim() == 3:
        losses = functional.ctc_loss(*arguments, "none").detach()
        affected = losses.isposinf().view(1, -1, 1)
        log_probs = alter_gradient(log_probs, lambda g: torch.where(affected, torch.nan, g))
    return functional.ctc_loss(log_probs, *arguments[1:], reduction, zero_infinity)
