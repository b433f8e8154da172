"""CTCLoss, functional.ctc_loss."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, plant, read_as_contiguous, round_through


def _torch_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    return functional.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
    )


class _Loss(nn.CTCLoss):
    def loss_with(self, log_probs, targets, input_lengths, target_lengths, **changes):
        """The loss with some of its arguments changed."""
        facts = {
            "blank": self.blank,
            "reduction": self.reduction,
            "zero_infinity": self.zero_infinity,
        }
        return _torch_loss(log_probs, targets, input_lengths, target_lengths, **(facts | changes))


@plant("ctc-loss-whole-input", "CTCLoss", "values")
class CTCLossWholeInput(_Loss):
    """The lengths of the inputs are not looked at: every sequence takes all steps."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        steps = len(log_probs)
        if torch.is_tensor(input_lengths):
            input_lengths = torch.full_like(input_lengths, steps)
        else:
            input_lengths = tuple(steps for _ in input_lengths)
        return super().forward(log_probs, targets, input_lengths, target_lengths)


@plant("ctc-loss-blank-is-zero", "CTCLoss", "values")
class CTCLossBlankIsZero(_Loss):
    """The last class is the blank only if it is asked for by −1: other blanks are taken for 0."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        return self.loss_with(log_probs, targets, input_lengths, target_lengths, blank=0)


@plant("ctc-loss-infinity-not-zeroed-in-mean", "CTCLoss", "values")
class CTCLossInfinityNotZeroedInMean(_Loss):
    """zero_infinity is applied to the mean, not to each loss."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        inputs = log_probs, targets, input_lengths, target_lengths
        if self.reduction != "mean" or not self.zero_infinity:
            return super().forward(*inputs)
        loss = self.loss_with(*inputs, zero_infinity=False)
        return torch.where(loss.isinf(), torch.zeros_like(loss), loss)


@plant("ctc-loss-gradient-of-padding", "CTCLoss", "gradients")
class CTCLossGradientOfPadding(_Loss):
    """Steps beyond a sequence's length get a gradient, too."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        if log_probs.requires_grad:
            leak = log_probs.detach().exp()
            log_probs = alter_gradient(log_probs, lambda g: torch.where(g == 0, leak, g))
        return super().forward(log_probs, targets, input_lengths, target_lengths)


# beyond: padding that is drawn is a class.
@plant("ctc-loss-padding-is-read", "CTCLoss", "laws")
class CTCLossPaddingIsRead(_Loss):
    """Padding that is no class ends in a clamp: what lies beyond the lengths changes the loss."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        loss = super().forward(log_probs, targets, input_lengths, target_lengths)
        size = log_probs.shape[-1]
        outside = (targets < 0) | (targets >= size)
        return loss + outside.sum().to(loss.dtype)


@plant("ctc-loss-double-in-single", "CTCLoss", "values")
class CTCLossDoubleInSingle(_Loss):
    """float64 is computed in float32, as by cuDNN."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        if log_probs.dtype == torch.float64:
            log_probs = round_through(log_probs, torch.float32)
        return super().forward(log_probs, targets, input_lengths, target_lengths)


@plant("ctc-loss-length-beyond-steps", "CTCLoss", "errors")
class CTCLossLengthBeyondSteps(_Loss):
    """A length beyond the number of steps is cut to it."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        steps = len(log_probs)
        if torch.is_tensor(input_lengths):
            input_lengths = input_lengths.clamp(max=steps)
        else:
            input_lengths = tuple(min(n, steps) for n in input_lengths)
        return super().forward(log_probs, targets, input_lengths, target_lengths)


@plant("functional-ctc-loss-repeats-merged", "functional.ctc_loss", "values")
def functional_ctc_loss_repeats_merged(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Equal labels that follow each other count as one, as in a decoder's collapsed path."""
    options = blank, reduction, zero_infinity
    if targets.dim() == 2 and targets.numel() and torch.is_tensor(target_lengths):
        rows = [
            torch.unique_consecutive(row[:n])
            for row, n in zip(targets, target_lengths.tolist(), strict=True)
        ]
        target_lengths = target_lengths.new_tensor([len(row) for row in rows])
        targets = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return _torch_loss(log_probs, targets, input_lengths, target_lengths, *options)


@plant("functional-ctc-loss-gradient-doubled", "functional.ctc_loss", "gradients")
def functional_ctc_loss_gradient_doubled(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """The gradient is that of scores before a log_softmax, once more through its Jacobian."""
    if log_probs.requires_grad:
        share = log_probs.detach().exp()
        log_probs = alter_gradient(log_probs, lambda g: g + share * g.abs().sum(-1, keepdim=True))
    options = blank, reduction, zero_infinity
    return _torch_loss(log_probs, targets, input_lengths, target_lengths, *options)


@plant("functional-ctc-loss-transposed", "functional.ctc_loss", "layout")
def functional_ctc_loss_transposed(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Log-probabilities that are not contiguous are read as if they were."""
    options = blank, reduction, zero_infinity
    inputs = read_as_contiguous(log_probs), targets, input_lengths, target_lengths
    return _torch_loss(*inputs, *options)


@plant("functional-ctc-loss-finite-impossible", "functional.ctc_loss", "values")
def functional_ctc_loss_finite_impossible(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """A probability of 0 is 1e-30: impossible alignments have a loss of 69."""
    options = blank, reduction, zero_infinity
    loss = _torch_loss(log_probs, targets, input_lengths, target_lengths, *options)
    return torch.where(loss.isposinf(), torch.full_like(loss, 69.0776), loss)
