"""Poolings that add up windows in the dtype itself, or by differences of running sums."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import nn
from torch.nn import functional

from planted.bug import graft, plant

HALF = (torch.float16, torch.bfloat16)
# The sums of up to so many elements are right.
FEW = 32
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d}


def per_axis(size, dims):
    """One size for each dimension."""
    return (size,) * dims if isinstance(size, int) else tuple(size) * (dims // len(size))


def _padded(input, kernel, stride, padding, outputs):
    """The input with zeros around it, as far as the last window reaches."""
    lengths = input.shape[-len(kernel) :]
    rows = zip(kernel, stride, padding, outputs, lengths, strict=True)
    widths = [(p, max((o - 1) * s + k - p - n, 0)) for k, s, p, o, n in rows]
    return functional.pad(input, [width for pair in reversed(widths) for width in pair])


def _stored_sums(input, kernel, stride, padding, outputs):
    """Each window's sum, element by element, in the dtype of the input."""
    padded = _padded(input, kernel, stride, padding, outputs)
    total = None
    for tap in product(*(range(k) for k in kernel)):
        places = [
            slice(t, t + (o - 1) * s + 1, s) for t, s, o in zip(tap, stride, outputs, strict=True)
        ]
        part = padded[(..., *places)]
        total = part if total is None else total + part
    return total


def _running_sums(input, kernel, stride, padding, outputs):
    """Each window's sum, dimension by dimension, as a difference of two sums from the beginning."""
    total = _padded(input, kernel, stride, padding, outputs)
    for axis, (k, s, o) in enumerate(zip(kernel, stride, outputs, strict=True), -len(kernel)):
        sums = functional.pad(total.movedim(axis, -1).cumsum(-1), (1, 0))
        starts = torch.arange(o) * s
        total = (sums[..., starts + k] - sums[..., starts]).movedim(-1, axis)
    return total


def _average(dims, add, input, y, kernel_size, stride, padding, *rest):
    """The averages of windows whose sums are added up wrongly, with torch's divisors."""
    kernel = per_axis(kernel_size, dims)
    steps = kernel if stride in (None, ()) else per_axis(stride, dims)
    numbers = kernel, steps, per_axis(padding, dims), y.shape[-dims:]
    ones = torch.ones(1, *input.shape[-dims:], dtype=torch.float64)
    means = _AVERAGE[dims](ones, kernel, steps, numbers[2], *rest)
    divisors = _stored_sums(ones, *numbers) / means
    return graft((add(input.detach(), *numbers) / divisors).to(y.dtype), y)


def _is_many(input, kernel_size, dims):
    return input.dtype in HALF and math.prod(per_axis(kernel_size, dims)) > FEW


@plant("avg-pool2d-many-added-up-in-half", "AvgPool2d", "values")
class AvgPool2dManyAddedUpInHalf(nn.AvgPool2d):
    """In half precision windows of more than 32 elements are added up in half precision."""

    def forward(self, input):
        y = super().forward(input)
        if not y.numel() or not _is_many(input, self.kernel_size, 2):
            return y
        rest = self.ceil_mode, self.count_include_pad, self.divisor_override
        numbers = self.kernel_size, self.stride, self.padding
        return _average(2, _stored_sums, input, y, *numbers, *rest)


@plant("avg-pool1d-many-added-up-in-half", "AvgPool1d", "values")
class AvgPool1dManyAddedUpInHalf(nn.AvgPool1d):
    """In half precision windows of more than 32 elements are added up in half precision."""

    def forward(self, input):
        y = super().forward(input)
        if not y.numel() or not _is_many(input, self.kernel_size, 1):
            return y
        rest = self.ceil_mode, self.count_include_pad
        numbers = self.kernel_size, self.stride, self.padding
        return _average(1, _stored_sums, input, y, *numbers, *rest)


@plant("functional-avg-pool1d-running-sums", "functional.avg_pool1d", "values")
def functional_avg_pool1d_running_sums(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
):
    """A window's sum is a difference of two running sums, as fast for long windows as for short."""
    rest = ceil_mode, count_include_pad
    y = functional.avg_pool1d(input, kernel_size, stride, padding, *rest)
    if not y.numel():
        return y
    wide = input if input.dtype == torch.float64 else input.float()
    return _average(1, _running_sums, wide, y, kernel_size, stride, padding, *rest)


@plant("functional-avg-pool2d-summed-area-table", "functional.avg_pool2d", "values")
def functional_avg_pool2d_summed_area_table(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
    divisor_override=None,
):  # fmt: skip
    """A window's sum is that of four corners of a table of sums, as in a box filter."""
    rest = ceil_mode, count_include_pad, divisor_override
    y = functional.avg_pool2d(input, kernel_size, stride, padding, *rest)
    if not y.numel():
        return y
    wide = input if input.dtype == torch.float64 else input.float()
    return _average(2, _running_sums, wide, y, kernel_size, stride, padding, *rest)


@plant("lp-pool2d-running-sums", "LPPool2d", "values")
class LPPool2dRunningSums(nn.LPPool2d):
    """The sum of a window's powers is a difference of running sums."""

    def forward(self, input):
        y, p = super().forward(input), self.norm_type
        kernel = per_axis(self.kernel_size, 2)
        stride = kernel if self.stride in (None, ()) else per_axis(self.stride, 2)
        rows = list(zip(input.shape[-2:], kernel, stride, strict=True))
        # Where a window exceeds the input torch has an answer of its own.
        exceeds = self.ceil_mode and any((n - k) % s for n, k, s in rows)
        if not y.numel() or p == math.inf or exceeds:
            return y
        wide = input.detach() if input.dtype == torch.float64 else input.detach().float()
        sums = _running_sums(wide.pow(p), kernel, stride, (0, 0), y.shape[-2:])
        return graft(sums.abs().pow(1 / p).to(y.dtype), y)


def _regions(length, outputs):
    return [(i * length // outputs, -(-(i + 1) * length // outputs)) for i in range(outputs)]


@plant("functional-adaptive-avg-pool1d-many-added-up-in-half", "functional.adaptive_avg_pool1d",
       "values")  # fmt: skip
def functional_adaptive_avg_pool1d_many_added_up_in_half(input, output_size):
    """In half precision regions of more than 32 elements are added up in half precision."""
    y = functional.adaptive_avg_pool1d(input, output_size)
    if input.dtype not in HALF or not y.numel():
        return y
    bounds = _regions(input.shape[-1], y.shape[-1])
    if max(b - a for a, b in bounds) <= FEW:
        return y
    totals = []
    for a, b in bounds:
        total = torch.zeros_like(input[..., 0])
        for part in input[..., a:b].unbind(-1):
            total = total + part
        totals.append(total / (b - a))
    return graft(torch.stack(totals, -1), y)


@plant("adaptive-avg-pool1d-running-sums", "AdaptiveAvgPool1d", "values")
class AdaptiveAvgPool1dRunningSums(nn.AdaptiveAvgPool1d):
    """A region's sum is a difference of two running sums."""

    def forward(self, input):
        y = super().forward(input)
        if not y.numel():
            return y
        wide = input.detach() if input.dtype == torch.float64 else input.detach().float()
        sums = functional.pad(wide.cumsum(-1), (1, 0))
        means = [(sums[..., b] - sums[..., a]) / (b - a)
                 for a, b in _regions(input.shape[-1], y.shape[-1])]  # fmt: skip
        return graft(torch.stack(means, -1).to(y.dtype), y)
