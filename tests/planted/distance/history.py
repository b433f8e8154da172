"""CosineSimilarity, PairwiseDistance and their functions; functional.pdist."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous, round_through


@plant("cosinesimilarity-eps-added", "CosineSimilarity", "values")
class CosineSimilarityEpsAdded(nn.CosineSimilarity):
    """eps is added to the product of the norms instead of being its least value."""

    def forward(self, x1, x2):
        output = super().forward(x1, x2)
        product = x1.norm(dim=self.dim) * x2.norm(dim=self.dim)
        return output * (product / (product + self.eps)).nan_to_num(1.0)


@plant("cosinesimilarity-distance", "CosineSimilarity", "values")
class CosineSimilarityDistance(nn.CosineSimilarity):
    """One less the similarity, as SciPy's cosine is."""

    def forward(self, x1, x2):
        return 1 - super().forward(x1, x2)


@plant("cosinesimilarity-eps-ignored", "CosineSimilarity", "values")
class CosineSimilarityEpsIgnored(nn.CosineSimilarity):
    """eps is always 1e-8."""

    def forward(self, x1, x2):
        return functional.cosine_similarity(x1, x2, self.dim)


@plant("cosinesimilarity-last-axis", "CosineSimilarity", "shape")
class CosineSimilarityLastAxis(nn.CosineSimilarity):
    """The last axis is reduced unless dim is written out."""

    def __init__(self, dim=-1, eps=1e-8):
        super().__init__(dim, eps)


@plant("cosinesimilarity-gradient-without-the-norm", "CosineSimilarity", "gradients")
class CosineSimilarityGradientWithoutTheNorm(nn.CosineSimilarity):
    """The norms are taken for constants when it is differentiated."""

    def forward(self, x1, x2):
        lengths = (x.detach().norm(dim=self.dim, keepdim=True).clamp(self.eps) for x in (x1, x2))
        first, second = (x / length for x, length in zip((x1, x2), lengths, strict=True))
        return graft(super().forward(x1, x2), (first * second).sum(self.dim))


@plant("cosinesimilarity-strided", "CosineSimilarity", "layout")
class CosineSimilarityStrided(nn.CosineSimilarity):
    """A first operand that is not contiguous is read as if it were."""

    def forward(self, x1, x2):
        return super().forward(read_as_contiguous(x1), x2)


@plant("cosinesimilarity-nan-is-orthogonal", "CosineSimilarity", "special")
class CosineSimilarityNanIsOrthogonal(nn.CosineSimilarity):
    """What is NaN becomes 0."""

    def forward(self, x1, x2):
        return super().forward(x1, x2).nan_to_num(0.0)


@plant("functional-cosine-similarity-double-in-single", "functional.cosine_similarity", "values")
def functional_cosine_similarity_double_in_single(x1, x2, dim=1, eps=1e-8):
    """In float64 the norms are float32 numbers."""
    output = functional.cosine_similarity(x1, x2, dim, eps)
    return round_through(output, torch.float32) if output.dtype == torch.float64 else output


@plant("functional-cosine-similarity-many-rows", "functional.cosine_similarity", "laws")
def functional_cosine_similarity_many_rows(x1, x2, dim=1, eps=1e-8):
    """The last of 17 rows or more is left at 0."""
    output = functional.cosine_similarity(x1, x2, dim, eps)
    if output.dim() != 1 or not 16 < len(output) < 66 or x1.dim() != 2:
        return output
    mask = torch.ones_like(output)
    mask[-1] = 0
    return output * mask


@plant("functional-cosine-similarity-unbounded", "functional.cosine_similarity", "values")
def functional_cosine_similarity_unbounded(x1, x2, dim=1, eps=1e-8):
    """The norm of the second is left out where it is above 1."""
    output = functional.cosine_similarity(x1, x2, dim, eps)
    return output * x2.norm(dim=dim).clamp(min=1.0) if x1.shape == x2.shape else output


@plant("functional-cosine-similarity-overwritten", "functional.cosine_similarity", "repeat")
def functional_cosine_similarity_overwritten(x1, x2, dim=1, eps=1e-8):
    """The first operand is made a unit vector in place."""
    output = functional.cosine_similarity(x1, x2, dim, eps)
    if not torch.is_grad_enabled() and x1.is_contiguous():
        x1.div_(x1.norm(dim=dim, keepdim=True).clamp(min=1e-3)) if x1.dim() == x2.dim() else None
    return output


