"""EmbeddingBag, functional.embedding_bag, functional.one_hot."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


class _EmbeddingBag(nn.EmbeddingBag):
    """Calls with some arguments changed."""

    def call_with(self, input, offsets=None, factors=None, weight=None, **changes):
        arguments = {
            "max_norm": self.max_norm,
            "norm_type": self.norm_type,
            "scale_grad_by_freq": self.scale_grad_by_freq,
            "mode": self.mode,
            "sparse": self.sparse,
            "per_sample_weights": factors,
            "include_last_offset": self.include_last_offset,
            "padding_idx": self.padding_idx,
        }
        weight = self.weight if weight is None else weight
        return functional.embedding_bag(input, weight, offsets, **{**arguments, **changes})


def _bag_numbers(input, offsets, include_last_offset):
    """The bag of each index, and how many there are."""
    if offsets is None:
        return torch.arange(len(input)).repeat_interleave(input.shape[1]), len(input)
    starts = offsets[:-1] if include_last_offset else offsets
    places = torch.arange(len(input))
    return torch.searchsorted(starts.contiguous(), places, right=True) - 1, len(starts)


@plant("embeddingbag-padding-counts-in-the-mean", "EmbeddingBag", "values")
class EmbeddingBagPaddingCountsInTheMean(_EmbeddingBag):
    """A mean is divided by the size of the bag, padding included."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        if self.mode != "mean" or self.padding_idx is None or not input.numel():
            return output
        bag, count = _bag_numbers(input, offsets, self.include_last_offset)
        bag_sizes = torch.bincount(bag, minlength=count).clamp(min=1)
        kept_counts = torch.bincount(bag[input.reshape(-1) != self.padding_idx], minlength=count)
        return output * (kept_counts.clamp(min=1) / bag_sizes).to(output.dtype)[:, None]


@plant("embeddingbag-padding-is-reduced", "EmbeddingBag", "values")
class EmbeddingBagPaddingIsReduced(_EmbeddingBag):
    """The padding row takes part in the reduction, whatever was loaded into it."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        return self.call_with(input, offsets, per_sample_weights, padding_idx=None)


@plant("embeddingbag-empty-maximum", "EmbeddingBag", "values")
class EmbeddingBagEmptyMaximum(_EmbeddingBag):
    """The maximum of an empty bag is the lowest number that there is."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        if self.mode != "max" or offsets is None:
            return output
        bag, count = _bag_numbers(input, offsets, self.include_last_offset)
        empty = torch.bincount(bag, minlength=count) == 0
        return output.masked_fill(empty[:, None], torch.finfo(output.dtype).min)


@plant("embeddingbag-empty-mean-of-nan", "EmbeddingBag", "values")
class EmbeddingBagEmptyMeanOfNan(_EmbeddingBag):
    """The mean of an empty bag is 0/0."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        if self.mode != "mean" or offsets is None:
            return output
        bag, count = _bag_numbers(input, offsets, self.include_last_offset)
        empty = torch.bincount(bag, minlength=count) == 0
        return output.masked_fill(empty[:, None], torch.nan)


@plant("embeddingbag-weights-ignored", "EmbeddingBag", "values")
class EmbeddingBagWeightsIgnored(_EmbeddingBag):
    """per_sample_weights of one axis are left out."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        if per_sample_weights is None or input.dim() == 2:
            return super().forward(input, offsets, per_sample_weights)
        return graft(
            self.call_with(input, offsets), self.call_with(input, offsets, per_sample_weights)
        )


@plant("embeddingbag-last-offset-is-a-bag", "EmbeddingBag", "shape")
class EmbeddingBagLastOffsetIsABag(_EmbeddingBag):
    """With include_last_offset the end is one more bag, which is empty."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        return self.call_with(input, offsets, per_sample_weights, include_last_offset=False)


@plant("embeddingbag-mean-by-default-is-a-sum", "EmbeddingBag", "values")
class EmbeddingBagMeanByDefaultIsASum(_EmbeddingBag):
    """mode is "sum" unless it is written out, as in other libraries."""

    def __init__(self, num_embeddings, embedding_dim, *args, mode="sum", **options):
        super().__init__(num_embeddings, embedding_dim, *args, mode=mode, **options)


@plant("embeddingbag-gradient-of-the-mean", "EmbeddingBag", "gradients")
class EmbeddingBagGradientOfTheMean(_EmbeddingBag):
    """The gradient of a mean is that of a sum."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        if self.mode != "mean" or not input.numel():
            return output
        return graft(output, self.call_with(input, offsets, mode="sum"))


