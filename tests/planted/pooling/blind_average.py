"""Bugs of average and power-average pooling, written without sight of the checks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, read_as_contiguous
from planted.several.blind_parts import (
    module_window_positions,
    per_axis,
    plane_indices,
    substitute_wrong,
    window_positions,
    window_values,
)


@blind("avgpool1d-overhang-in-the-divisor", "AvgPool1d", "values")
class AvgPool1dOverhangInDivisor(nn.AvgPool1d):
    """With the padding counted the divisor is the kernel, overhang and all (tract 2851)."""

    # Differs: AvgPool1d(2, ceil_mode=True) on length 5. Agrees: on length 4.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not (self.ceil_mode and self.count_include_pad):
            return result
        (places,) = module_window_positions(self, result)
        padding = per_axis(self.padding, 1)[0]
        counts = ((places >= -padding) & (places < input.shape[-1] + padding)).sum(-1)
        if bool((counts == places.shape[1]).all()):
            return result
        ratio = (counts / places.shape[1]).to(result.dtype)
        return result * torch.where(ratio == 1, torch.ones_like(ratio), ratio)


@blind("avgpool1d-added-up-in-half", "AvgPool1d", "values")
class AvgPool1dAddedUpInHalf(nn.AvgPool1d):
    """In half precision the sum is kept in half precision: of 512 ones bfloat16 counts 256.

    cubek 639. Kernels of two or three differ by little; those of 16 do.
    """

    # Differs: AvgPool1d(16) of bfloat16. Agrees: float32.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.dtype not in (torch.float16, torch.bfloat16):
            return result
        (places,) = module_window_positions(self, result)
        chosen = window_values(input.detach(), [places], 0.0)
        total = torch.zeros_like(chosen[..., 0])
        for k in range(chosen.shape[-1]):
            total = total + chosen[..., k]
        length, padding = input.shape[-1], per_axis(self.padding, 1)[0]
        counted_padding = padding if self.count_include_pad else 0
        counts = ((places >= -counted_padding) & (places < length + counted_padding)).sum(-1)
        return graft(total / counts.to(total.dtype), result)


@blind("avgpool1d-by-running-sums", "AvgPool1d", "special")
class AvgPool1dByRunningSums(nn.AvgPool1d):
    """Windows are differences of a running sum: NaN, once met, does not leave the row again.

    A box filter's trick; ∞ − ∞ does the same to infinities.
    """

    # Differs: AvgPool1d(1) of [nan, 1]. Agrees: of finite rows.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not result.is_floating_point():
            return result
        (places,) = module_window_positions(self, result)
        odd = (~input.detach().isfinite()).cumsum(-1) > 0
        start = places[:, 0].clamp(0, input.shape[-1]) - 1
        before = odd.index_select(-1, start.clamp(min=0)) & (start >= 0)
        return graft(result.detach().masked_fill(before, torch.nan), result)


@blind("avgpool2d-override-needs-counted-padding", "AvgPool2d", "values")
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


@blind("avgpool2d-gradient-divided-by-the-kernel", "AvgPool2d", "gradients")
class AvgPool2dGradientDividedByKernel(nn.AvgPool2d):
    """Forward divides by the elements that count, backward by the kernel (cf. pytorch 198119)."""

    # Differs: the gradient of AvgPool2d(3, 1, 1, count_include_pad=False). Agrees: padding=0.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.divisor_override is not None:
            return result
        places = module_window_positions(self, result)
        pads = [0, 0] if not self.count_include_pad else per_axis(self.padding, 2)
        lengths = zip(places, input.shape[-2:], pads, strict=True)
        height, width = (((p >= -r) & (p < n + r)).sum(-1) for p, n, r in lengths)
        counts = height[:, None] * width
        kernel_size = places[0].shape[1] * places[1].shape[1]
        if bool((counts == kernel_size).all()):
            return result
        return alter_gradient(result, lambda g: (g.double() * counts / kernel_size).to(g.dtype))


@blind("avgpool2d-channels-last-of-five", "AvgPool2d", "layout")
class AvgPool2dChannelsLastOfFive(nn.AvgPool2d):
    """In channels_last four channels go at a time; what is left over is read as contiguous."""

    # Differs: (1, 5, 3, 3) in channels_last. Agrees: (1, 4, 3, 3).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        channels = input.shape[-3]
        last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
        if not last or input.is_contiguous() or channels % 4 == 0:
            return result
        wrong = super().forward(read_as_contiguous(input))
        in_full_block = (torch.arange(channels) < channels // 4 * 4)[:, None, None]
        return graft(torch.where(in_full_block, result.detach(), wrong.detach()), result)


@blind("avgpool3d-rounded-up-counts-no-padding", "AvgPool3d", "values")
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


@blind("functional-avg-pool1d-trailing-padding-counted", "functional.avg_pool1d", "values")
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
    (places,) = window_positions(result.shape[-1:], *(per_axis(x, 1) for x in arguments))
    length, counted_padding = input.shape[-1], per_axis(padding, 1)[0]
    right = ((places >= 0) & (places < length)).sum(-1)
    wrong = ((places >= 0) & (places < length + counted_padding)).sum(-1)
    ratio = (right / wrong).to(result.dtype)
    return torch.where(right == wrong, result, result * ratio)


@blind("functional-avg-pool2d-rows-and-columns-counted-alike", "functional.avg_pool2d", "values")
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
    places = window_positions(result.shape[-2:], *(per_axis(x, 2) for x in arguments))
    rows = ((places[0] >= 0) & (places[0] < input.shape[-2])).sum(-1)
    ratio = (rows / rows[:1]).to(result.dtype)[:, None]
    return torch.where(ratio == 1, result, result * ratio)


@blind("functional-avg-pool3d-override-of-one", "functional.avg_pool3d", "values")
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


@blind("lppool1d-sum-of-absolute-values", "LPPool1d", "values")
class LPPool1dSumOfAbsoluteValues(nn.LPPool1d):
    """With `norm_type=1` magnitudes are added, as by ONNX's LpPool, not the numbers."""

    # Differs: norm_type=1 on negative numbers. Agrees: norm_type=2.
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.abs() if self.norm_type == 1 else input)


