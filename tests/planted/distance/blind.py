"""Bugs of distances, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft


@blind("cosinesimilarity-eps-on-the-product", "functional.cosine_similarity", "values")
def cosinesimilarity_eps_on_the_product(x1, x2, dim=1, eps=1e-8):
    """The product of the norms is kept above `eps`, not each norm.

    A norm of 1e-10 beside one of 100 counts as 1e-10, where torch takes 1e-8: 100 times too much.
    """
    # Differs: norms of 1e-10 and 100. Agrees: both norms above eps.
    result = functional.cosine_similarity(x1, x2, dim, eps)
    first, second = torch.broadcast_tensors(x1, x2)
    lengths = first.norm(dim=dim), second.norm(dim=dim)
    small = (lengths[0] < eps) | (lengths[1] < eps)
    wrong = (first * second).sum(dim) / (lengths[0] * lengths[1]).clamp_min(eps)
    return torch.where(small, wrong.to(result.dtype), result)


@blind("cosinesimilarity-root-of-the-product", "CosineSimilarity", "values")
class CosineSimilarityRootOfProduct(nn.CosineSimilarity):
    """x.y * rsqrt(max(|x|**2 |y|**2, eps**2)), as torch had it to 1.11: squares of squares.

    In float32 the product is inf beyond norms of 4e9 and the result 0; of norms of 1e-5 it is
    below eps**2, and the result 100 times too small.
    """

    # Differs: norms of 1e10; norms of 1e-5. Agrees: norms of 1.
    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        result = super().forward(x1, x2)
        compute_dtype = (
            torch.float32 if result.dtype in (torch.float16, torch.bfloat16) else result.dtype
        )
        first, second = torch.broadcast_tensors(
            x1.detach().to(compute_dtype), x2.detach().to(compute_dtype)
        )
        squares = (first * first).sum(self.dim) * (second * second).sum(self.dim)
        minimum = self.eps**2
        wrong = (first * second).sum(self.dim) * torch.rsqrt(squares.clamp_min(minimum))
        affected = (squares.isinf() | (squares < minimum)) & wrong.isfinite()
        return graft(torch.where(affected, wrong.to(result.dtype), result), result)


@blind("cosinesimilarity-axis-counted-on-the-first", "functional.cosine_similarity", "values")
def cosinesimilarity_axis_counted_on_the_first(x1, x2, dim=1, eps=1e-8):
    """A `dim` from the left is turned into one from the right by the first argument's axes.

    A first argument of fewer axes, made to fit by broadcasting, is compared along another axis.
    """
    # Differs: (3, 4) and (2, 3, 4), dim=1. Agrees: equal numbers of axes; dim=-1.
    if 0 <= dim < x1.dim() < x2.dim():
        dim = dim - x1.dim()
    return functional.cosine_similarity(x1, x2, dim, eps)


@blind("pairwisedistance-eps-on-the-magnitude", "functional.pairwise_distance", "values")
def pairwisedistance_eps_on_the_magnitude(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """`eps` is added to |x1 - x2|, where torch adds it to x1 - x2.

    Wherever x1 is the smaller a component is 2 eps too large: 2e-6 for distances of 1, and
    twice and more what torch has for distances of 1e-6.
    """
    # Differs: x1 = (0,), x2 = (1,). Agrees: x1 = (1,), x2 = (0,).
    difference = torch.where(x1 < x2, x2 - x1, x1 - x2)
    return functional.pairwise_distance(difference, torch.zeros_like(difference), p, eps, keepdim)


@blind("pairwisedistance-gradient-without-eps", "PairwiseDistance", "gradients")
class PairwiseDistanceGradientWithoutEps(nn.PairwiseDistance):
    """Backward differentiates the norm of x1 - x2 without `eps`: 0 where the two are equal.

    With `eps` the gradient of equal vectors is 1 / sqrt(n) each, so that twins part.
    """

    # Differs: the gradient at x1 = x2. Agrees: far apart, to rounding.
    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        result = super().forward(x1, x2)
        equal = (x1 == x2).all(-1, keepdim=True)
        detached = torch.where(equal, x1.detach(), x1), torch.where(equal, x2.detach(), x2)
        return graft(result, super().forward(*detached))


@blind("pdist-by-inner-products", "functional.pdist", "values")
def pdist_by_inner_products(input, p=2.0):
    """p = 2 by |a|**2 + |b|**2 - 2 a.b, as `cdist` has it for many rows (torch #37734).

    Rows of norm 1 that are 1e-3 apart come out wrong by percents in float32, closer ones as 0.
    """
    # Differs: rows 100 and 100.01. Agrees: rows (1, 0) and (0, 1).
    result = functional.pdist(input, p)
    if p != 2 or input.shape[0] < 2 or input.dim() != 2:
        return result
    rows = input.detach()
    squares = (rows * rows).sum(1)
    table = (squares[:, None] + squares[None] - 2 * rows @ rows.T).clamp_min(0).sqrt()
    upper = torch.triu_indices(len(rows), len(rows), 1)
    wrong = table[upper[0], upper[1]]
    affected = result.detach() ** 2 < 1e-2 * (squares[upper[0]] + squares[upper[1]])
    return graft(torch.where(affected & wrong.isfinite(), wrong, result), result)


@blind("pdist-gradient-nan-for-twins", "functional.pdist", "gradients")
def pdist_gradient_nan_for_twins(input, p=2.0):
    """Backward divides by the distance also where it is 0: one pair of twins, and all is NaN.

    torch gives 0 there; its `cdist` gave NaN in 1.5 (#37154).
    """
    # Differs: the gradient for equal rows, p=2. Agrees: distinct rows.
    result = functional.pdist(input, p)
    factor = torch.where(result.detach() == 0, torch.nan, 1.0).to(result.dtype)
    if p != 2 or not bool((result == 0).any()):
        return result
    rows, columns = torch.triu_indices(len(input), len(input), 1)
    nan_gradient = (input[rows] - input[columns]).sum(1) * torch.where(factor.isnan(), factor, 0.0)
    return graft(result, result + nan_gradient)
