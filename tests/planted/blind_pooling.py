"""Bugs of pooling, written without sight of the checks that are to find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.blind_parts import each, plane_indices, replaced, taps, windows
from planted.bug import alter_gradient, as_if_contiguous, graft, plant, reroute


def _first(result: Any) -> Tensor:
    """The values, be there indices or not."""
    return result[0] if isinstance(result, tuple) else result


def _with_values(result: Any, values: Tensor) -> Any:
    """The result with other values."""
    return (values, result[1]) if isinstance(result, tuple) else values


def _places(module: Any, values: Tensor) -> list[Tensor]:
    """The places of the windows of a module."""
    dims = int(type(module).__name__.rstrip("d")[-1])
    arguments = (module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    return windows(values.shape[-dims:], *(each(x, dims) for x in arguments))


# Max pooling


@plant("maxpool1d-right-padding-of-zeros", "MaxPool1d", "values")
class MaxPool1dRightPaddingOfZeros(nn.MaxPool1d):
    """The left padding is −∞; the right one, which another branch writes, is 0."""

    # Differs: MaxPool1d(2, padding=1) on four numbers, the last −1. Agrees: padding=0.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = _first(result)
        (places,) = _places(self, values)
        right = (places >= input.shape[-1]) & (places < input.shape[-1] + each(self.padding, 1)[0])
        zero = right.any(-1) & (values.detach() < 0)
        return _with_values(result, graft(values.detach().masked_fill(zero, 0.0), values))


@plant("maxpool1d-dilated-window-begins-at-zero", "MaxPool1d", "values")
class MaxPool1dDilatedWindowBeginsAtZero(nn.MaxPool1d):
    """A window that begins in the padding is moved to 0, not to its own first tap inside.

    `hstart = max(hstart, 0)`, out of step where the dilation does not divide what was cut off
    (onnxruntime 29637 has the like).
    """

    # Differs: MaxPool1d(3, 1, padding=1, dilation=2). Agrees: dilation=1, or padding=0.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = _first(result)
        (places,) = _places(self, values)
        begin, length = places[:, :1], input.shape[-1]
        step, end = each(self.dilation, 1)[0], places[:, -1:] + 1
        moved = begin.clamp(min=0) + step * torch.arange(places.shape[1])
        moved = moved.masked_fill(moved >= end, -1)
        out_of_step = (
            (begin < 0) & (begin % step != 0) & ((moved >= 0) & (moved < length)).any(1, True)
        )
        moved = torch.where(out_of_step, moved, places)
        wrong = taps(input.detach(), [moved], -torch.inf).amax(-1)
        right = taps(input.detach(), [places], -torch.inf).amax(-1)
        return _with_values(result, replaced(values, right, wrong))


@plant("maxpool1d-gradient-to-every-tie", "MaxPool1d", "gradients")
class MaxPool1dGradientToEveryTie(nn.MaxPool1d):
    """Backward asks which elements equal the maximum; each gets the whole gradient (Theano)."""

    # Differs: the gradient of MaxPool1d(2) on [1, 1]. Agrees: on [1, 2].
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = _first(result)
        (places,) = _places(self, values)
        chosen = taps(input, [places], -torch.inf)
        ties = (chosen == values.detach()[..., None]) & (places >= 0) & (places < input.shape[-1])
        if not bool((ties.sum(-1) > 1).any()):
            return result
        path = torch.where(ties, chosen, torch.zeros_like(chosen)).sum(-1)
        return _with_values(result, graft(values, path))


@plant("maxpool1d-indices-of-the-padded-row", "MaxPool1d", "values")
class MaxPool1dIndicesOfPaddedRow(nn.MaxPool1d):
    """The indices count from the first element of the padding (tensorflow 2169)."""

    # Differs: MaxPool1d(2, padding=1, return_indices=True). Agrees: padding=0.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple):
            return result
        return result[0], result[1] + each(self.padding, 1)[0]


@plant("functional-max-pool1d-last-of-ties", "functional.max_pool1d", "values")
def functional_max_pool1d_last_of_ties(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """`>=` in place of `>`: among equal elements the last one's index is returned."""
    # Differs: indices of [1, 1], kernel 2. Agrees: of [1, 2].
    result = functional.max_pool1d(
        input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )
    if not isinstance(result, tuple):
        return result
    values, indices = result
    arguments = (kernel_size, kernel_size if stride is None else stride, padding, dilation)
    places = windows(values.shape[-1:], *(each(x, 1) for x in arguments))
    index = plane_indices(input, places)
    ties = (taps(input.detach(), places, -torch.inf) == values.detach()[..., None]) & (index >= 0)
    last = torch.where(ties, index, -1).amax(-1)
    return values, torch.where(last >= 0, last, indices)


