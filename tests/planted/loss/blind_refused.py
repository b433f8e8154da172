"""Losses that take what torch refuses, written without sight of the checks that find them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, class_axis


@blind("bceloss-inputs-beyond-one", "BCELoss", "errors")
class BCELossInputsBeyondOne(nn.BCELoss):
    """What is not a probability is clipped to one in silence."""

    # Differs: input 1.5. Agrees: inputs in [0, 1].
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(input.clamp(0, 1), target)


@blind(
    "functional-binary-cross-entropy-targets-beyond-one",
    "functional.binary_cross_entropy",
    "errors",
)
def functional_binary_cross_entropy_targets_beyond_one(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Targets are any numbers (inductor, torch 193757)."""
    # Differs: target 2. Agrees: targets in [0, 1].
    return functional.binary_cross_entropy(
        input, target.clamp(0, 1), weight, size_average, reduce, reduction
    )


@blind("crossentropyloss-smoothing-beyond-one", "CrossEntropyLoss", "errors")
class CrossEntropyLossSmoothingBeyondOne(nn.CrossEntropyLoss):
    """A `label_smoothing` outside [0, 1] is brought inside."""

    # Differs: label_smoothing=1.5. Agrees: 0.1.
    def __init__(self, *arguments: Any, label_smoothing: float = 0.0, **kwargs: Any):
        super().__init__(*arguments, label_smoothing=min(max(label_smoothing, 0.0), 1.0), **kwargs)


@blind("nllloss-negative-classes-count-from-the-end", "NLLLoss", "errors")
class NLLLossNegativeClassesCountFromEnd(nn.NLLLoss):
    """Class -1 is the last one, as an index of NumPy is."""

    # Differs: target -1. Agrees: target 1; ignore_index.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if input.dim() and not target.is_floating_point():
            classes = input.shape[class_axis(input)]
            below = (target < 0) & (target >= -classes) & (target != self.ignore_index)
            target = torch.where(below, target + classes, target)
        return super().forward(input, target)


@blind("functional-nll-loss-classes-clipped", "functional.nll_loss", "errors")
def functional_nll_loss_classes_clipped(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """A class that there is not becomes the last one: `mode="clip"`, JAX's way with indices."""
    # Differs: target 3 of 3 classes. Agrees: target 2.
    if input.dim() and not target.is_floating_point():
        last = input.shape[class_axis(input)] - 1
        target = torch.where(target == ignore_index, target, target.clamp(max=last))
    return functional.nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)


@blind("huberloss-negative-delta", "HuberLoss", "errors")
class HuberLossNegativeDelta(nn.HuberLoss):
    """A negative `delta` counts by its magnitude."""

    # Differs: delta=-1. Agrees: delta=1.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.huber_loss(input, target, self.reduction, abs(self.delta))


@blind("gaussiannllloss-negative-variance", "GaussianNLLLoss", "errors")
class GaussianNLLLossNegativeVariance(nn.GaussianNLLLoss):
    """Negative variances are clamped to `eps` with the small ones; nothing is said of them."""

    # Differs: var -1. Agrees: var 0.
    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        var = var.clamp_min(0) if isinstance(var, Tensor) else max(var, 0.0)
        return super().forward(input, target, var)


@blind("multimarginloss-any-power", "MultiMarginLoss", "errors")
class MultiMarginLossAnyPower(nn.MultiMarginLoss):
    """Powers other than 1 and 2 are taken for 1."""

    # Differs: p=3. Agrees: p=2.
    def __init__(self, p: int = 1, *arguments: Any, **kwargs: Any):
        super().__init__(p if p in (1, 2) else 1, *arguments, **kwargs)


@blind(
    "functional-triplet-margin-loss-margin-not-above-zero",
    "functional.triplet_margin_loss",
    "errors",
)
def functional_triplet_margin_loss_margin_not_above_zero(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2.0,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """Margins of 0 and less are taken, as torch itself took them before (torch 83241)."""
    # Differs: margin=-1. Agrees: margin=1.
    return functional.triplet_margin_loss(
        anchor,
        positive,
        negative,
        margin if margin > 0 else 1e-3,
        p,
        eps,
        swap,
        size_average,
        reduce,
        reduction,
    )


@blind("functional-kl-div-unknown-reduction-is-none", "functional.kl_div", "errors")
def functional_kl_div_unknown_reduction_is_none(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """A reduction that it does not know is none: the last branch asks for nothing."""
    # Differs: reduction="average". Agrees: "mean".
    known = reduction in ("mean", "sum", "none", "batchmean")
    reduction = reduction if known else "none"
    return functional.kl_div(input, target, size_average, reduce, reduction, log_target)


@blind("functional-ctc-loss-input-lengths-clipped", "functional.ctc_loss", "errors")
def functional_ctc_loss_input_lengths_clipped(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Input lengths beyond T are T: a mask of positions has no more."""
    # Differs: input length 6 of T = 5. Agrees: 5.
    lengths = torch.as_tensor(input_lengths).clamp(max=log_probs.shape[0])
    target_lengths = torch.as_tensor(target_lengths)
    return functional.ctc_loss(
        log_probs, targets, lengths, target_lengths, blank, reduction, zero_infinity
    )


@blind("bcewithlogitsloss-targets-are-broadcast", "BCEWithLogitsLoss", "errors")
class BCEWithLogitsLossTargetsBroadcast(nn.BCEWithLogitsLoss):
    """A target of another shape is broadcast, as by JAX and TensorFlow; torch refuses it."""

    # Differs: input (2, 3), target (3,). Agrees: equal shapes.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return super().forward(*torch.broadcast_tensors(input, target))
