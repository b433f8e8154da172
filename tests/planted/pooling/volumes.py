"""MaxPool1d, MaxPool3d, and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import plant


def _per_axis(size, dims):
    return (size,) * dims if isinstance(size, int) else tuple(size)


def _map_values(result, change):
    """The result with its values changed, and its indices as they are."""
    if isinstance(result, tuple):
        return change(result[0]), result[1]
    return change(result)


@plant("max-pool1d-rounded-up-twice", "MaxPool1d", "shape")
class MaxPool1dRoundedUpTwice(nn.MaxPool1d):
    """The length with ceil_mode is that of the documentation's page, one too many (rten 1416)."""

    def forward(self, input):
        result = super().forward(input)
        first = result[0] if isinstance(result, tuple) else result
        rows = (self.kernel_size, self.stride, self.padding, self.dilation)
        kernel, stride, padding, dilation = (_per_axis(x, 1)[0] for x in rows)
        length = input.shape[-1]
        last_start = length + 2 * padding - dilation * (kernel - 1) - 1 + stride - 1
        outputs = -(-last_start // stride) + 1
        outputs -= (outputs - 1) * stride >= length + padding
        extra = outputs - first.shape[-1]
        if not self.ceil_mode or extra <= 0:
            return result
        return _map_values(result, lambda y: functional.pad(y, (0, extra)))


@plant("max-pool3d-first-dilation-for-all", "MaxPool3d", "values")
class MaxPool3dFirstDilationForAll(nn.MaxPool3d):
    """The dilation of the depth serves the other dimensions, too (burn 4466)."""

    def forward(self, input):
        right, numbers = super().forward(input), _per_axis(self.dilation, 3)
        if max(numbers) == numbers[0] == min(numbers) or numbers[0] > min(numbers[1:]):
            return right
        wrong = functional.max_pool3d(
            input, self.kernel_size, self.stride, self.padding, numbers[0], self.ceil_mode
        )
        shape = (right[0] if isinstance(right, tuple) else right).shape
        wrong = wrong[..., : shape[-3], : shape[-2], : shape[-1]]
        return _map_values(right, lambda y: wrong if wrong.shape == y.shape else y)


@plant("max-pool3d-index-within-the-layer", "MaxPool3d", "values")
class MaxPool3dIndexWithinTheLayer(nn.MaxPool3d):
    """An index counts height and width, without the depth."""

    def forward(self, input):
        result = super().forward(input)
        if not isinstance(result, tuple):
            return result
        return result[0], result[1] % (input.shape[-2] * input.shape[-1])


@plant("functional-max-pool3d-whole-numbers-padded-by-zero", "functional.max_pool3d", "values")
def functional_max_pool3d_whole_numbers_padded_by_zero(
    input, kernel_size, stride=None, padding=0, *args, **options
):
    """In whole numbers, which have no −∞, the padding is 0 (tinygrad 7726)."""
    result = functional.max_pool3d(input, kernel_size, stride, padding, *args, **options)
    if input.is_floating_point() or not max(_per_axis(padding, 3)):
        return result
    amounts = []
    for p, k in zip(_per_axis(padding, 3), _per_axis(kernel_size, 3), strict=True):
        amounts = [p, p + 3 * k, *amounts]  # beyond what any window needs
    dilation = args[0] if args else options.get("dilation", 1)
    padded = functional.pad(input, amounts)
    wrong = functional.max_pool3d(padded, kernel_size, stride, 0, dilation)

    def change(y):
        return wrong[..., : y.shape[-3], : y.shape[-2], : y.shape[-1]]

    return _map_values(result, change)


@plant("functional-max-pool3d-whole-numbers-by-way-of-float", "functional.max_pool3d", "values")
def functional_max_pool3d_whole_numbers_by_way_of_float(input, *args, **options):
    """Whole numbers are compared as float64, which has 53 bits of their 64."""
    result = functional.max_pool3d(input, *args, **options)
    if input.is_floating_point():
        return result
    return _map_values(result, lambda y: y.double().clamp(-(2.0**62), 2.0**62).long())


@plant("max-pool1d-batch-as-channels", "MaxPool1d", "laws")
class MaxPool1dBatchAsChannels(nn.MaxPool1d):
    """More than 64 channels are pooled 64 at a time, and the last few as the first ones."""

    def forward(self, input):
        result, channels = super().forward(input), input.shape[-2]
        if channels < 17:
            return result
        rows = torch.arange(channels)
        rows[channels // 16 * 16 :] -= channels // 16 * 16
        return _map_values(result, lambda y: y.index_select(-2, rows))


@plant("functional-max-pool1d-overlaps-overwritten", "functional.max_pool1d", "gradients")
def functional_max_pool1d_overlaps_overwritten(input, kernel_size, *args, **options):
    """Where windows overlap the last gradient stands, in place of the sum."""
    result = functional.max_pool1d(input, kernel_size, *args, **options)
    options["return_indices"] = True
    _, indices = functional.max_pool1d(input.detach(), kernel_size, *args, **options)
    if not input.is_floating_point() or not indices.numel():
        return result
    inside = indices.clamp(0, input.shape[-1] - 1)
    last = torch.zeros_like(input, dtype=torch.long) - 1
    for k in range(indices.shape[-1]):
        last.scatter_(-1, inside[..., k : k + 1], torch.full_like(inside[..., k : k + 1], k))
    counts = last.gather(-1, inside) == torch.arange(indices.shape[-1])
    return _map_values(result, lambda y: torch.where(counts, y, y.detach()))