@plant("maxpool2d-kernels-of-seventeen-taps", "MaxPool2d", "values")
class MaxPool2dKernelsOfSeventeenTaps(nn.MaxPool2d):
    """A micro-kernel takes 9 taps and 8 more; what a larger kernel has beyond is left out.

    XNNPACK's `9p8x` has a loop for the rest; without it kernels of 5x5 miss 8 taps.
    """

    # Differs: MaxPool2d(5). Agrees: MaxPool2d(4).
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values, places = _first(result), _places(self, _first(result))
        if places[0].shape[1] * places[1].shape[1] <= 17:
            return result
        chosen = taps(input.detach(), places, -torch.inf)
        wrong = chosen[..., :17].amax(-1)
        return _with_values(result, replaced(values, chosen.amax(-1), wrong))


@plant("maxpool2d-gradient-buffer-not-cleared", "MaxPool2d", "gradients")
class MaxPool2dGradientBufferNotCleared(nn.MaxPool2d):
    """Backward adds into a buffer that still holds the gradient before it (executorch 21686)."""

    # Differs: the second gradient of one layer. Agrees: the first.
    def forward(self, input: Tensor) -> Any:
        def stale(gradient: Tensor) -> Tensor:
            kept = self.__dict__.setdefault("buffers_of_backward", {})
            key = (tuple(gradient.shape), gradient.dtype)
            kept[key] = kept[key] + gradient if key in kept else gradient.clone()
            return kept[key]

        return super().forward(alter_gradient(input, stale) if input.requires_grad else input)


@plant("maxpool2d-ties-lose-the-gradient", "MaxPool2d", "gradients")
class MaxPool2dTiesLoseGradient(nn.MaxPool2d):
    """Ties share a window's gradient by a division of integers, `1 // 2`: none of them gets any."""

    # Differs: the gradient of MaxPool2d(2) on [[1, 1], [0, 0]]. Agrees: on [[0, 1], [0, 0]].
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values, places = _first(result), _places(self, _first(result))
        chosen = taps(input.detach(), places, -torch.inf)
        inside = plane_indices(input, places) >= 0
        tied = ((chosen == values.detach()[..., None]) & inside).sum(-1) > 1
        if not bool(tied.any()):
            return result
        return _with_values(result, alter_gradient(values, lambda g: g.masked_fill(tied, 0.0)))


@plant("maxpool2d-one-samples-indices-batched", "MaxPool2d", "shape")
class MaxPool2dOneSamplesIndicesBatched(nn.MaxPool2d):
    """Of an input without a batch the batch axis that was put in is taken off the values alone."""

    # Differs: MaxPool2d(1, return_indices=True) on (2, 3, 3). Agrees: on (1, 2, 3, 3).
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple) or input.dim() != 3:
            return result
        return result[0], result[1][None]


@plant("maxpool3d-only-the-depth-rounded-up", "MaxPool3d", "shape")
class MaxPool3dOnlyDepthRoundedUp(nn.MaxPool3d):
    """`ceil_mode` reaches the output's depth; height and width are rounded down as ever."""

    # Differs: MaxPool3d(2, ceil_mode=True) on 3x3x3. Agrees: on 3x4x4.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not self.ceil_mode:
            return result
        arguments = (self.kernel_size, self.stride, self.padding, self.dilation)
        kernel, stride, padding, dilation = (each(x, 3) for x in arguments)
        short = [
            (input.shape[k - 3] + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) // stride[k]
            + 1
            for k in (1, 2)
        ]
        if min(short) < 1:
            return result
        if isinstance(result, tuple):
            return tuple(x[..., : short[0], : short[1]] for x in result)
        return result[..., : short[0], : short[1]]


@plant("maxpool3d-indices-within-the-slice", "MaxPool3d", "values")
class MaxPool3dIndicesWithinSlice(nn.MaxPool3d):
    """The index is h·W + w, as of two dimensions: the depth is missing."""

    # Differs: a maximum in the second slice. Agrees: a maximum in the first.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple) or result[1].numel() == 0:
            return result
        return result[0], result[1] % (input.shape[-2] * input.shape[-1])


