"""AvgPool1d to AvgPool3d, and their functions."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


def _per_axis(size, dims):
    return (
        (size,) * dims if isinstance(size, int) else tuple(size) * (dims if len(size) == 1 else 1)
    )


def _count_taps(input, output, kernel, stride, padding, dims):
    """How many taps of each window lie in the padded input, and how many it has."""
    numbers = [_per_axis(x, dims) for x in (kernel, kernel if stride is None else stride, padding)]
    counts = torch.ones((1,) * dims)
    rows = zip(input.shape[-dims:], output.shape[-dims:], *numbers, strict=True)
    for d, (length, outputs, k, s, p) in enumerate(rows):
        places = torch.arange(outputs)[:, None] * s - p + torch.arange(k)
        tap_counts = (places < length + p).sum(1)
        counts = counts * tap_counts.reshape(*(-1 if j == d else 1 for j in range(dims)))
    return counts, math.prod(numbers[0])


@plant("avg-pool2d-overhang-counted", "AvgPool2d", "values")
class AvgPool2dOverhangCounted(nn.AvgPool2d):
    """What a window goes off-bounds with ceil_mode counts in the divisor (onnx 4958)."""

    def forward(self, input):
        y = super().forward(input)
        if not (self.ceil_mode and self.count_include_pad) or self.divisor_override is not None:
            return y
        counts, size = _count_taps(input, y, self.kernel_size, self.stride, self.padding, 2)
        return y * (counts / size).to(y.dtype)


@plant("avg-pool3d-divisor-ignored", "AvgPool3d", "values")
class AvgPool3dDivisorIgnored(nn.AvgPool3d):
    """divisor_override is ignored (executorch 18616)."""

    def forward(self, input):
        return functional.avg_pool3d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad,
        )  # fmt: skip


@plant("functional-avg-pool2d-padding-never-counts", "functional.avg_pool2d", "values")
def functional_avg_pool2d_padding_never_counts(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, **options
):
    """The divisor is the number of elements in the input, whatever count_include_pad says."""
    return functional.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, False, **options)


@plant("functional-avg-pool2d-negative-divisor", "functional.avg_pool2d", "values")
def functional_avg_pool2d_negative_divisor(input, *args, **options):
    """A divisor is taken for a size, which has no sign."""
    divisor = options.pop("divisor_override", None)
    divisor = divisor if divisor is None else abs(divisor)
    return functional.avg_pool2d(input, *args, divisor_override=divisor, **options)


@plant("avg-pool1d-half-accumulator", "AvgPool1d", "values")
class AvgPool1dHalfAccumulator(nn.AvgPool1d):
    """In half precision the sum is kept in half precision (cubek 639)."""

    def forward(self, input):
        y = super().forward(input)
        if input.dtype not in (torch.bfloat16, torch.float16) or self.padding[0] or self.ceil_mode:
            return y
        total = torch.zeros_like(y)
        for k in range(self.kernel_size[0]):
            total = total + input[..., k :: self.stride[0]][..., : y.shape[-1]]
        return graft(total.detach() / self.kernel_size[0], y)


@plant("avg-pool2d-gradient-of-the-whole-window", "AvgPool2d", "gradients")
class AvgPool2dGradientOfTheWholeWindow(nn.AvgPool2d):
    """Backward divides by the kernel's size where a window goes off-bounds (pytorch 198119)."""

    def forward(self, input):
        y = super().forward(input)
        if not self.ceil_mode or self.divisor_override is not None:
            return y
        counts, size = _count_taps(input, y, self.kernel_size, self.stride, self.padding, 2)
        return alter_gradient(y, lambda g: g * (counts / size).to(g.dtype))


@plant("functional-avg-pool1d-window-beyond-the-input", "functional.avg_pool1d", "shape")
def functional_avg_pool1d_window_beyond_the_input(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
):
    """With ceil_mode a window that starts in the right padding counts (rten 1456)."""
    y = functional.avg_pool1d(input, kernel_size, stride, padding, ceil_mode, count_include_pad)
    kernel, padding = _per_axis(kernel_size, 1)[0], _per_axis(padding, 1)[0]
    stride = kernel if stride is None else _per_axis(stride, 1)[0]
    outputs = -(-(input.shape[-1] + 2 * padding - kernel) // stride) + 1
    return functional.pad(y, (0, outputs - y.shape[-1])) if ceil_mode else y


@plant("avg-pool1d-nan-counts-as-zero", "AvgPool1d", "special")
class AvgPool1dNanCountsAsZero(nn.AvgPool1d):
    """NaN is left out of the sum."""

    def forward(self, input):
        return super().forward(torch.where(input.isnan(), torch.zeros_like(input), input))


@plant("avg-pool2d-square-of-the-height", "AvgPool2d", "values")
class AvgPool2dSquareOfTheHeight(nn.AvgPool2d):
    """The kernel's size is its height squared."""

    def forward(self, input):
        y, (height, width) = super().forward(input), _per_axis(self.kernel_size, 2)
        if self.divisor_override is not None or not self.count_include_pad:
            return y
        return y * (width / height)


@plant("avg-pool2d-channels-last-read-as-contiguous", "AvgPool2d", "layout")
class AvgPool2dChannelsLastReadAsContiguous(nn.AvgPool2d):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("functional-avg-pool3d-blocks-of-planes-repeated", "functional.avg_pool3d", "laws")
def functional_avg_pool3d_blocks_of_planes_repeated(input, *args, **options):
    """Planes are computed 33 at a time, and each block stores what the first one holds."""
    y = functional.avg_pool3d(input, *args, **options)
    return y.index_select(-4, torch.arange(input.shape[-4]) % 33)


@plant("functional-avg-pool1d-stride-one", "functional.avg_pool1d", "shape")
def functional_avg_pool1d_stride_one(input, kernel_size, stride=None, *args, **options):
    """A stride that is left out is 1, as of a convolution."""
    return functional.avg_pool1d(input, kernel_size, 1 if stride is None else stride, *args,
                                 **options)  # fmt: skip


@plant("avg-pool3d-depth-by-the-width", "AvgPool3d", "values")
class AvgPool3dDepthByTheWidth(nn.AvgPool3d):
    """The windows of the depth are those of the width, turned round, where that fits."""

    def forward(self, input):
        right = super().forward(input)
        reordered = [_per_axis(x, 3)[::-1] for x in (self.kernel_size, self.stride, self.padding)]
        try:
            wrong = functional.avg_pool3d(
                input, *reordered, self.ceil_mode, self.count_include_pad, self.divisor_override
            )
        except RuntimeError:
            return right
        return wrong if wrong.shape == right.shape else right
