"""Bugs of adaptive pooling, written without sight of the checks that are to find them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft
from planted.several.blind_parts import (
    output_values,
    plane_indices,
    replace_values,
    substitute_wrong,
    window_values,
)


def _bin_positions(lengths: Any, outputs: Any, end: Callable[[int, int, int], int]) -> list[Tensor]:
    """For each axis the places of the bins that end where `end(i, L, o)` says, −1 behind."""
    positions = []
    for length, count in zip(lengths, outputs, strict=True):
        begins = [i * length // count for i in range(count)]
        ends = [end(i, length, count) for i in range(count)]
        longest = max((e - b for b, e in zip(begins, ends, strict=True)), default=1)
        row = torch.arange(max(longest, 1))
        bounds = torch.tensor([begins, ends]).view(2, count, 1)
        positions.append((bounds[0] + row).masked_fill(bounds[0] + row >= bounds[1], -1))
    return positions


def _bin_end(i: int, length: int, count: int) -> int:
    return -(-(i + 1) * length // count)


def _means(input: Tensor, places: list[Tensor]) -> Tensor:
    count = (plane_indices(input, places) >= 0).sum(-1).clamp(min=1)
    return window_values(input.double(), places, 0.0).sum(-1) / count


@blind("adaptiveavgpool2d-bins-end-too-soon", "AdaptiveAvgPool2d", "values")
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
        right, wrong = (_means(input, _bin_positions(*spaces, e)) for e in (_bin_end, end))
        return substitute_wrong(result, right, wrong)


@blind("adaptiveavgpool1d-as-a-plain-pool", "AdaptiveAvgPool1d", "values")
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


@blind("adaptiveavgpool2d-never-longer", "AdaptiveAvgPool2d", "shape")
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


@blind("adaptiveavgpool3d-none-is-one", "AdaptiveAvgPool3d", "shape")
class AdaptiveAvgPool3dNoneIsOne(nn.AdaptiveAvgPool3d):
    """None in the output size, which keeps the axis, pools it to 1."""

    # Differs: output_size=(None, 2, 2). Agrees: output_size=2.
    def forward(self, input: Tensor) -> Tensor:
        size = self.output_size
        if not isinstance(size, (tuple, list)) or None not in size:
            return super().forward(input)
        super().forward(input)  # raises what torch raises
        return functional.adaptive_avg_pool3d(input, [1 if n is None else n for n in size])


@blind(
    "functional-adaptive-avg-pool1d-bins-of-sixty-four", "functional.adaptive_avg_pool1d", "values"
)
def functional_adaptive_avg_pool1d_bins_of_sixty_four(input: Tensor, output_size: Any) -> Tensor:
    """The loop over a bin ends after 64 elements; the divisor is the whole bin's (FlagGems)."""
    # Differs: 65 to 1. Agrees: 64 to 1.
    result = functional.adaptive_avg_pool1d(input, output_size)
    if result.numel() == 0 or input.shape[-1] / result.shape[-1] <= 64:
        return result
    places = _bin_positions(input.shape[-1:], result.shape[-1:], _bin_end)
    chosen = window_values(input.detach().double(), places, 0.0)
    count = (places[0] >= 0).sum(-1)
    return substitute_wrong(result, chosen.sum(-1) / count, chosen[..., :64].sum(-1) / count)


@blind(
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
    places = _bin_positions(input.shape[-2:], result.shape[-2:], _bin_end)
    height, width = ((p >= 0).sum(-1) for p in places)
    sizes = height[:, None] * width
    if bool((sizes == sizes[0, 0]).all()):
        return result
    ratio = sizes / sizes[0, 0]
    return alter_gradient(result, lambda g: (g.double() * ratio).to(g.dtype))


@blind("adaptivemaxpool1d-lowest-finite-number", "AdaptiveMaxPool1d", "special")
class AdaptiveMaxPool1dLowestFiniteNumber(nn.AdaptiveMaxPool1d):
    """The search begins at the lowest finite number: a bin of −∞ alone comes out as that."""

    # Differs: [−∞] to 1. Agrees: [0] to 1.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = output_values(result)
        if not values.is_floating_point():
            return result
        lowest = torch.finfo(values.dtype).min
        low = values.detach().masked_fill(values.detach() == -torch.inf, lowest)
        return replace_values(result, graft(low, values))


@blind("adaptivemaxpool2d-bins-of-one-length", "AdaptiveMaxPool2d", "values")
class AdaptiveMaxPool2dBinsOfOneLength(nn.AdaptiveMaxPool2d):
    """Every bin has ⌈L/o⌉ elements from ⌊i·L/o⌋ on.

    Bins that are longer by one, as [1, 4) of 5 to 3, lose their last element.
    """

    # Differs: 5x5 to 3. Agrees: 6x6 to 3.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = output_values(result)
        if values.numel() == 0:
            return result

        def end(i: int, length: int, count: int) -> int:
            return min(i * length // count + -(-length // count), length)

        spaces = (input.shape[-2:], values.shape[-2:])
        right, wrong = (
            window_values(input.detach(), _bin_positions(*spaces, e), -torch.inf).amax(-1)
            for e in (_bin_end, end)
        )
        return replace_values(result, substitute_wrong(values, right, wrong))


@blind("adaptivemaxpool2d-indices-within-the-bin", "AdaptiveMaxPool2d", "values")
class AdaptiveMaxPool2dIndicesWithinBin(nn.AdaptiveMaxPool2d):
    """An index counts from its bin's first element (MPS, pytorch 190064)."""

    # Differs: the second index of 2x2 to 2. Agrees: the first.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple) or result[0].numel() == 0:
            return result
        places = _bin_positions(input.shape[-2:], result[0].shape[-2:], _bin_end)
        start = places[0][:, :1] * input.shape[-1] + places[1][:, 0]
        return result[0], result[1] - start


@blind(
    "functional-adaptive-max-pool1d-shared-maximum", "functional.adaptive_max_pool1d", "gradients"
)
def functional_adaptive_max_pool1d_shared_maximum(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> Any:
    """An element that is the largest of two bins gets the second one's gradient, not the sum."""
    # Differs: the gradient of [0, 1, 0] to 2. Agrees: of [0, 1, 0, 0] to 2.
    result = functional.adaptive_max_pool1d(input, output_size, return_indices)
    values = output_values(result)
    if values.numel() == 0 or values.shape[-1] < 2:
        return result
    indices = functional.adaptive_max_pool1d(input.detach(), output_size, True)[1]
    repeated = indices[..., :-1] == indices[..., 1:]
    loses_gradient = functional.pad(repeated, (0, 1), value=False)
    if not bool(loses_gradient.any()):
        return result
    return replace_values(
        result, alter_gradient(values, lambda g: g.masked_fill(loses_gradient, 0.0))
    )