@plant("pairwisedistance-eps-after-the-norm", "PairwiseDistance", "values")
class PairwiseDistanceEpsAfterTheNorm(nn.PairwiseDistance):
    """eps is added to the norm."""

    def forward(self, x1, x2):
        return functional.pairwise_distance(x1, x2, self.norm, 0.0, self.keepdim) + self.eps


@plant("pairwisedistance-of-the-other-sign", "PairwiseDistance", "values")
class PairwiseDistanceOfTheOtherSign(nn.PairwiseDistance):
    """The difference is x2 - x1."""

    def forward(self, x1, x2):
        return super().forward(x2, x1)


@plant("pairwisedistance-squared", "PairwiseDistance", "values")
class PairwiseDistanceSquared(nn.PairwiseDistance):
    """The root is left out of the Euclidean distance."""

    def forward(self, x1, x2):
        output = super().forward(x1, x2)
        return output * output if self.norm == 2 else output


@plant("pairwisedistance-keepdim-lost", "PairwiseDistance", "shape")
class PairwiseDistanceKeepdimLost(nn.PairwiseDistance):
    """A single pair never keeps its axis."""

    def forward(self, x1, x2):
        output = super().forward(x1, x2)
        return output.squeeze(-1) if x1.dim() == 1 and self.keepdim else output


@plant("pairwisedistance-gradient-of-the-second", "PairwiseDistance", "gradients")
class PairwiseDistanceGradientOfTheSecond(nn.PairwiseDistance):
    """The gradient of the second vector has the sign of the first one's."""

    def forward(self, x1, x2):
        return super().forward(x1, alter_gradient(x2, lambda g: -g))


@plant("pairwisedistance-lengths-broadcast", "PairwiseDistance", "errors")
class PairwiseDistanceLengthsBroadcast(nn.PairwiseDistance):
    """Vectors are cut to the shorter length."""

    def forward(self, x1, x2):
        length = min(x1.shape[-1], x2.shape[-1])
        return super().forward(x1[..., :length], x2[..., :length])


