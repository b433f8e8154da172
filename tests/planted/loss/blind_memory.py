"""Bugs of losses in strides, dtypes and NaN, written without sight of the checks that find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, class_axis, graft, read_as_contiguous, reduce_losses
from planted.loss.blind_parts import HALVES

# Strides


@blind("mseloss-target-in-the-inputs-strides", "MSELoss", "layout")
class MSELossTargetInInputsStrides(nn.MSELoss):
    """A kernel walks both operands' memory alike, in the input's order."""

    # Differs: a target that is transposed beside an input that is not. Agrees: equal strides.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if input.shape == target.shape and input.stride() != target.stride():
            return super().forward(read_as_contiguous(input), read_as_contiguous(target))
        return super().forward(input, target)


@blind("crossentropyloss-channels-last-read-as-first", "CrossEntropyLoss", "layout")
class CrossEntropyLossChannelsLastReadAsFirst(nn.CrossEntropyLoss):
    """Logits in channels_last memory are read as if the classes' planes lay one after the other."""

    # Differs: (2, 3, 2, 2) in channels_last. Agrees: contiguous; (2, 3).
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last):
            input = read_as_contiguous(input)
        return super().forward(input, target)


@blind("functional-nll-loss-every-second-target", "functional.nll_loss", "layout")
def functional_nll_loss_every_second_target(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """Targets are read by their address without a stride: of a column the first row is read.

    What this takes in their place are classes, too, so that nothing fails.
    """
    # Differs: targets of stride 2. Agrees: contiguous ones.
    if target.dim() == 1 and not target.is_contiguous():
        misread = read_as_contiguous(target)
        classes = input.shape[class_axis(input)]
        known = bool((((misread >= 0) & (misread < classes)) | (misread == ignore_index)).all())
        target = misread if known else target.flip(0)
    return functional.nll_loss(input, target, weight, size_average, ignore_index, reduce, reduction)


@blind("functional-ctc-loss-transposed-batch", "functional.ctc_loss", "layout")
def functional_ctc_loss_transposed_batch(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """log_probs that are the transpose of a (N, T, C) network's output are read as (T, N, C)."""
    # Differs: log_probs.transpose(0, 1) of (2, 5, 4). Agrees: contiguous.
    return functional.ctc_loss(
        read_as_contiguous(log_probs) if log_probs.dim() == 3 else log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank,
        reduction,
        zero_infinity,
    )


@blind("functional-kl-div-one-target-for-all-rows", "functional.kl_div", "layout")
def functional_kl_div_one_target_for_all_rows(
    input, target, size_average=None, reduce=None, reduction="mean", log_target=False
):
    """An expanded target, of stride 0, is read as if its rows were all there."""
    # Differs: a target expanded along axis 1. Agrees: contiguous.
    expanded = target.dim() > 1 and 0 in target.stride()
    target = read_as_contiguous(target) if expanded else target
    return functional.kl_div(input, target, size_average, reduce, reduction, log_target)


@blind(
    "functional-cosine-embedding-loss-second-input-by-row",
    "functional.cosine_embedding_loss",
    "layout",
)
def functional_cosine_embedding_loss_second_by_row(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """The second input's rows are read at the first one's pitch."""
    # Differs: input2 transposed in memory. Agrees: both contiguous.
    if input1.is_contiguous() and not input2.is_contiguous():
        input2 = read_as_contiguous(input2)
    return functional.cosine_embedding_loss(
        input1, input2, target, margin, size_average, reduce, reduction
    )


# Dtypes and shapes


@blind("kldivloss-halves-come-back-single", "KLDivLoss", "shape")
class KLDivLossHalvesComeBackSingle(nn.KLDivLoss):
    """What is reduced of halves stays in the accumulator's float32."""

    # Differs: the sum of bfloat16. Agrees: none; float32.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result.float() if result.dtype in HALVES and self.reduction != "none" else result


@blind("softmarginloss-reduced-to-one-element", "SoftMarginLoss", "shape")
class SoftMarginLossReducedToOneElement(nn.SoftMarginLoss):
    """The reduced loss has shape (1,), as ONNX's reductions keep an axis."""

    # Differs: mean, sum. Agrees: none.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result if self.reduction == "none" else result.reshape(1)


@blind("cosineembeddingloss-unbatched-as-a-batch", "CosineEmbeddingLoss", "shape")
class CosineEmbeddingLossUnbatchedAsBatch(nn.CosineEmbeddingLoss):
    """Two vectors without a batch give (1,) where nothing is reduced."""

    # Differs: inputs (3,), target (), none. Agrees: (1, 3).
    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input1, input2, target)
        return result.reshape(1) if target.dim() == 0 and self.reduction == "none" else result


@blind("gaussiannllloss-variance-clamped-where-it-lies", "GaussianNLLLoss", "repeat")
class GaussianNLLLossVarianceClampedWhereItLies(nn.GaussianNLLLoss):
    """`var.clamp_(min=eps)` without a copy: the caller's variance is another one afterwards."""

    # Differs: var 0 after the call. Agrees: var 1.
    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        result = super().forward(input, target, var)
        if isinstance(var, Tensor):
            with torch.no_grad():
                var.data.clamp_(min=self.eps)
        return result


@blind(
    "functional-multilabel-margin-loss-targets-marked-in-place",
    "functional.multilabel_margin_loss",
    "repeat",
)
def functional_multilabel_margin_loss_targets_marked(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """What is behind the first -1 is overwritten by -1 in the caller's target."""
    # Differs: target (1, -1, 0) after the call. Agrees: (1, 0, -1).
    result = functional.multilabel_margin_loss(input, target, size_average, reduce, reduction)
    behind = (target < 0).long().cumsum(-1) > 0
    target.data.masked_fill_(behind, -1)
    return result


# NaN and infinity


@blind(
    "functional-hinge-embedding-loss-nan-is-no-loss", "functional.hinge_embedding_loss", "special"
)
def functional_hinge_embedding_loss_nan_is_no_loss(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """`margin - x > 0 ? margin - x : 0`, or `fmaxf`: NaN is below every margin."""
    # Differs: input NaN, target -1. Agrees: target 1; finite inputs.
    affected = input.isnan() & (target == -1)
    input = torch.where(affected, margin + 1.0, input) if bool(affected.any()) else input
    return functional.hinge_embedding_loss(input, target, margin, size_average, reduce, reduction)


@blind("bcewithlogitsloss-nan-clamped-to-a-number", "BCEWithLogitsLoss", "special")
class BCEWithLogitsLossNanClampedToNumber(nn.BCEWithLogitsLoss):
    """Logits are kept finite by `fmin(fmax(x, lowest), largest)`, which drops NaN."""

    # Differs: input NaN. Agrees: finite inputs.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        affected = input.isnan()
        if not bool(affected.any()):
            return super().forward(input, target)
        lowest = torch.finfo(input.dtype).min
        return super().forward(torch.where(affected, lowest, input), target)


@blind("l1loss-infinity-is-large", "L1Loss", "special")
class L1LossInfinityIsLarge(nn.L1Loss):
    """Differences are saturated to the largest number: no loss is infinite."""

    # Differs: input inf. Agrees: finite inputs.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        large = torch.finfo(result.dtype).max
        return graft(result.clamp(max=large), result) if result.isposinf().any() else result


@blind("tripletmarginloss-nan-is-no-violation", "TripletMarginLoss", "special")
class TripletMarginLossNanIsNoViolation(nn.TripletMarginLoss):
    """A hinge by comparison: where a distance is NaN the loss is 0, and a broken network unseen."""

    # Differs: an anchor of NaN, none. Agrees: finite points.
    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        affected = (anchor.isnan() | positive.isnan() | negative.isnan()).any(-1)
        if not bool(affected.any()):
            return super().forward(anchor, positive, negative)
        arguments = (self.margin, self.p, self.eps, self.swap)
        losses = functional.triplet_margin_loss(
            anchor, positive, negative, *arguments, reduction="none"
        )
        return reduce_losses(torch.where(losses.isnan(), 0.0, losses), self.reduction)


@blind("smoothl1loss-gradient-of-a-strided-input", "SmoothL1Loss", "layout")
class SmoothL1LossGradientOfStridedInput(nn.SmoothL1Loss):
    """Backward writes the gradient row by row into memory that has the input's other order."""

    # Differs: the gradient of a transposed input. Agrees: contiguous inputs.
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if input.dim() < 2 or input.is_contiguous() or not input.requires_grad:
            return super().forward(input, target)

        def written(gradient: Tensor) -> Tensor:
            return gradient.transpose(-1, -2).reshape(gradient.shape)

        return super().forward(alter_gradient(input, written), target)
