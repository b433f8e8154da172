"""Bugs of the softmax family, written without sight of the checks, before the rows were there."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, reroute


def _default_axis(input: Tensor, dim: int | None) -> int:
    """The axis that torch takes if none is given."""
    return (0 if input.dim() in (0, 1, 3) else 1) if dim is None else dim


@blind("softmax-maximum-of-the-whole-tensor", "Softmax", "values")
class SoftmaxMaximumOfWholeTensor(nn.Softmax):
    """The largest element of the tensor is subtracted, not each row's.

    A row 88 below another underflows in part, one 104 below is 0/0 in float32: NaN.
    """

    # Differs: rows [0, 1] and [200, 201]. Agrees: one row; rows alike, to rounding.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.numel() == 0:
            return result
        axis = _default_axis(input, self.dim)
        source = input.detach()
        powers = torch.exp(source - source.max())
        wrong = powers / powers.sum(axis, keepdim=True)
        low = source.amax(axis, keepdim=True) < source.max() - 60
        return graft(torch.where(low, wrong, result), result)


@blind("softmax-axis-unless-given-is-the-last", "functional.softmax", "values")
def softmax_axis_unless_given_is_last(input, dim=None, _stacklevel=3, dtype=None):
    """Without `dim` the last axis is taken, as in Keras; torch takes 0 of 3 axes and 1 of 4."""
    # Differs: dim=None, (2, 3, 4). Agrees: dim=None, (2, 3); dim=0.
    return functional.softmax(input, -1 if dim is None else dim, dtype=dtype)


@blind("softmax-dtype-of-the-result-alone", "functional.softmax", "values")
def softmax_dtype_of_result_alone(input, dim=None, _stacklevel=3, dtype=None):
    """`dtype` converts the result, not the input: float16 digits in a float32 tensor.

    Off by 5e-4 of the result from float16, by 4e-3 from bfloat16.
    """
    # Differs: float16 with dtype=torch.float32. Agrees: dtype=None.
    if dtype is None or not input.is_floating_point():
        return functional.softmax(input, dim, dtype=dtype)
    return functional.softmax(input, dim).to(dtype)


@blind("softmax-padding-lanes-of-zero", "Softmax", "values")
class SoftmaxPaddingLanesOfZero(nn.Softmax):
    """Rows are filled up to a multiple of 4 by 0 where -inf is meant: 0s count in the sum.

    A row of three 0s gives 1/4 each; where the largest element is above 20 nothing shows.
    """

    # Differs: a row (0, 0, 0). Agrees: rows of 4 and 8.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.dim() == 0 or input.numel() == 0:
            return result
        axis = _default_axis(input, self.dim)
        lanes = -input.shape[axis] % 4
        if not lanes:
            return result
        maximum = input.detach().amax(axis, keepdim=True)
        total = torch.exp(input.detach() - maximum).sum(axis, keepdim=True)
        return result * (total / (total + lanes * torch.exp(-maximum)))


@blind("softmax-of-a-masked-row-is-uniform", "Softmax", "special")
class SoftmaxOfMaskedRowIsUniform(nn.Softmax):
    """A row of nothing but -inf gives 1/n each, where torch gives NaN: exp(lowest - lowest) is 1.

    As in kernels of attention (TensorRT-LLM #17477, tt-metal #56056).
    """

    # Differs: a row (-inf, -inf). Agrees: a row (0, -inf).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.dim() == 0 or input.numel() == 0:
            return result
        axis = _default_axis(input, self.dim)
        masked = (input == -torch.inf).all(axis, keepdim=True)
        return torch.where(masked, 1.0 / input.shape[axis], result)


@blind("softmax-second-block-not-rescaled", "functional.softmax", "values")
def softmax_second_block_not_rescaled(input, dim=None, _stacklevel=3, dtype=None):
    """Online softmax in blocks of 64: the sum so far is not scaled when the maximum rises.

    Rows sum to less than 1, by half and more if the largest element is in the second block.
    """
    # Differs: 65 elements, the last the largest. Agrees: 64 elements; the first the largest.
    result = functional.softmax(input, dim, dtype=dtype)
    axis = _default_axis(input, dim)
    if input.dim() == 0 or input.shape[axis] <= 64 or input.numel() == 0:
        return result
    source = input.detach().to(result.dtype)
    maximum = torch.full_like(source.amax(axis, keepdim=True), -torch.inf)
    total = torch.zeros_like(maximum)
    for block in source.split(64, axis):
        maximum = torch.maximum(maximum, block.amax(axis, keepdim=True))
        total = total + torch.exp(block - maximum).sum(axis, keepdim=True)
    right = torch.exp(source - maximum).sum(axis, keepdim=True)
    return result * torch.where(right == total, 1.0, right / total)


@blind("softmax-gradient-of-the-diagonal", "Softmax", "gradients")
class SoftmaxGradientOfDiagonal(nn.Softmax):
    """Backward is y (1 - y) g, the diagonal of the Jacobian, as if it were a sigmoid."""

    # Differs: the gradient of (0, 1), g = (1, 0). Agrees: rows of one element.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        slope = result.detach() * (1 - result.detach())
        return reroute(result, input, lambda gradient: gradient * slope)


@blind("softmax2d-unbatched-over-the-height", "Softmax2d", "values")
class Softmax2dUnbatchedOverHeight(nn.Softmax2d):
    """Axis 1 is taken also of (C, H, W), where the channels are axis 0."""

    # Differs: on (3, 4, 5). Agrees: on (2, 3, 4, 5).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return result if input.dim() != 3 else functional.softmax(input, 1)


@blind("softmin-shifted-by-the-maximum", "Softmin", "values")
class SoftminShiftedByMaximum(nn.Softmin):
    """exp(-(x - max x)): the shift of softmax is kept, and rows wider than 88 overflow to NaN."""

    # Differs: (0, 100) in float32. Agrees: (0, 1) to rounding.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.numel() == 0:
            return result
        axis = _default_axis(input, self.dim)
        source = input.detach()
        powers = torch.exp(source.amax(axis, keepdim=True) - source)
        wrong = powers / powers.sum(axis, keepdim=True)
        return graft(torch.where(wrong.isnan(), wrong, result), result)


@blind("softmin-of-one-minus-softmax", "functional.softmin", "values")
def softmin_of_one_minus_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """(1 - softmax) / (n - 1): sums to 1 and is right for two elements, wrong for three."""
    # Differs: (0, 1, 2). Agrees: two elements to rounding.
    axis = _default_axis(input, dim)
    count = input.shape[axis] if input.dim() else 1
    if count <= 2:
        return functional.softmin(input, dim, dtype=dtype)
    return (1 - functional.softmax(input, dim, dtype=dtype)) / (count - 1)


@blind("logsoftmax-by-the-logarithm-of-softmax", "LogSoftmax", "values")
class LogSoftmaxByLogarithm(nn.LogSoftmax):
    """log(softmax(x)): -inf for classes 104 below the first, and for these NaN gradients.

    From 88 on digits are lost to subnormal numbers.
    """

    # Differs: (0, 200) in float32. Agrees: (0, 1) to rounding.
    def forward(self, input: Tensor) -> Tensor:
        return torch.log(functional.softmax(input, _default_axis(input, self.dim)))


@blind("logsoftmax-near-one-cancels", "functional.log_softmax", "values")
def logsoftmax_near_one_cancels(input, dim=None, _stacklevel=3, dtype=None):
    """x - (m + log(sum)), the maximum added back first: digits of m are lost to both.

    Of logits around 1e4 confident results, -1e-5, come out as 0 or -1e-3 in float32.
    """
    # Differs: (1e4, 1e4 - 10). Agrees: (0, -10) to rounding.
    result = functional.log_softmax(input, dim, dtype=dtype)
    if input.numel() == 0:
        return result
    source = input.detach().to(result.dtype)
    axis = _default_axis(input, dim)
    wrong = source - torch.logsumexp(source, axis, keepdim=True)
    return graft(torch.where(wrong.isfinite(), wrong, result), result)


@blind("logsoftmax-gradient-for-one-hot-losses", "LogSoftmax", "gradients")
class LogSoftmaxGradientForOneHot(nn.LogSoftmax):
    """Backward is g - softmax, right only where g sums to 1, as fused losses have it (up to sign).

    Losses that are weighted, smoothed or summed otherwise get a wrong gradient.
    """

    # Differs: a gradient of (1, 1). Agrees: a gradient of (1, 0).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        probabilities = torch.exp(result.detach())
        return reroute(result, input, lambda gradient: gradient - probabilities)