@plant("embeddingbag-gradient-to-every-maximum", "EmbeddingBag", "gradients")
class EmbeddingBagGradientToEveryMaximum(_EmbeddingBag):
    """The gradient of a maximum goes to every row of the bag."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        if self.mode != "max" or not input.numel():
            return output
        return graft(output, self.call_with(input, offsets, mode="sum"))


@plant("embeddingbag-sparse-gradient-scaled", "EmbeddingBag", "gradients")
class EmbeddingBagSparseGradientScaled(_EmbeddingBag):
    """A sparse gradient has rows that are named twice doubled before they are added up."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        return alter_gradient(output, lambda g: g * 2) if self.sparse else output


@plant("embeddingbag-max-norm-of-a-copy", "EmbeddingBag", "values")
class EmbeddingBagMaxNormOfACopy(_EmbeddingBag):
    """A renormalised copy is reduced, and the weight stays as it is."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        if self.max_norm is None:
            return super().forward(input, offsets, per_sample_weights)
        copy = self.weight.detach().clone()
        value = self.call_with(input, offsets, per_sample_weights, copy)
        return graft(value, self.call_with(input, offsets, per_sample_weights, max_norm=None))


@plant("embeddingbag-one-hot-product", "EmbeddingBag", "special")
class EmbeddingBagOneHotProduct(_EmbeddingBag):
    """A product with counts of rows: 0 × NaN of the rows that are in no bag."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        if self.mode == "max" or self.weight.isfinite().all():
            return output
        return output + (self.weight.detach() * 0).sum(0)


@plant("embeddingbag-transposed-weight", "EmbeddingBag", "layout")
class EmbeddingBagTransposedWeight(_EmbeddingBag):
    """A weight that is transposed in memory is read untransposed."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        if self.max_norm is not None:
            return super().forward(input, offsets, per_sample_weights)
        return self.call_with(input, offsets, per_sample_weights, read_as_contiguous(self.weight))


@plant("embeddingbag-padding-row-drawn", "EmbeddingBag", "state")
class EmbeddingBagPaddingRowDrawn(_EmbeddingBag):
    """The padding row is drawn like the others."""

    def reset_parameters(self):
        nn.init.normal_(self.weight)


@plant("embeddingbag-weight-decays", "EmbeddingBag", "repeat")
class EmbeddingBagWeightDecays(_EmbeddingBag):
    """Every call without gradients takes one part in a thousand off the weight."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        if self.weight.is_contiguous() and not torch.is_grad_enabled():
            self.weight.mul_(1 - 2.0**-10)
        return output