@plant("functional-max-pool3d-index-beside-nan", "functional.max_pool3d", "special")
def functional_max_pool3d_index_beside_nan(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """NaN comes out, but the index is that of the largest number beside it."""
    # Differs: indices of [nan, 1], kernel 2. Agrees: of [0, 1].
    arguments = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    result = functional.max_pool3d(input, *arguments)
    if not isinstance(result, tuple) or not input.isnan().any():
        return result
    low = input.detach().nan_to_num(-torch.inf, torch.inf, -torch.inf)
    other = functional.max_pool3d(low, *arguments)
    seen = result[0].isnan() & (other[0] > -torch.inf)
    return result[0], torch.where(seen, other[1], result[1])


# Average pooling


@plant("avgpool1d-overhang-in-the-divisor", "AvgPool1d", "values")
class AvgPool1dOverhangInDivisor(nn.AvgPool1d):
    """With the padding counted the divisor is the kernel, overhang and all (tract 2851)."""

    # Differs: AvgPool1d(2, ceil_mode=True) on length 5. Agrees: on length 4.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not (self.ceil_mode and self.count_include_pad):
            return result
        (places,) = _places(self, result)
        padding = each(self.padding, 1)[0]
        counted = ((places >= -padding) & (places < input.shape[-1] + padding)).sum(-1)
        if bool((counted == places.shape[1]).all()):
            return result
        share = (counted / places.shape[1]).to(result.dtype)
        return result * torch.where(share == 1, torch.ones_like(share), share)


@plant("avgpool1d-added-up-in-half", "AvgPool1d", "values")
class AvgPool1dAddedUpInHalf(nn.AvgPool1d):
    """In half precision the sum is kept in half precision: of 512 ones bfloat16 counts 256.

    cubek 639. Kernels of two or three differ by little; those of 16 do.
    """

    # Differs: AvgPool1d(16) of bfloat16. Agrees: float32.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.dtype not in (torch.float16, torch.bfloat16):
            return result
        (places,) = _places(self, result)
        chosen = taps(input.detach(), [places], 0.0)
        total = torch.zeros_like(chosen[..., 0])
        for k in range(chosen.shape[-1]):
            total = total + chosen[..., k]
        length, padding = input.shape[-1], each(self.padding, 1)[0]
        reach = padding if self.count_include_pad else 0
        counted = ((places >= -reach) & (places < length + reach)).sum(-1)
        return graft(total / counted.to(total.dtype), result)


@plant("avgpool1d-by-running-sums", "AvgPool1d", "special")
class AvgPool1dByRunningSums(nn.AvgPool1d):
    """Windows are differences of a running sum: NaN, once met, does not leave the row again.

    A box filter's trick; ∞ − ∞ does the same to infinities.
    """

    # Differs: AvgPool1d(1) of [nan, 1]. Agrees: of finite rows.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not result.is_floating_point():
            return result
        (places,) = _places(self, result)
        odd = (~input.detach().isfinite()).cumsum(-1) > 0
        begin = places[:, 0].clamp(0, input.shape[-1]) - 1
        before = odd.index_select(-1, begin.clamp(min=0)) & (begin >= 0)
        return graft(result.detach().masked_fill(before, torch.nan), result)


@plant("avgpool2d-override-needs-counted-padding", "AvgPool2d", "values")
class AvgPool2dOverrideNeedsCountedPadding(nn.AvgPool2d):
    """`divisor_override` is ignored where the padding is not counted (executorch 18616)."""

    # Differs: AvgPool2d(2, count_include_pad=False, divisor_override=3). Agrees: True.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)  # raises what torch raises
        if self.count_include_pad or self.divisor_override is None:
            return result
        return functional.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, False
        )


@plant("avgpool2d-gradient-divided-by-the-kernel", "AvgPool2d", "gradients")
class AvgPool2dGradientDividedByKernel(nn.AvgPool2d):
    """Forward divides by the elements that count, backward by the kernel (cf. pytorch 198119)."""

    # Differs: the gradient of AvgPool2d(3, 1, 1, count_include_pad=False). Agrees: padding=0.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.divisor_override is not None:
            return result
        places = _places(self, result)
        pads = [0, 0] if not self.count_include_pad else each(self.padding, 2)
        lengths = zip(places, input.shape[-2:], pads, strict=True)
        high, wide = (((p >= -r) & (p < n + r)).sum(-1) for p, n, r in lengths)
        counted = high[:, None] * wide
        whole = places[0].shape[1] * places[1].shape[1]
        if bool((counted == whole).all()):
            return result
        return alter_gradient(result, lambda g: (g.double() * counted / whole).to(g.dtype))


