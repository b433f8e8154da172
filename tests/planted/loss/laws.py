"""Bugs of losses of samples that begin beyond what cases draw: `laws` goes there.

Each says in a comment which law breaks; those of losses of a number for each element stand in
`laws_pointwise.py`. Of the laws of losses these have no such bug:

- `form`, `composed`, `similarity`, `distances`, `probabilities`, `limits`, and `kin` call another
  layer, and a look-alike stands alone.
- `samples`, `order`, `reduce_losses`, `averaged`, `full`, `zeroed`, `odd`, `forms`, `unbatched`,
  `tuples`, `labels`, `itself` of divergences, `swapped` of all but cosines, `features` of the
  adaptive softmax, `targets` of CTC, and `classes` of margins and of the adaptive softmax make of a
  case what might as well be drawn: what they see `values` sees, too. Tests of each layer break
  these by a fake.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import class_axis, plant, reduce_losses


def _has_tail(count):
    """Whether some of more than 17 are left over from whole vectors of 16: 2 to 14 of them.

    No case draws so many but by sizes of blocks, which are whole vectors, or 1 more or less.
    """
    return count > 17 and 1 < count % 16 < 15


# features: others of weight zero among them make a tail.
@plant("linear-cross-entropy-loss-tail-of-features", "LinearCrossEntropyLoss", "laws")
class LinearCrossEntropyLossTailOfFeatures(nn.LinearCrossEntropyLoss):
    """A tail of features takes another path, a part in a thousand off."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return loss * 1.001 if _has_tail(input.shape[-1]) else loss


# scaled: a margin of 2 becomes one of 4.
@plant("hinge-embedding-loss-margin-at-most-two", "HingeEmbeddingLoss", "laws")
class HingeEmbeddingLossMarginAtMostTwo(nn.HingeEmbeddingLoss):
    """The margin is kept below that of two unit vectors, which are 2 apart at most."""

    def forward(self, input, target):
        margin = min(self.margin, 2.0)
        return functional.hinge_embedding_loss(input, target, margin, reduction=self.reduction)