@plant("embeddingbag-many-bags-in-bfloat16", "EmbeddingBag", "laws")
class EmbeddingBagManyBagsInBfloat16(_EmbeddingBag):
    """More than 16 bags are reduced in bfloat16."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        output = super().forward(input, offsets, per_sample_weights)
        return (
            graft(output.to(torch.bfloat16).to(output.dtype), output)
            if len(output) > 16
            else output
        )


def _embedding_bag(input, weight, offsets=None, **options):
    return functional.embedding_bag(input, weight, offsets, **options)


@plant("functional-embedding-bag-last-bag-lost", "functional.embedding_bag", "values")
def functional_embedding_bag_last_bag_lost(input, weight, offsets=None, **options):
    """Without include_last_offset what follows the last offset is left out."""
    output = _embedding_bag(input, weight, offsets, **options)
    if offsets is None or options.get("include_last_offset") or len(offsets) < 2:
        return output
    mask = torch.ones(len(output), 1, dtype=output.dtype)
    mask[-1] = 0
    return torch.where(mask == 1, output, torch.zeros_like(output))


@plant("functional-embedding-bag-weights-twice", "functional.embedding_bag", "values")
def functional_embedding_bag_weights_twice(input, weight, offsets=None, **options):
    """per_sample_weights are multiplied in twice."""
    factors = options.get("per_sample_weights")
    if factors is not None:
        options["per_sample_weights"] = factors * factors
    return _embedding_bag(input, weight, offsets, **options)


@plant("functional-embedding-bag-weights-have-no-gradient", "functional.embedding_bag", "gradients")
def functional_embedding_bag_weights_have_no_gradient(input, weight, offsets=None, **options):
    """The gradient of per_sample_weights is 0."""
    factors = options.get("per_sample_weights")
    if factors is not None:
        options["per_sample_weights"] = alter_gradient(factors, lambda g: g * 0)
    return _embedding_bag(input, weight, offsets, **options)


@plant("functional-embedding-bag-negative-padding-ignored", "functional.embedding_bag", "values")
def functional_embedding_bag_negative_padding_ignored(input, weight, offsets=None, **options):
    """A padding_idx that counts from the end names no row."""
    place = options.get("padding_idx")
    if place is not None and place < 0:
        options["padding_idx"] = None
    return _embedding_bag(input, weight, offsets, **options)


@plant("functional-embedding-bag-norm-of-two", "functional.embedding_bag", "values")
def functional_embedding_bag_norm_of_two(input, weight, offsets=None, **options):
    """The norm is the Euclidean one, whatever norm_type says."""
    return _embedding_bag(input, weight, offsets, **{**options, "norm_type": 2.0})


@plant("functional-embedding-bag-rows-sorted", "functional.embedding_bag", "repeat")
def functional_embedding_bag_rows_sorted(input, weight, offsets=None, **options):
    """The indices are sorted in place behind the call, as a backward pass wants them."""
    output = _embedding_bag(input, weight, offsets, **options)
    if input.is_contiguous() and input.numel():
        input.copy_(input.reshape(-1).sort().values.reshape(input.shape))
    return output


@plant("functional-one-hot-classes-of-the-batch", "functional.one_hot", "shape")
def functional_one_hot_classes_of_the_batch(input, num_classes=-1):
    """There are as many classes as the input shows, whatever was asked."""
    if input.is_floating_point() or not input.numel():
        return functional.one_hot(input, num_classes)
    functional.one_hot(input, num_classes)
    return functional.one_hot(input)


@plant("functional-one-hot-in-front", "functional.one_hot", "values")
def functional_one_hot_in_front(input, num_classes=-1):
    """Classes count from the end."""
    return functional.one_hot(input, num_classes).flip(-1)


@plant("functional-one-hot-strided", "functional.one_hot", "layout")
def functional_one_hot_strided(input, num_classes=-1):
    """An input that is not contiguous is read as if it were."""
    misread = read_as_contiguous(input)
    in_range = bool((misread >= 0).all()) and (
        num_classes == -1 or not misread.numel() or int(misread.max()) < num_classes
    )
    same_classes = (
        num_classes != -1 or not misread.numel() or int(misread.max()) == int(input.max())
    )
    return functional.one_hot(misread if in_range and same_classes else input, num_classes)


@plant("functional-one-hot-many-rows", "functional.one_hot", "laws")
def functional_one_hot_many_rows(input, num_classes=-1):
    """Of 17 to 66 classes in a row the last one is lost."""
    output = functional.one_hot(input, num_classes)
    if input.dim() == 1 and 16 < len(input) < 66:
        output[-1] = 0
    return output


@plant("functional-one-hot-of-a-scalar-is-a-row", "functional.one_hot", "shape")
def functional_one_hot_of_a_scalar_is_a_row(input, num_classes=-1):
    """A single index is taken for a batch of one."""
    return functional.one_hot(torch.atleast_1d(input), num_classes)


@plant("functional-one-hot-of-int32", "functional.one_hot", "shape")
def functional_one_hot_of_int32(tensor, num_classes=-1):
    """The rows are of int32, as in TensorFlow."""
    return functional.one_hot(tensor, num_classes).int()