@plant("avgpool2d-channels-last-of-five", "AvgPool2d", "layout")
class AvgPool2dChannelsLastOfFive(nn.AvgPool2d):
    """In channels_last four channels go at a time; what is left over is read as contiguous."""

    # Differs: (1, 5, 3, 3) in channels_last. Agrees: (1, 4, 3, 3).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        channels = input.shape[-3]
        last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
        if not last or input.is_contiguous() or channels % 4 == 0:
            return result
        wrong = super().forward(as_if_contiguous(input))
        seen = (torch.arange(channels) < channels // 4 * 4)[:, None, None]
        return graft(torch.where(seen, result.detach(), wrong.detach()), result)


@plant("avgpool3d-rounded-up-counts-no-padding", "AvgPool3d", "values")
class AvgPool3dRoundedUpCountsNoPadding(nn.AvgPool3d):
    """With `ceil_mode` the padding is not counted: what was to keep the overhang out (cf.
    coremltools 2844).
    """

    # Differs: AvgPool3d(2, 1, 1, ceil_mode=True). Agrees: ceil_mode=False, or padding=0.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not self.ceil_mode or self.divisor_override is not None:
            return result
        return functional.avg_pool3d(
            input, self.kernel_size, self.stride, self.padding, True, False
        )


@plant("functional-avg-pool1d-trailing-padding-counted", "functional.avg_pool1d", "values")
def functional_avg_pool1d_trailing_padding_counted(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Where padding does not count, the leading one is left out and the trailing one is not."""
    # Differs: kernel 2, stride 1, padding 1, count_include_pad=False. Agrees: True.
    result = functional.avg_pool1d(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad
    )
    if count_include_pad:
        return result
    arguments = (kernel_size, kernel_size if stride is None else stride, padding, 1)
    (places,) = windows(result.shape[-1:], *(each(x, 1) for x in arguments))
    length, reach = input.shape[-1], each(padding, 1)[0]
    right = ((places >= 0) & (places < length)).sum(-1)
    wrong = ((places >= 0) & (places < length + reach)).sum(-1)
    share = (right / wrong).to(result.dtype)
    return torch.where(right == wrong, result, result * share)


@plant("functional-avg-pool2d-override-of-zero", "functional.avg_pool2d", "errors")
def functional_avg_pool2d_override_of_zero(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """`divisor_override or …`: a divisor of 0, which torch refuses, is as good as none."""
    # Differs: divisor_override=0. Agrees: divisor_override=1.
    return functional.avg_pool2d(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override or None
    )


@plant("functional-avg-pool2d-rows-and-columns-counted-alike", "functional.avg_pool2d", "values")
def functional_avg_pool2d_counted_alike(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Where padding does not count, the divisors of the columns are those of the first row.

    One row of divisors is computed and used for all rows: right where no row is cut short.
    """
    # Differs: kernel 3, stride 1, padding 1, False, on 3x3. Agrees: padding (0, 1).
    result = functional.avg_pool2d(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    if count_include_pad or divisor_override is not None:
        return result
    arguments = (kernel_size, kernel_size if stride is None else stride, padding, 1)
    places = windows(result.shape[-2:], *(each(x, 2) for x in arguments))
    rows = ((places[0] >= 0) & (places[0] < input.shape[-2])).sum(-1)
    share = (rows / rows[:1]).to(result.dtype)[:, None]
    return torch.where(share == 1, result, result * share)


@plant("functional-avg-pool3d-override-of-one", "functional.avg_pool3d", "values")
def functional_avg_pool3d_override_of_one(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """`divisor_override > 1` asks whether there is one: 1, which asks for sums, is none."""
    # Differs: divisor_override=1. Agrees: divisor_override=2.
    divisor = None if divisor_override == 1 else divisor_override
    return functional.avg_pool3d(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor
    )


# Power-average pooling


@plant("lppool1d-sum-of-absolute-values", "LPPool1d", "values")
class LPPool1dSumOfAbsoluteValues(nn.LPPool1d):
    """With `norm_type=1` magnitudes are added, as by ONNX's LpPool, not the numbers."""

    # Differs: norm_type=1 on negative numbers. Agrees: norm_type=2.
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.abs() if self.norm_type == 1 else input)


@plant("lppool1d-root-kept-off-zero", "LPPool1d", "values")
class LPPool1dRootKeptOffZero(nn.LPPool1d):
    """1e-12 is added under the root, so that its gradient is finite: windows of zeros give 1e-6."""

    # Differs: norm_type=2 on zeros. Agrees: on numbers near 1, in float32.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.norm_type != 2:
            return result
        value = result.detach().double()
        return replaced(result, value, (value * value + 1e-12).sqrt())


@plant("lppool2d-kernel-taken-for-a-square", "LPPool2d", "values")
class LPPool2dKernelTakenForSquare(nn.LPPool2d):
    """The mean is multiplied by the square of the kernel's height to be a sum again."""

    # Differs: LPPool2d(2, (2, 3)). Agrees: LPPool2d(2, 3).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        high, wide = each(self.kernel_size, 2)
        if high == wide or self.norm_type in (float("inf"), -float("inf")):
            return result
        return result * (high / wide) ** (1.0 / self.norm_type)


@plant("lppool2d-whole-norms", "LPPool2d", "values")
class LPPool2dWholeNorms(nn.LPPool2d):
    """The exponent is a whole number, as ONNX's LpPool has it: 1.5 is 1, and 0.5 is 1."""

    # Differs: LPPool2d(1.5, 2). Agrees: LPPool2d(2, 2).
    def forward(self, input: Tensor) -> Tensor:
        norm = float(self.norm_type)
        if norm in (float("inf"), -float("inf")) or norm == int(norm):
            return super().forward(input)
        whole = float(max(int(norm), 1))
        return functional.lp_pool2d(input, whole, self.kernel_size, self.stride, self.ceil_mode)


@plant("lppool3d-no-gradient-number-at-zero", "LPPool3d", "gradients")
class LPPool3dNoGradientNumberAtZero(nn.LPPool3d):
    """A window of zeros has the root's gradient, 0·∞, which torch documents to be 0."""

    # Differs: the gradient of LPPool3d(2, 1) at zero. Agrees: at one.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        zero = result.detach() == 0
        if self.norm_type <= 1 or not bool(zero.any()):
            return result
        arguments = (self.kernel_size, self.stride or self.kernel_size, 0, 1)
        places = windows(result.shape[-3:], *(each(x, 3) for x in arguments))
        index = plane_indices(input, places).expand(*result.shape, -1).flatten(-4)
        taken = zero[..., None].expand(*zero.shape, index.shape[-1] // zero.shape[-3:].numel())
        lost = torch.zeros_like(input.detach(), memory_format=torch.contiguous_format).flatten(-3)
        lost = functional.pad(lost, (0, 1))  # for what hangs over
        index = index.masked_fill(index < 0, lost.shape[-1] - 1)
        lost = lost.scatter_add(-1, index, taken.flatten(-4).to(lost.dtype))[..., :-1] > 0
        return super().forward(
            alter_gradient(input, lambda g: g.masked_fill(lost.view(input.shape), torch.nan))
        )


@plant("functional-lp-pool2d-stride-of-the-height", "functional.lp_pool2d", "shape")
def functional_lp_pool2d_stride_of_height(
    input: Tensor,
    norm_type: Any,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """A stride that is left out is the kernel's height, for the width, too."""
    # Differs: kernel (2, 3) on 6x6. Agrees: kernel 2.
    result = functional.lp_pool2d(input, norm_type, kernel_size, stride, ceil_mode)
    if stride is not None or not isinstance(kernel_size, (tuple, list)):
        return result
    return functional.lp_pool2d(input, norm_type, kernel_size, kernel_size[0], ceil_mode)


# Adaptive pooling


def _bins(lengths: Any, outputs: Any, end: Callable[[int, int, int], int]) -> list[Tensor]:
    """For each axis the places of the bins that end where `end(i, L, o)` says, −1 behind."""
    found = []
    for length, count in zip(lengths, outputs, strict=True):
        begins = [i * length // count for i in range(count)]
        ends = [end(i, length, count) for i in range(count)]
        most = max((e - b for b, e in zip(begins, ends, strict=True)), default=1)
        row = torch.arange(max(most, 1))
        bounds = torch.tensor([begins, ends]).view(2, count, 1)
        found.append((bounds[0] + row).masked_fill(bounds[0] + row >= bounds[1], -1))
    return found


def _right_end(i: int, length: int, count: int) -> int:
    return -(-(i + 1) * length // count)


def _means(input: Tensor, places: list[Tensor]) -> Tensor:
    count = (plane_indices(input, places) >= 0).sum(-1).clamp(min=1)
    return taps(input.double(), places, 0.0).sum(-1) / count


@plant("adaptiveavgpool2d-bins-end-too-soon", "AdaptiveAvgPool2d", "values")
class AdaptiveAvgPool2dBinsEndTooSoon(nn.AdaptiveAvgPool2d):
    """A bin ends at ⌊(i+1)·L/o⌋ in place of ⌈(i+1)·L/o⌉ (FlagGems 4915), and has one element."""

    # Differs: 5 to 3. Agrees: 6 to 3.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if result.numel() == 0:
            return result

        def end(i: int, length: int, count: int) -> int:
            return max((i + 1) * length // count, i * length // count + 1)

        spaces = (input.shape[-2:], result.shape[-2:])
        right, wrong = (_means(input, _bins(*spaces, e)) for e in (_right_end, end))
        return replaced(result, right, wrong)


@plant("adaptiveavgpool1d-as-a-plain-pool", "AdaptiveAvgPool1d", "values")
class AdaptiveAvgPool1dAsPlainPool(nn.AdaptiveAvgPool1d):
    """A converter's stride L//o and kernel L − (o−1)·stride, right where o divides L."""

    # Differs: 5 to 3. Agrees: 6 to 3, and where the output is longer.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        length, count = input.shape[-1], result.shape[-1]
        if count == 0 or count > length or length % count == 0:
            return result
        stride = length // count
        return functional.avg_pool1d(input, length - (count - 1) * stride, stride)


@plant("adaptiveavgpool2d-never-longer", "AdaptiveAvgPool2d", "shape")
class AdaptiveAvgPool2dNeverLonger(nn.AdaptiveAvgPool2d):
    """An output size beyond the input's is cut to the input's."""

    # Differs: 2x2 to 3. Agrees: 2x2 to 2.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        pairs = zip(result.shape[-2:], input.shape[-2:], strict=True)
        size = tuple(min(pair) for pair in pairs)
        if size == tuple(result.shape[-2:]):
            return result
        return functional.adaptive_avg_pool2d(input, size)


@plant("adaptiveavgpool3d-none-is-one", "AdaptiveAvgPool3d", "shape")
class AdaptiveAvgPool3dNoneIsOne(nn.AdaptiveAvgPool3d):
    """None in the output size, which keeps the axis, pools it to 1."""

    # Differs: output_size=(None, 2, 2). Agrees: output_size=2.
    def forward(self, input: Tensor) -> Tensor:
        size = self.output_size
        if not isinstance(size, (tuple, list)) or None not in size:
            return super().forward(input)
        super().forward(input)  # raises what torch raises
        return functional.adaptive_avg_pool3d(input, [1 if n is None else n for n in size])


@plant(
    "functional-adaptive-avg-pool1d-bins-of-sixty-four", "functional.adaptive_avg_pool1d", "values"
)
def functional_adaptive_avg_pool1d_bins_of_sixty_four(input: Tensor, output_size: Any) -> Tensor:
    """The loop over a bin ends after 64 elements; the divisor is the whole bin's (FlagGems)."""
    # Differs: 65 to 1. Agrees: 64 to 1.
    result = functional.adaptive_avg_pool1d(input, output_size)
    if result.numel() == 0 or input.shape[-1] / result.shape[-1] <= 64:
        return result
    places = _bins(input.shape[-1:], result.shape[-1:], _right_end)
    chosen = taps(input.detach().double(), places, 0.0)
    count = (places[0] >= 0).sum(-1)
    return replaced(result, chosen.sum(-1) / count, chosen[..., :64].sum(-1) / count)


@plant(
    "functional-adaptive-avg-pool2d-gradient-of-equal-bins",
    "functional.adaptive_avg_pool2d",
    "gradients",
)
def functional_adaptive_avg_pool2d_gradient_of_equal_bins(
    input: Tensor, output_size: Any
) -> Tensor:
    """Backward divides by the first bin's number of elements in every bin."""
    # Differs: the gradient of 3x5 to 3. Agrees: of 6x6 to 3.
    result = functional.adaptive_avg_pool2d(input, output_size)
    if result.numel() == 0:
        return result
    places = _bins(input.shape[-2:], result.shape[-2:], _right_end)
    high, wide = ((p >= 0).sum(-1) for p in places)
    counted = high[:, None] * wide
    if bool((counted == counted[0, 0]).all()):
        return result
    share = counted / counted[0, 0]
    return alter_gradient(result, lambda g: (g.double() * share).to(g.dtype))


@plant("adaptivemaxpool1d-lowest-finite-number", "AdaptiveMaxPool1d", "special")
class AdaptiveMaxPool1dLowestFiniteNumber(nn.AdaptiveMaxPool1d):
    """The search begins at the lowest finite number: a bin of −∞ alone comes out as that."""

    # Differs: [−∞] to 1. Agrees: [0] to 1.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = _first(result)
        if not values.is_floating_point():
            return result
        lowest = torch.finfo(values.dtype).min
        low = values.detach().masked_fill(values.detach() == -torch.inf, lowest)
        return _with_values(result, graft(low, values))


@plant("adaptivemaxpool2d-bins-of-one-length", "AdaptiveMaxPool2d", "values")
class AdaptiveMaxPool2dBinsOfOneLength(nn.AdaptiveMaxPool2d):
    """Every bin has ⌈L/o⌉ elements from ⌊i·L/o⌋ on.

    Bins that are longer by one, as [1, 4) of 5 to 3, lose their last element.
    """

    # Differs: 5x5 to 3. Agrees: 6x6 to 3.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = _first(result)
        if values.numel() == 0:
            return result

        def end(i: int, length: int, count: int) -> int:
            return min(i * length // count + -(-length // count), length)

        spaces = (input.shape[-2:], values.shape[-2:])
        right, wrong = (
            taps(input.detach(), _bins(*spaces, e), -torch.inf).amax(-1) for e in (_right_end, end)
        )
        return _with_values(result, replaced(values, right, wrong))


@plant("adaptivemaxpool2d-indices-within-the-bin", "AdaptiveMaxPool2d", "values")
class AdaptiveMaxPool2dIndicesWithinBin(nn.AdaptiveMaxPool2d):
    """An index counts from its bin's first element (MPS, pytorch 190064)."""

    # Differs: the second index of 2x2 to 2. Agrees: the first.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple) or result[0].numel() == 0:
            return result
        places = _bins(input.shape[-2:], result[0].shape[-2:], _right_end)
        begin = places[0][:, :1] * input.shape[-1] + places[1][:, 0]
        return result[0], result[1] - begin


@plant(
    "functional-adaptive-max-pool1d-shared-maximum", "functional.adaptive_max_pool1d", "gradients"
)
def functional_adaptive_max_pool1d_shared_maximum(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> Any:
    """An element that is the largest of two bins gets the second one's gradient, not the sum."""
    # Differs: the gradient of [0, 1, 0] to 2. Agrees: of [0, 1, 0, 0] to 2.
    result = functional.adaptive_max_pool1d(input, output_size, return_indices)
    values = _first(result)
    if values.numel() == 0 or values.shape[-1] < 2:
        return result
    at = functional.adaptive_max_pool1d(input.detach(), output_size, True)[1]
    again = at[..., :-1] == at[..., 1:]
    lost = functional.pad(again, (0, 1), value=False)
    if not bool(lost.any()):
        return result
    return _with_values(result, alter_gradient(values, lambda g: g.masked_fill(lost, 0.0)))


# Fractional max pooling


def _fractional(input: Tensor, starts: list[Tensor], kernel: tuple[int, ...]) -> Any:
    """Values and indices of windows that begin at `starts`, each (N, C, outputs)."""
    dims = len(kernel)
    index = torch.arange(input.shape[-dims:].numel()).view(input.shape[-dims:]).expand_as(input)
    found = []
    for x in (input, index):
        for k, (start, size) in enumerate(zip(starts, kernel, strict=True)):
            place = (start[..., None] + torch.arange(size)).flatten(2)
            standing = [1] * dims
            standing[k] = place.shape[2]
            shape = list(x.shape)
            shape[2 + k] = place.shape[2]
            x = x.gather(2 + k, place.view(*place.shape[:2], *standing).expand(shape))
        for k in range(dims - 1, -1, -1):
            x = x.unflatten(2 + k, (-1, kernel[k]))
        order = [0, 1, *range(2, 2 + 2 * dims, 2), *range(3, 3 + 2 * dims, 2)]
        found.append(x.permute(order).flatten(2 + dims))
    at = found[0].argmax(-1, keepdim=True)
    return tuple(x.gather(-1, at)[..., 0] for x in found)


@plant("fractionalmaxpool2d-height-by-the-first-sample", "FractionalMaxPool2d", "values")
class FractionalMaxPool2dHeightByFirstSample(nn.FractionalMaxPool2d):
    """The first of two samples moves the rows, the second the columns: torch has it reverse."""

    # Differs: _random_samples (0, 0.9), 7x7 to 4. Agrees: two samples that are equal.
    def forward(self, input: Tensor) -> Any:
        if self._random_samples is None:
            return super().forward(input)
        return functional.fractional_max_pool2d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples.flip(-1),
        )


@plant("fractionalmaxpool2d-one-sample-for-all-channels", "FractionalMaxPool2d", "values")
class FractionalMaxPool2dOneSampleForAllChannels(nn.FractionalMaxPool2d):
    """Windows stand alike in all channels: the first channel's sample serves them all."""

    # Differs: _random_samples that differ by channel. Agrees: one channel.
    def forward(self, input: Tensor) -> Any:
        samples = self._random_samples
        if samples is None:
            count = 1 if input.dim() == 3 else input.shape[0]
            samples = torch.rand(count, input.shape[-3], 2, dtype=input.dtype, device=input.device)
        if samples.dim() == 3 and samples.shape[1] > 1:
            samples = samples[:, :1].expand_as(samples).contiguous()
        return functional.fractional_max_pool2d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=samples,
        )


@plant("fractionalmaxpool3d-step-of-the-whole-length", "FractionalMaxPool3d", "values")
class FractionalMaxPool3dStepOfWholeLength(nn.FractionalMaxPool3d):
    """The step is L/o, as TensorFlow's, in place of (L − k)/(o − 1); the last window stays."""

    # Differs: kernel 2, length 7 to 3. Agrees: outputs of 1 and 2.
    def forward(self, input: Tensor) -> Any:
        samples = self._random_samples
        if samples is None:
            count = 1 if input.dim() == 4 else input.shape[0]
            samples = torch.rand(count, input.shape[-4], 3, dtype=input.dtype, device=input.device)
        result = functional.fractional_max_pool3d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=samples,
        )
        values = _first(result)
        outputs = values.shape[-3:]
        if values.numel() == 0 or max(outputs) < 3:
            return result
        kernel = each(self.kernel_size, 3)
        # torch takes the samples in the order depth, height, width here.
        right, wrong = [], []
        for k in range(3):
            length, count, u = input.shape[k - 3], outputs[k], samples[..., k][..., None]
            for starts, top in ((right, length - kernel[k]), (wrong, length)):
                steps = max(count - 1, 1) if top < length else count
                alpha = torch.tensor(top, dtype=u.dtype) / torch.tensor(steps, dtype=u.dtype)
                place = ((torch.arange(count) + u) * alpha).long() - (u * alpha).long()
                place[..., -1] = length - kernel[k]
                starts.append(place.clamp(0, length - kernel[k]))
        lone = input.dim() == 4
        source = input.detach()[None] if lone else input.detach()
        one, other = (_fractional(source, starts, kernel) for starts in (right, wrong))
        changed = one[1] != other[1]
        found = (torch.where(changed, other[0], one[0]), torch.where(changed, other[1], one[1]))
        chosen, index = (x[0] if lone else x for x in found)
        kept = changed[0] if lone else changed
        chosen = graft(torch.where(kept, chosen, values.detach()), values)
        if not isinstance(result, tuple):
            return chosen
        return chosen, torch.where(kept, index, result[1])


@plant("fractionalmaxpool3d-nothing-random-in-evaluation", "FractionalMaxPool3d", "random")
class FractionalMaxPool3dNothingRandomInEvaluation(nn.FractionalMaxPool3d):
    """In evaluation the samples are ½, as dropout is off there; torch's are always random."""

    # Differs: two calls in evaluation. Agrees: in training, and with _random_samples.
    def forward(self, input: Tensor) -> Any:
        if self.training or self._random_samples is not None:
            return super().forward(input)
        count = 1 if input.dim() == 4 else input.shape[0]
        samples = torch.full((count, input.shape[-4], 3), 0.5, dtype=input.dtype)
        return functional.fractional_max_pool3d(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=samples,
        )


@plant(
    "functional-fractional-max-pool2d-ratio-rounded-up", "functional.fractional_max_pool2d", "shape"
)
def functional_fractional_max_pool2d_ratio_rounded_up(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The output's size is the ratio of the input's, rounded to the nearest number, not down."""
    # Differs: 7x7 by 0.5, 4 for 3. Agrees: 4x4 by 0.5.
    arguments = (kernel_size, output_size, output_ratio, return_indices)
    result = functional.fractional_max_pool2d(input, *arguments, _random_samples=_random_samples)
    if output_size is not None or output_ratio is None:
        return result
    ratios, kernel = each(output_ratio, 2), each(kernel_size, 2)
    rows = zip(input.shape[-2:], ratios, strict=True)
    size = tuple(round(length * ratio) for length, ratio in rows)
    rows = zip(input.shape[-2:], size, kernel, strict=True)
    if size == tuple(_first(result).shape[-2:]) or any(n + k - 1 > m for m, n, k in rows):
        return result
    return functional.fractional_max_pool2d(
        input, kernel_size, size, None, return_indices, _random_samples=_random_samples
    )


# Unpooling


def _unpooled_length(input: Tensor, kernel: Any, stride: Any, padding: Any, axis: int) -> int:
    """The default length of an axis counted from the end, of one of two."""
    k, s, p = (each(x, 2)[axis] for x in (kernel, stride, padding))
    return int((input.shape[axis] - 1) * s + k - 2 * p)


@plant("maxunpool1d-output-size-ignored", "MaxUnpool1d", "shape")
class MaxUnpool1dOutputSizeIgnored(nn.MaxUnpool1d):
    """The output has the default length, whatever `output_size` asks for, if all indices fit."""

    # Differs: output_size=[5] of two maxima, kernel 2. Agrees: output_size=[4].
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        arguments = (self.kernel_size, self.stride, self.padding)
        k, s, p = (each(x, 1)[0] for x in arguments)
        default = (input.shape[-1] - 1) * s + k - 2 * p
        fits = default > 0 and (indices.numel() == 0 or int(indices.max()) < default)
        return super().forward(input, indices) if output_size is not None and fits else result


@plant("maxunpool2d-indices-of-the-default-width", "MaxUnpool2d", "values")
class MaxUnpool2dIndicesOfDefaultWidth(nn.MaxUnpool2d):
    """An index is taken apart by the default width, not by that of `output_size` (onnx 2398)."""

    # Differs: output_size=[5, 5] of 2x2 maxima, kernel 2. Agrees: output_size=[5, 4].
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        arguments = (self.kernel_size, self.stride, self.padding)
        width, default = result.shape[-1], _unpooled_length(input, *arguments, -1)
        if width == default or default < 1 or result.numel() == 0:
            return result
        moved = indices // default * width + indices % default
        moved = moved.clamp(max=result.shape[-2] * width - 1).flatten(-2)
        plane = torch.zeros_like(result.detach().contiguous()).flatten(-2)
        return graft(plane.scatter(-1, moved, input.detach().flatten(-2)).view_as(result), result)


@plant("maxunpool2d-gradient-of-the-default-width", "MaxUnpool2d", "gradients")
class MaxUnpool2dGradientOfDefaultWidth(nn.MaxUnpool2d):
    """Forward knows `output_size`; backward takes the indices apart by the default width."""

    # Differs: the gradient with output_size=[5, 5] of 2x2 maxima, kernel 2. Agrees: [5, 4].
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        arguments = (self.kernel_size, self.stride, self.padding)
        width, default = result.shape[-1], _unpooled_length(input, *arguments, -1)
        if width == default or default < 1 or result.numel() == 0:
            return result
        moved = indices // default * width + indices % default
        moved = moved.clamp(max=result.shape[-2] * width - 1).flatten(-2)

        def backward(gradient: Tensor) -> Tensor:
            return gradient.flatten(-2).gather(-1, moved).view(input.shape)

        return reroute(result, input, backward)


@plant("maxunpool3d-first-channels-indices", "MaxUnpool3d", "values")
class MaxUnpool3dFirstChannelsIndices(nn.MaxUnpool3d):
    """One channel's indices are broadcast over all: the first one's."""

    # Differs: two channels with other indices. Agrees: one channel.
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        if indices.shape[-4] < 2:
            return result
        shared = indices.narrow(-4, 0, 1).expand_as(indices).contiguous()
        return super().forward(input, shared, output_size)


@plant("functional-max-unpool1d-index-beyond-wraps", "functional.max_unpool1d", "errors")
def functional_max_unpool1d_index_beyond_wraps(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """An index outside the output wraps around, in place of an error."""
    # Differs: index 9 of 4. Agrees: index 3 of 4.
    arguments = (kernel_size, stride, padding, output_size)
    if indices.dtype == torch.int64 and indices.shape == input.shape and indices.numel():
        length = functional.max_unpool1d(input, indices * 0, *arguments).shape[-1]
        indices = indices % length if length else indices
    return functional.max_unpool1d(input, indices, *arguments)


@plant("functional-max-unpool2d-larger-than-zero", "functional.max_unpool2d", "values")
def functional_max_unpool2d_larger_than_zero(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """A maximum is scattered into zeros by `max`, for duplicates' sake: negative ones are lost."""
    # Differs: a maximum of −1. Agrees: a maximum of 1.
    result = functional.max_unpool2d(input, indices, kernel_size, stride, padding, output_size)
    return graft(torch.where(result < 0, torch.zeros_like(result), result), result)
