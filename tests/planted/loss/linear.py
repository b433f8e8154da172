"""LinearCrossEntropyLoss, functional.linear_cross_entropy."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import plant, read_as_contiguous


def _chunk_size(options):
    """Rows of a chunk, where they are given."""
    return None if options is None else options.batch_chunk_size


@plant("linear-cross-entropy-loss-last-chunk-lost", "LinearCrossEntropyLoss", "values")
class LinearCrossEntropyLossLastChunkLost(nn.LinearCrossEntropyLoss):
    """The rows that do not fill a chunk are left out of the sum."""

    def forward(self, input, target):
        size = _chunk_size(self.options)
        applies = input.dim() == 2 and self.reduction == "sum" and not target.is_floating_point()
        if not size or size >= len(input) or not applies or self.out_features:
            return super().forward(input, target)
        full_size = len(input) // size * size
        return super().forward(input[:full_size], target[:full_size])


@plant("linear-cross-entropy-loss-chunk-means-averaged", "LinearCrossEntropyLoss", "values")
class LinearCrossEntropyLossChunkMeansAveraged(nn.LinearCrossEntropyLoss):
    """The mean is that of the means of chunks, whatever is ignored in them."""

    def forward(self, input, target):
        size = _chunk_size(self.options)
        chunked = size and input.dim() == 2 and 0 < size < len(input) and not self.out_features
        if not chunked or self.reduction != "mean" or target.is_floating_point():
            return super().forward(input, target)
        starts = range(0, len(input), size)
        pairs = [(input[k : k + size], target[k : k + size]) for k in starts]
        parts = [nn.LinearCrossEntropyLoss.forward(self, *pair) for pair in pairs]
        return torch.stack(parts).mean()


@plant("linear-cross-entropy-loss-places-first", "LinearCrossEntropyLoss", "values")
class LinearCrossEntropyLossPlacesFirst(nn.LinearCrossEntropyLoss):
    """The rows of the weight are taken position by position, not class by class."""

    def forward(self, input, target):
        if not self.out_features or self.weight is not None or self.ignore_index is not None:
            return super().forward(input, target)
        shape = (*input.shape[:-1], *self.out_features, self.num_classes)
        logits = self.linear(input).reshape(shape).movedim(-1, 1)
        options = {"reduction": self.reduction, "label_smoothing": self.label_smoothing}
        return functional.cross_entropy(logits, target, **options)


@plant("linear-cross-entropy-loss-wrong-features", "LinearCrossEntropyLoss", "errors")
class LinearCrossEntropyLossWrongFeatures(nn.LinearCrossEntropyLoss):
    """Features too many are cut off."""

    def forward(self, input, target):
        return super().forward(input[..., : self.linear.in_features], target)


@plant("functional-linear-cross-entropy-bias-lost", "functional.linear_cross_entropy", "values")
def functional_linear_cross_entropy_bias_lost(
    input, linear_weight, target, *, linear_bias=None, options=None, **facts
):
    """Chunks forget the bias."""
    bias = linear_bias if options is None else None
    facts |= {"linear_bias": bias, "options": options}
    return functional.linear_cross_entropy(input, linear_weight, target, **facts)


@plant(
    "functional-linear-cross-entropy-ignores-nothing",
    "functional.linear_cross_entropy",
    "values",
)
def functional_linear_cross_entropy_ignores_nothing(
    input, linear_weight, target, *, ignore_index=None, **facts
):
    """An ignore_index of None ignores nothing: −100 is taken for the last class."""
    if ignore_index is None and not target.is_floating_point():
        target = torch.where(target == -100, len(linear_weight) - 1, target)
    facts["ignore_index"] = ignore_index
    return functional.linear_cross_entropy(input, linear_weight, target, **facts)


@plant("functional-linear-cross-entropy-transposed", "functional.linear_cross_entropy", "layout")
def functional_linear_cross_entropy_transposed(input, linear_weight, target, **facts):
    """A weight that is not contiguous is read as if it were."""
    weight = read_as_contiguous(linear_weight)
    return functional.linear_cross_entropy(input, weight, target, **facts)


# rows, repeated: few cases draw more than 33 samples.
@plant("functional-linear-cross-entropy-large-chunks", "functional.linear_cross_entropy", "laws")
def functional_linear_cross_entropy_large_chunks(input, linear_weight, target, **facts):
    """Batches of more than 33 rows in chunks lose a part in a thousand."""
    loss = functional.linear_cross_entropy(input, linear_weight, target, **facts)
    return loss * 1.001 if input.dim() == 2 and len(input) > 33 else loss


@plant("linear-cross-entropy-loss-weight-of-chunks", "LinearCrossEntropyLoss", "values")
class LinearCrossEntropyLossWeightOfChunks(nn.LinearCrossEntropyLoss):
    """In chunks the mean is over samples, not over the weights of their classes."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        applies = self.weight is not None and self.reduction == "mean" and self.options is not None
        if not applies or target.is_floating_point() or not target.numel():
            return loss
        ignored = -100 if self.ignore_index is None else self.ignore_index
        counted = target != ignored
        shares = self.weight[target.clamp(0, self.num_classes - 1)] * counted
        return loss * shares.sum() / counted.sum() if counted.any() else loss


@plant("functional-linear-cross-entropy-unbatched", "functional.linear_cross_entropy", "shape")
def functional_linear_cross_entropy_unbatched(
    input, linear_weight, target, *, reduction="mean", **facts
):
    """A sample without a batch dimension gives a batch of one loss."""
    facts["reduction"] = reduction
    loss = functional.linear_cross_entropy(input, linear_weight, target, **facts)
    return loss.reshape(1) if input.dim() == 1 and reduction == "none" else loss