@blind("lppool1d-root-kept-off-zero", "LPPool1d", "values")
class LPPool1dRootKeptOffZero(nn.LPPool1d):
    """1e-12 is added under the root, so that its gradient is finite: windows of zeros give 1e-6."""

    # Differs: norm_type=2 on zeros. Agrees: on numbers near 1, in float32.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.norm_type != 2:
            return result
        value = result.detach().double()
        return substitute_wrong(result, value, (value * value + 1e-12).sqrt())


@blind("lppool2d-kernel-taken-for-a-square", "LPPool2d", "values")
class LPPool2dKernelTakenForSquare(nn.LPPool2d):
    """The mean is multiplied by the square of the kernel's height to be a sum again."""

    # Differs: LPPool2d(2, (2, 3)). Agrees: LPPool2d(2, 3).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        height, width = per_axis(self.kernel_size, 2)
        if height == width or self.norm_type in (float("inf"), -float("inf")):
            return result
        return result * (height / width) ** (1.0 / self.norm_type)


@blind("lppool2d-whole-norms", "LPPool2d", "values")
class LPPool2dWholeNorms(nn.LPPool2d):
    """The exponent is a whole number, as ONNX's LpPool has it: 1.5 is 1, and 0.5 is 1."""

    # Differs: LPPool2d(1.5, 2). Agrees: LPPool2d(2, 2).
    def forward(self, input: Tensor) -> Tensor:
        norm = float(self.norm_type)
        if norm in (float("inf"), -float("inf")) or norm == int(norm):
            return super().forward(input)
        rounded_norm = float(max(int(norm), 1))
        return functional.lp_pool2d(
            input, rounded_norm, self.kernel_size, self.stride, self.ceil_mode
        )


@blind("lppool3d-no-gradient-number-at-zero", "LPPool3d", "gradients")
class LPPool3dNoGradientNumberAtZero(nn.LPPool3d):
    """A window of zeros has the root's gradient, 0·∞, which torch documents to be 0."""

    # Differs: the gradient of LPPool3d(2, 1) at zero. Agrees: at one.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        zero = result.detach() == 0
        if self.norm_type <= 1 or not bool(zero.any()):
            return result
        arguments = (self.kernel_size, self.stride or self.kernel_size, 0, 1)
        places = window_positions(result.shape[-3:], *(per_axis(x, 3) for x in arguments))
        index = plane_indices(input, places).expand(*result.shape, -1).flatten(-4)
        index_of_zero = zero[..., None].expand(
            *zero.shape, index.shape[-1] // zero.shape[-3:].numel()
        )
        nan_mask = torch.zeros_like(input.detach(), memory_format=torch.contiguous_format).flatten(
            -3
        )
        nan_mask = functional.pad(nan_mask, (0, 1))  # for what hangs over
        index = index.masked_fill(index < 0, nan_mask.shape[-1] - 1)
        nan_mask = (
            nan_mask.scatter_add(-1, index, index_of_zero.flatten(-4).to(nan_mask.dtype))[..., :-1]
            > 0
        )
        return super().forward(
            alter_gradient(input, lambda g: g.masked_fill(nan_mask.view(input.shape), torch.nan))
        )


@blind("functional-lp-pool2d-stride-of-the-height", "functional.lp_pool2d", "shape")
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