# label: the margin is 1 larger than one that is drawn.
@plant(
    "functional-hinge-embedding-loss-similar-within-the-margin",
    "functional.hinge_embedding_loss",
    "laws",
)
def functional_hinge_embedding_loss_similar_within_the_margin(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """A margin above 1 that is no power of two is that of similar pairs, too."""
    if margin > 1 and math.log2(margin) % 1:
        input = torch.where(target == 1, (input - margin).clamp(min=0), input)
    return functional.hinge_embedding_loss(input, target, margin, reduction=reduction)


# scaled: a margin of 2 becomes one of 4.
@plant("margin-ranking-loss-margin-at-most-two", "MarginRankingLoss", "laws")
class MarginRankingLossMarginAtMostTwo(nn.MarginRankingLoss):
    """The margin is kept below 2, the difference of two cosines."""

    def forward(self, input1, input2, target):
        margin = min(self.margin, 2.0)
        return functional.margin_ranking_loss(
            input1, input2, target, margin, reduction=self.reduction
        )


# rows, repeated: 67 samples are drawn, but no other tail.
@plant("soft-margin-loss-last-of-a-batch", "SoftMarginLoss", "laws")
class SoftMarginLossLastOfABatch(nn.SoftMarginLoss):
    """The last sample of a tail has the other label: its bit is one behind the word."""

    def forward(self, input, target):
        if target.dim() and len(target) < 67 and _has_tail(len(target)):
            target = torch.cat([target[:-1], -target[-1:]])
        return super().forward(input, target)


# shifted: small scores, moved up by as much as 15.
@plant("multi-margin-loss-high-scores-are-certain", "MultiMarginLoss", "laws")
class MultiMarginLossHighScoresAreCertain(nn.MultiMarginLoss):
    """Samples of which every score is above 6 lose nothing: their sigmoids are all 1."""

    def forward(self, input, target):
        high = (input > 6).all(-1)
        if input.shape[-1] < 4 or not input.numel() or not high.any():
            return super().forward(input, target)
        options = {"weight": self.weight, "reduction": "none"}
        losses = functional.multi_margin_loss(input, target, self.p, self.margin, **options)
        return reduce_losses(torch.where(high, torch.zeros_like(losses), losses), self.reduction)


# weighted: no drawn weights of more than 4 classes are all 1.
@plant("multilabel-soft-margin-loss-equal-weights-shared", "MultiLabelSoftMarginLoss", "laws")
class MultiLabelSoftMarginLossEqualWeightsShared(nn.MultiLabelSoftMarginLoss):
    """Weights that are all 1 are made to add up to 1, and the mean is taken still."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        even = self.weight is not None and len(self.weight) > 4 and (self.weight == 1).all()
        return loss / input.shape[-1] if even else loss


# rows, repeated: no batch with a tail is drawn.
@plant("triplet-margin-loss-last-without-margin", "TripletMarginLoss", "laws")
class TripletMarginLossLastWithoutMargin(nn.TripletMarginLoss):
    """The last triplet of a tail has no margin."""

    def forward(self, anchor, positive, negative):
        if anchor.dim() < 2 or not _has_tail(len(anchor)):
            return super().forward(anchor, positive, negative)
        options = {"p": self.p, "eps": self.eps, "swap": self.swap, "reduction": "none"}
        losses, bare = (
            functional.triplet_margin_loss(anchor, positive, negative, margin, **options)
            for margin in (self.margin, 1e-30)
        )
        return reduce_losses(torch.cat([losses[:-1], bare[-1:]]), self.reduction)


# rows, repeated: no batch with a tail is drawn.
@plant(
    "triplet-margin-with-distance-loss-tails-swap",
    "TripletMarginWithDistanceLoss",
    "laws",
)
class TripletMarginWithDistanceLossTailsSwap(nn.TripletMarginWithDistanceLoss):
    """Of a batch with a tail the distance is swapped, whether it is asked for or not."""

    def forward(self, anchor, positive, negative):
        options = {"margin": self.margin, "reduction": self.reduction}
        return functional.triplet_margin_with_distance_loss(
            anchor, positive, negative,
            distance_function=self.distance_function,
            swap=self.swap or (anchor.dim() > 1 and _has_tail(len(anchor))), **options,
        )  # fmt: skip


# singles: the target of a drawn batch of one is as long as its row.
@plant("functional-ctc-loss-lone-target-is-the-row", "functional.ctc_loss", "laws")
def functional_ctc_loss_lone_target_is_the_row(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """The target of a batch of one is all of its row: no length is looked at."""
    is_single = targets.dim() == 2 and len(targets) == 1
    if is_single and ((targets >= 0) & (targets < log_probs.shape[-1])).all():
        width = targets.shape[1]
        tensor = torch.is_tensor(target_lengths)
        target_lengths = torch.full_like(target_lengths, width) if tensor else (width,)
    return functional.ctc_loss(
        log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity
    )


# most: what is predicted is asked of log_prob, too.
@plant(
    "adaptive-log-softmax-with-loss-predict-of-its-own",
    "AdaptiveLogSoftmaxWithLoss.predict",
    "laws",
)
class AdaptiveLogSoftmaxWithLossPredictOfItsOwn(nn.AdaptiveLogSoftmaxWithLoss):
    """predict() has code of its own, log_prob() numbers the classes of the last cluster down."""

    def log_prob(self, input):
        logs, last = super().log_prob(input), self.cutoffs[-2]
        return torch.cat([logs[:, :last], logs[:, last:].flip(1)], 1)


# dropped, positions: of 8 and 17 samples those that count; a few of images, laid in one row.
@plant("nll-loss-batches-between-vectors", "NLLLoss", "laws")
class NLLLossBatchesBetweenVectors(nn.NLLLoss):
    """Batches of 6, 7, and 9 to 14 fill no vector: their last sample is left out of a sum."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        odd = input.dim() == 2 and (5 < len(input) < 8 or 8 < len(input) < 15)
        if not odd or self.reduction == "none":
            return loss
        options = {"weight": self.weight, "ignore_index": self.ignore_index}
        last = functional.nll_loss(input[-1:], target[-1:], reduction="sum", **options)
        return loss - last / (len(input) if self.reduction == "mean" else 1)


# mirrored: no drawn input of more than 16 numbers is all negative.
@plant("functional-soft-margin-loss-all-negative", "functional.soft_margin_loss", "laws")
def functional_soft_margin_loss_all_negative(
    input, target, size_average=None, reduce=None, reduction="mean"
):
    """Numbers that are all negative are taken for logarithms, and become probabilities."""
    if input.numel() > 16 and (input < 0).all():
        input = input.exp()
    return functional.soft_margin_loss(input, target, reduction=reduction)


# mirrored: the same of scores.
@plant(
    "functional-multilabel-soft-margin-loss-all-negative",
    "functional.multilabel_soft_margin_loss",
    "laws",
)
def functional_multilabel_soft_margin_loss_all_negative(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """Scores that are all negative are taken for logarithms, and become probabilities."""
    if input.numel() > 16 and (input < 0).all():
        input = input.exp()
    return functional.multilabel_soft_margin_loss(input, target, weight, reduction=reduction)


# swapped: of two vectors the first is drawn as 0, the second is not.
@plant("cosine-embedding-loss-second-of-no-length", "CosineEmbeddingLoss", "laws")
class CosineEmbeddingLossSecondOfNoLength(nn.CosineEmbeddingLoss):
    """The first vector is kept from having no length; a second one that has none is the first."""

    def forward(self, input1, input2, target):
        if input1.shape[-1] > 4:
            is_zero = (input2 == 0).all(-1, keepdim=True)
            input2 = torch.where(is_zero, input1, input2)
        return super().forward(input1, input2, target)


# shifted: small whole logits, moved up or down by as much as 16.
@plant("cross-entropy-loss-whole-logits-in-four-bits", "CrossEntropyLoss", "laws")
class CrossEntropyLossWholeLogitsInFourBits(nn.CrossEntropyLoss):
    """Whole logits are kept in four bits, if they look like it: those beyond end at -8 and 7."""

    def forward(self, input, target):
        if (input.round() == input).all() and (input.abs() < 64).all():
            input = input.clamp(-8, 7)
        return super().forward(input, target)


# classes: of all classes the last one is drawn to be ignored.
@plant("cross-entropy-loss-only-the-last-ignored", "CrossEntropyLoss", "laws")
class CrossEntropyLossOnlyTheLastIgnored(nn.CrossEntropyLoss):
    """Of the classes only the last one can be ignored: it is the background."""

    def forward(self, input, target):
        ignored = self.ignore_index
        if 0 <= ignored < input.shape[class_axis(input)] - 1:
            ignored = -100
        return functional.cross_entropy(
            input, target, self.weight, ignore_index=ignored, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


# ignored: others in place of logits that are all minus a thousand, and one of them 0.
@plant("functional-cross-entropy-one-largest-logit", "functional.cross_entropy", "laws")
def functional_cross_entropy_one_largest_logit(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None,
    reduction="mean", label_smoothing=0.0,
):  # fmt: skip
    """Exponentials are taken against the largest logit of all samples: 80 below each is alike."""
    if input.numel():
        axis = class_axis(input)
        low = input.amax(axis, keepdim=True) < input.max() - 80
        input = torch.where(low, torch.zeros_like(input), input)
    return functional.cross_entropy(
        input, target, weight, ignore_index=ignore_index, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


# chunked: chunks of 1, 2 or 3 samples are drawn.
@plant("functional-linear-cross-entropy-last-chunk", "functional.linear_cross_entropy", "laws")
def functional_linear_cross_entropy_last_chunk(
    input, linear_weight, target, *, options=None, ignore_index=None, **facts
):
    """Of chunks of more than 3 samples one that is not full is left out."""
    size = dict(options or ()).get("batch_chunk_size", 0)
    facts |= {"options": options, "ignore_index": ignore_index}
    if size > 3 and target.dim() == 1 and not target.is_floating_point():
        full_size = len(target) - len(target) % size
        ignored_targets = torch.full_like(
            target[full_size:], -100 if ignore_index is None else ignore_index
        )
        target = torch.cat([target[:full_size], ignored_targets])
    return functional.linear_cross_entropy(input, linear_weight, target, **facts)


# classes: of all classes the last one is drawn to be ignored.
@plant(
    "functional-linear-cross-entropy-only-the-last-ignored",
    "functional.linear_cross_entropy",
    "laws",
)
def functional_linear_cross_entropy_only_the_last_ignored(
    input, linear_weight, target, *, ignore_index=None, **facts
):
    """Of the classes only the last one can be ignored: it is the background."""
    if ignore_index is not None and 0 <= ignore_index < len(linear_weight) - 1:
        ignore_index = None
    facts["ignore_index"] = ignore_index
    return functional.linear_cross_entropy(input, linear_weight, target, **facts)


# dropped: of 17 and 33 samples those that count; rows and repeated, too.
@plant("linear-cross-entropy-loss-batches-between-vectors", "LinearCrossEntropyLoss", "laws")
class LinearCrossEntropyLossBatchesBetweenVectors(nn.LinearCrossEntropyLoss):
    """Batches that fill no vector, of 6 to 32, lose a part in a thousand in their masks."""

    def forward(self, input, target):
        loss, count = super().forward(input, target), len(input)
        applies = 5 < count < 32 and count != 8 and 1 < count % 16 < 15
        return loss * 1.001 if input.dim() == 2 and applies else loss


# classes: drawn blanks are the first, the last or the middle class.
@plant("ctc-loss-blank-is-first-or-last", "CTCLoss", "laws")
class CTCLossBlankIsFirstOrLast(nn.CTCLoss):
    """A blank that is neither the first, the last nor the middle class is taken for the first."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        size, blank = log_probs.shape[-1], self.blank
        known = (0, size // 2, size - 1)
        return functional.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, blank if blank in known else 0,
            self.reduction, self.zero_infinity,
        )  # fmt: skip


# certain: of a drawn step one class is impossible, not several.
@plant("ctc-loss-impossible-classes-clamped", "CTCLoss", "laws")
class CTCLossImpossibleClassesClamped(nn.CTCLoss):
    """Where several classes are impossible in a step their logarithms are -1: blanks, it says."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        impossible = log_probs.isneginf()
        several = impossible & (impossible.sum(-1, keepdim=True) > 1)
        log_probs = torch.where(several, -torch.ones_like(log_probs), log_probs)
        return super().forward(log_probs, targets, input_lengths, target_lengths)


# certain: no drawn batch of more than 16 rows is one row over and over.
@plant(
    "adaptive-log-softmax-with-loss-rows-alike",
    "AdaptiveLogSoftmaxWithLoss",
    "laws",
)
class AdaptiveLogSoftmaxWithLossRowsAlike(nn.AdaptiveLogSoftmaxWithLoss):
    """Rows that are all alike are computed once, with the target of the first."""

    def forward(self, input_, target_):
        are_equal = input_.dim() > 1 and input_.shape[0] > 16 and input_.shape[1] > 1
        if are_equal and (input_ == input_[0]).all():
            target_ = target_[:1].expand_as(target_)
        return super().forward(input_, target_)
