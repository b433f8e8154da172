"""Adaptive pooling by maximum and by average, and its functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant


def _sizes(output_size, shape):
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * len(shape)
    return [n if size is None else size for size, n in zip(sizes, shape, strict=True)]


def _region_bounds(length, outputs, up):
    """Where the regions of a dimension begin and end."""
    first = [k * length // outputs for k in range(outputs)]
    last = [-(-(k + 1) * length // outputs) if up else (k + 1) * length // outputs
            for k in range(outputs)]  # fmt: skip
    return [(a, max(b, a + 1)) for a, b in zip(first, last, strict=True)]


@plant("adaptive-avg-pool2d-ends-rounded-down", "AdaptiveAvgPool2d", "values")
class AdaptiveAvgPool2dEndsRoundedDown(nn.AdaptiveAvgPool2d):
    """A region ends at ⌊(i + 1)·L/o⌋ in place of ⌈(i + 1)·L/o⌉ (FlagGems 4915)."""

    def forward(self, input):
        y = super().forward(input)
        height, width = _sizes(self.output_size, input.shape[-2:])
        if not y.numel():
            return y
        rows, columns = (
            _region_bounds(input.shape[-2], height, False),
            _region_bounds(input.shape[-1], width, False),
        )
        return torch.stack(
            [torch.stack([input[..., a:b, c:d].mean((-1, -2)) for c, d in columns], -1)
             for a, b in rows], -2
        )  # fmt: skip


@plant("adaptive-avg-pool1d-as-windows", "AdaptiveAvgPool1d", "values")
class AdaptiveAvgPool1dAsWindows(nn.AdaptiveAvgPool1d):
    """Windows of one size by steps of ⌊L/o⌋, as exporters write it (pytorch 190064)."""

    def forward(self, input):
        (outputs,) = _sizes(self.output_size, input.shape[-1:])
        length = input.shape[-1]
        if not outputs or outputs > length:
            return super().forward(input)
        step = length // outputs
        return functional.avg_pool1d(input, length - (outputs - 1) * step, step)


@plant("adaptive-max-pool2d-index-within-the-region", "AdaptiveMaxPool2d", "values")
class AdaptiveMaxPool2dIndexWithinTheRegion(nn.AdaptiveMaxPool2d):
    """A column counts from the beginning of its region."""

    def forward(self, input):
        result = super().forward(input)
        if not isinstance(result, tuple) or not result[0].numel():
            return result
        values, indices = result
        starts = [a for a, _ in _region_bounds(input.shape[-1], values.shape[-1], True)]
        return values, indices - torch.tensor(starts)


@plant(
    "functional-adaptive-max-pool3d-kept-as-the-width", "functional.adaptive_max_pool3d", "shape"
)
def functional_adaptive_max_pool3d_kept_as_the_width(input, output_size, *args, **options):
    """None is the size of the last dimension, whichever it stands for."""
    if isinstance(output_size, (tuple, list)):
        output_size = tuple(input.shape[-1] if n is None else n for n in output_size)
    return functional.adaptive_max_pool3d(input, output_size, *args, **options)


@plant(
    "functional-adaptive-avg-pool2d-half-accumulator", "functional.adaptive_avg_pool2d", "values"
)
def functional_adaptive_avg_pool2d_half_accumulator(input, output_size):
    """In half precision the sum of a region is kept in half precision (pytorch 165534)."""
    y = functional.adaptive_avg_pool2d(input, output_size)
    half = input.dtype in (torch.bfloat16, torch.float16)
    if not half or y.shape[-2:].numel() != 1:
        return y
    total = torch.zeros_like(y[..., 0, 0])
    for row in input.detach().flatten(-2).unbind(-1):
        total = total + row
    return graft((total / input.shape[-2:].numel())[..., None, None], y)


@plant("adaptive-max-pool1d-nan-skipped", "AdaptiveMaxPool1d", "special")
class AdaptiveMaxPool1dNanSkipped(nn.AdaptiveMaxPool1d):
    """A comparison with NaN is false, so that NaN is never the largest."""

    def forward(self, input):
        if not input.isnan().any():
            return super().forward(input)
        return super().forward(input.nan_to_num(-torch.inf, torch.inf, -torch.inf))


@plant("adaptive-avg-pool3d-gradient-of-even-regions", "AdaptiveAvgPool3d", "gradients")
class AdaptiveAvgPool3dGradientOfEvenRegions(nn.AdaptiveAvgPool3d):
    """The backward pass divides by L/o, which is a region's size only where o divides L."""

    def forward(self, input):
        y = super().forward(input)
        length, outputs = input.shape[-1], y.shape[-1]
        if not y.numel():
            return y
        sizes = torch.tensor([b - a for a, b in _region_bounds(length, outputs, True)])
        return alter_gradient(y, lambda g: g * (sizes * outputs / length).to(g.dtype))


@plant("functional-adaptive-max-pool1d-no-more-than-the-input", "functional.adaptive_max_pool1d",
       "shape")  # fmt: skip
def functional_adaptive_max_pool1d_no_more_than_the_input(input, output_size, *args, **options):
    """More outputs than the input has elements are cut to as many."""
    (outputs,) = _sizes(output_size, input.shape[-1:])
    return functional.adaptive_max_pool1d(input, min(outputs, input.shape[-1]), *args, **options)


@plant("functional-adaptive-avg-pool1d-weights-by-overlap", "functional.adaptive_avg_pool1d",
       "values")  # fmt: skip
def functional_adaptive_avg_pool1d_weights_by_overlap(input, output_size):
    """An element on the edge of two regions counts in each by its share, as of area resizing."""
    y = functional.adaptive_avg_pool1d(input, output_size)
    length, outputs = input.shape[-1], y.shape[-1]
    if not outputs:
        return y
    edges = torch.arange(outputs + 1, dtype=torch.float64) * length / outputs
    positions = torch.arange(length, dtype=torch.float64)
    ratio = torch.minimum(edges[1:, None], positions + 1) - torch.maximum(
        edges[:-1, None], positions
    )
    weights = (ratio.clamp(min=0) * outputs / length).to(input.dtype)
    return (input.unsqueeze(-2) * weights).sum(-1)


@plant("functional-adaptive-max-pool2d-height-for-both", "functional.adaptive_max_pool2d",
       "shape")  # fmt: skip
def functional_adaptive_max_pool2d_height_for_both(input, output_size, *args, **options):
    """Of two sizes the first is taken for both."""
    height, _ = _sizes(output_size, input.shape[-2:])
    return functional.adaptive_max_pool2d(input, height, *args, **options)


@plant("functional-adaptive-avg-pool3d-none-is-one", "functional.adaptive_avg_pool3d",
       "shape")  # fmt: skip
def functional_adaptive_avg_pool3d_none_is_one(input, output_size):
    """A size of None is that of global pooling in place of the input's."""
    sizes = _sizes(output_size, (1, 1, 1))
    return functional.adaptive_avg_pool3d(input, sizes)


@plant("adaptive-max-pool3d-indices-from-one", "AdaptiveMaxPool3d", "values")
class AdaptiveMaxPool3dIndicesFromOne(nn.AdaptiveMaxPool3d):
    """Indices count from 1, as in Lua's Torch."""

    def forward(self, input):
        result = super().forward(input)
        return (result[0], result[1] + 1) if isinstance(result, tuple) else result