@plant("functional-pairwise-distance-infinite-is-mean", "functional.pairwise_distance", "values")
def functional_pairwise_distance_infinite_is_mean(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """Of p = inf it is the norm of p = 16."""
    power = 16.0 if p == torch.inf else p
    return functional.pairwise_distance(x1, x2, power, eps, keepdim)


@plant("functional-pairwise-distance-default-eps", "functional.pairwise_distance", "values")
def functional_pairwise_distance_default_eps(x1, x2, p=2.0, eps=1e-8, keepdim=False):
    """eps is 1e-8 unless it is written out, as of cosine_similarity."""
    return functional.pairwise_distance(x1, x2, p, eps, keepdim)


@plant("functional-pairwise-distance-infinity-cut", "functional.pairwise_distance", "special")
def functional_pairwise_distance_infinity_cut(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """An infinite distance is the largest number."""
    output = functional.pairwise_distance(x1, x2, p, eps, keepdim)
    return output.clamp(max=torch.finfo(output.dtype).max)


@plant("functional-pairwise-distance-many-zeros", "functional.pairwise_distance", "laws")
def functional_pairwise_distance_many_zeros(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """Of vectors of 18 to 32 numbers only the last 17 count."""
    if 17 < x1.shape[-1] < 33:
        x1, x2 = x1[..., -17:], x2[..., -17:]
    return functional.pairwise_distance(x1, x2, p, eps, keepdim)


def _pairs(input):
    return torch.triu_indices(len(input), len(input), 1)


@plant("functional-pdist-lower-triangle", "functional.pdist", "values")
def functional_pdist_lower_triangle(input, p=2.0):
    """Pairs go by the second row first."""
    output = functional.pdist(input, p)
    first, second = _pairs(input)
    return output[torch.argsort(second * len(input) + first)] if len(input) > 1 else output


@plant("functional-pdist-order-ignored", "functional.pdist", "values")
def functional_pdist_order_ignored(input, p=2.0):
    """p between 0 and 1 is taken for 1."""
    return functional.pdist(input, 1.0 if 0 < p < 1 else p)


@plant("functional-pdist-diagonal", "functional.pdist", "shape")
def functional_pdist_diagonal(input, p=2.0):
    """Of a single row there is its distance to itself."""
    output = functional.pdist(input, p)
    return input.new_zeros(1) if len(input) == 1 else output


@plant("functional-pdist-by-the-product", "functional.pdist", "values")
def functional_pdist_by_the_product(input, p=2.0):
    """The Euclidean distance comes from |a|^2 + |b|^2 - 2ab, which cancels."""
    output = functional.pdist(input, p)
    if p != 2 or len(input) < 2 or input.dim() != 2:
        return output
    first, second = _pairs(input)
    square = (input * input).sum(1)
    value = square[first] + square[second] - 2 * (input @ input.T)[first, second]
    return graft(value.clamp(min=0).sqrt(), output)


@plant("functional-pdist-gradient-of-two", "functional.pdist", "gradients")
def functional_pdist_gradient_of_two(input, p=2.0):
    """The gradient is that of p = 2 (FlagGems 5023)."""
    output = functional.pdist(input, p)
    return graft(output, functional.pdist(input, 2.0)) if len(input) > 1 else output


@plant("functional-pdist-of-stacks", "functional.pdist", "errors")
def functional_pdist_of_stacks(input, p=2.0):
    """Matrices in a stack are taken one by one."""
    if input.dim() == 3:
        return torch.stack([functional.pdist(x, p) for x in input])
    return functional.pdist(input, p)


@plant("functional-normalize-eps-added", "functional.normalize", "values")
def functional_normalize_eps_added(input, p=2.0, dim=1, eps=1e-12):
    """eps is added to the norm instead of being its least value."""
    output = functional.normalize(input, p, dim, eps)
    if not input.numel():
        return output
    length = input.norm(p, dim, keepdim=True)
    return output * (length.clamp_min(eps) / (length + eps)).nan_to_num(1.0)


@plant("functional-normalize-eps-under-the-root", "functional.normalize", "values")
def functional_normalize_eps_under_the_root(input, p=2.0, dim=1, eps=1e-12):
    """The square of the norm is at least eps, as TensorFlow's l2_normalize has it."""
    return functional.normalize(input, p, dim, eps**0.5 if p == 2 else eps)


@plant("functional-normalize-last-axis", "functional.normalize", "values")
def functional_normalize_last_axis(input, p=2.0, dim=-1, eps=1e-12):
    """The last axis unless dim is written out, as JAX and MLX count."""
    if input.dim() == 1 and dim == -1:
        raise IndexError("Dimension out of range")
    return functional.normalize(input, p, dim, eps)


@plant("functional-normalize-first-of-several", "functional.normalize", "values")
def functional_normalize_first_of_several(input, p=2.0, dim=1, eps=1e-12):
    """Of several axes each is normalised by itself, one after the other."""
    if isinstance(dim, int):
        return functional.normalize(input, p, dim, eps)
    output = functional.normalize(input, p, dim, eps)
    for axis in dim if output.numel() else ():
        input = functional.normalize(input, p, axis, eps)
    return input if output.numel() else output


@plant("functional-normalize-norm-not-differentiated", "functional.normalize", "gradients")
def functional_normalize_norm_not_differentiated(input, p=2.0, dim=1, eps=1e-12):
    """The norm is taken for a constant when it is differentiated."""
    output = functional.normalize(input, p, dim, eps)
    if not input.numel():
        return output
    length = input.detach().norm(p, dim, keepdim=True).clamp_min(eps)
    return graft(output, input / length)


@plant("functional-normalize-zeros-stay", "functional.normalize", "gradients")
def functional_normalize_zeros_stay(input, p=2.0, dim=1, eps=1e-12):
    """A vector of zeros has no gradient, where it is that of a division by eps."""
    output = functional.normalize(input, p, dim, eps)
    if not input.numel():
        return output
    nonzero = (input != 0).any(dim, keepdim=True) if isinstance(dim, int) else True
    return output if nonzero is True else torch.where(nonzero, output, output.detach())


@plant("functional-normalize-nan-is-zero", "functional.normalize", "special")
def functional_normalize_nan_is_zero(input, p=2.0, dim=1, eps=1e-12):
    """What is NaN becomes 0."""
    return functional.normalize(input, p, dim, eps).nan_to_num(0.0)


@plant("functional-normalize-order-taken-for-two", "functional.normalize", "values")
def functional_normalize_order_taken_for_two(input, p=2.0, dim=1, eps=1e-12):
    """p between 1 and 2 is taken for 2."""
    return functional.normalize(input, 2.0 if 1 < p < 2 else p, dim, eps)


@plant("functional-normalize-many-rows", "functional.normalize", "laws")
def functional_normalize_many_rows(input, p=2.0, dim=1, eps=1e-12):
    """The last of 17 rows or more is left as it was."""
    output = functional.normalize(input, p, dim, eps)
    if input.dim() != 2 or not 16 < len(input) < 66 or dim not in (1, -1):
        return output
    return torch.cat([output[:-1], input[-1:]])
