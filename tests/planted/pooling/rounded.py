"""Adaptive and fractional pooling whose bounds and sizes are computed in floating point."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from planted.bug import graft, plant, reroute


def _numbers(value, dims):
    return list(value) if isinstance(value, (tuple, list)) else [value] * dims


def _wrong_pool(input, starts_and_ends, reduce):
    """One number of each region, of a region for each combination of bounds."""
    dims = len(starts_and_ends)
    parts = [
        reduce(input[(..., *(slice(a, b) for a, b in bounds))].flatten(-dims), -1)
        for bounds in product(*starts_and_ends)
    ]
    return torch.stack(parts, -1).unflatten(-1, [len(bounds) for bounds in starts_and_ends])


def _exact(length, outputs):
    return [(i * length // outputs, -(-(i + 1) * length // outputs)) for i in range(outputs)]


def _start_of_a_quotient(length, outputs):
    step = length / outputs
    return [(int(i * step), end) for i, (_, end) in enumerate(_exact(length, outputs))]


def _end_in_float32(length, outputs):
    step = np.float32(length) / np.float32(outputs)
    ends = [min(math.ceil(np.float32(i + 1) * step), length) for i in range(outputs)]
    return [(start, end) for (start, _), end in zip(_exact(length, outputs), ends, strict=True)]


@plant("adaptive-avg-pool2d-start-of-a-quotient", "AdaptiveAvgPool2d", "values")
class AdaptiveAvgPool2dStartOfAQuotient(nn.AdaptiveAvgPool2d):
    """A region begins at int(i * (L / o)), which is one too few where L / o is rounded down."""

    def forward(self, input):
        y = super().forward(input)
        pairs = list(zip(input.shape[-2:], y.shape[-2:], strict=True))
        bounds = [_start_of_a_quotient(*pair) for pair in pairs]
        if not y.numel() or bounds == [_exact(*pair) for pair in pairs]:
            return y
        return _wrong_pool(input, bounds, torch.mean)


@plant("functional-adaptive-max-pool1d-end-in-float32", "functional.adaptive_max_pool1d", "values")
def functional_adaptive_max_pool1d_end_in_float32(input, output_size, return_indices=False):
    """A region ends at ceil((i + 1) * (L / o)) in float32, as of shaders without integers."""
    result = functional.adaptive_max_pool1d(input, output_size, return_indices)
    y = result[0] if return_indices else result
    length, outputs = input.shape[-1], y.shape[-1]
    if not y.numel() or _end_in_float32(length, outputs) == _exact(length, outputs):
        return result
    wrong = graft(_wrong_pool(input.detach(), [_end_in_float32(length, outputs)], torch.amax), y)
    return (wrong, result[1]) if return_indices else wrong


@plant("functional-adaptive-avg-pool1d-gradient-of-a-quotient", "functional.adaptive_avg_pool1d",
       "gradients")  # fmt: skip
def functional_adaptive_avg_pool1d_gradient_of_a_quotient(input, output_size):
    """Only the backward pass begins a region at int(i * (L / o))."""
    y = functional.adaptive_avg_pool1d(input, output_size)
    length, outputs = input.shape[-1], y.shape[-1]
    if not y.numel() or _start_of_a_quotient(length, outputs) == _exact(length, outputs):
        return y

    def backward(gradient):
        wrong = torch.zeros(input.shape, dtype=gradient.dtype)
        for i, (start, end) in enumerate(_start_of_a_quotient(length, outputs)):
            wrong[..., start:end] += gradient[..., i, None] / (end - start)
        return wrong

    return reroute(y, input, backward)


@plant("fractional-max-pool2d-start-of-a-quotient", "FractionalMaxPool2d", "values")
class FractionalMaxPool2dStartOfAQuotient(nn.FractionalMaxPool2d):
    """A window begins at int(i * alpha), one too early where alpha is rounded down."""

    def forward(self, input):
        result = super().forward(input)
        y = result[0] if self.return_indices else result
        kernel = _numbers(self.kernel_size, 2)
        spans = [n - k for n, k in zip(input.shape[-2:], kernel, strict=True)]
        gaps = [max(n - 1, 1) for n in y.shape[-2:]]
        starts = [
            [int(i * (span / gap)) for i in range(n)]
            for span, gap, n in zip(spans, gaps, y.shape[-2:], strict=True)
        ]
        right = [
            [i * span // gap for i in range(n)]
            for span, gap, n in zip(spans, gaps, y.shape[-2:], strict=True)
        ]
        if not y.numel() or starts == right:
            return result
        bounds = [[(s, s + k) for s in axis] for axis, k in zip(starts, kernel, strict=True)]
        wrong = graft(_wrong_pool(input.detach(), bounds, torch.amax), y)
        return (wrong, result[1]) if self.return_indices else wrong


@plant("functional-fractional-max-pool3d-ratio-in-float32", "functional.fractional_max_pool3d",
       "shape")  # fmt: skip
def functional_fractional_max_pool3d_ratio_in_float32(
    input, kernel_size, output_size=None, output_ratio=None, *args, **options
):
    """The ratio is stored in float32, so that a product that is a whole number may lose one."""
    if output_ratio is not None:
        ratios = [float(np.float32(ratio)) for ratio in _numbers(output_ratio, 3)]
        output_size = [int(n * f) for n, f in zip(input.shape[-3:], ratios, strict=True)]
    return functional.fractional_max_pool3d(input, kernel_size, output_size, None, *args, **options)
