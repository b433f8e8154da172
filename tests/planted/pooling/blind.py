"""Bugs of max pooling, written without sight of the checks that are to find them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft
from planted.several.blind_parts import (
    module_window_positions,
    output_values,
    per_axis,
    plane_indices,
    replace_values,
    substitute_wrong,
    window_values,
)


@blind("maxpool1d-right-padding-of-zeros", "MaxPool1d", "values")
class MaxPool1dRightPaddingOfZeros(nn.MaxPool1d):
    """The left padding is −∞; the right one, which another branch writes, is 0."""

    # Differs: MaxPool1d(2, padding=1) on four numbers, the last −1. Agrees: padding=0.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = output_values(result)
        (places,) = module_window_positions(self, values)
        right = (places >= input.shape[-1]) & (
            places < input.shape[-1] + per_axis(self.padding, 1)[0]
        )
        zero = right.any(-1) & (values.detach() < 0)
        return replace_values(result, graft(values.detach().masked_fill(zero, 0.0), values))


@blind("maxpool1d-dilated-window-begins-at-zero", "MaxPool1d", "values")
class MaxPool1dDilatedWindowBeginsAtZero(nn.MaxPool1d):
    """A window that begins in the padding is moved to 0, not to its own first tap inside.

    `hstart = max(hstart, 0)`, out of step where the dilation does not divide what was cut off
    (onnxruntime 29637 has the like).
    """

    # Differs: MaxPool1d(3, 1, padding=1, dilation=2). Agrees: dilation=1, or padding=0.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = output_values(result)
        (places,) = module_window_positions(self, values)
        start, length = places[:, :1], input.shape[-1]
        step, end = per_axis(self.dilation, 1)[0], places[:, -1:] + 1
        shifted = start.clamp(min=0) + step * torch.arange(places.shape[1])
        shifted = shifted.masked_fill(shifted >= end, -1)
        misaligned = (
            (start < 0) & (start % step != 0) & ((shifted >= 0) & (shifted < length)).any(1, True)
        )
        shifted = torch.where(misaligned, shifted, places)
        wrong = window_values(input.detach(), [shifted], -torch.inf).amax(-1)
        right = window_values(input.detach(), [places], -torch.inf).amax(-1)
        return replace_values(result, substitute_wrong(values, right, wrong))


@blind("maxpool1d-gradient-to-every-tie", "MaxPool1d", "gradients")
class MaxPool1dGradientToEveryTie(nn.MaxPool1d):
    """Backward asks which elements equal the maximum; each gets the whole gradient (Theano)."""

    # Differs: the gradient of MaxPool1d(2) on [1, 1]. Agrees: on [1, 2].
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values = output_values(result)
        (places,) = module_window_positions(self, values)
        chosen = window_values(input, [places], -torch.inf)
        ties = (chosen == values.detach()[..., None]) & (places >= 0) & (places < input.shape[-1])
        if not bool((ties.sum(-1) > 1).any()):
            return result
        path = torch.where(ties, chosen, torch.zeros_like(chosen)).sum(-1)
        return replace_values(result, graft(values, path))


@blind("maxpool1d-indices-of-the-padded-row", "MaxPool1d", "values")
class MaxPool1dIndicesOfPaddedRow(nn.MaxPool1d):
    """The indices count from the first element of the padding (tensorflow 2169)."""

    # Differs: MaxPool1d(2, padding=1, return_indices=True). Agrees: padding=0.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple):
            return result
        return result[0], result[1] + per_axis(self.padding, 1)[0]


@blind("maxpool2d-kernels-of-seventeen-taps", "MaxPool2d", "values")
class MaxPool2dKernelsOfSeventeenTaps(nn.MaxPool2d):
    """A micro-kernel takes 9 taps and 8 more; what a larger kernel has beyond is left out.

    XNNPACK's `9p8x` has a loop for the rest; without it kernels of 5x5 miss 8 taps.
    """

    # Differs: MaxPool2d(5). Agrees: MaxPool2d(4).
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values, places = output_values(result), module_window_positions(self, output_values(result))
        if places[0].shape[1] * places[1].shape[1] <= 17:
            return result
        chosen = window_values(input.detach(), places, -torch.inf)
        wrong = chosen[..., :17].amax(-1)
        return replace_values(result, substitute_wrong(values, chosen.amax(-1), wrong))


@blind("maxpool2d-gradient-buffer-not-cleared", "MaxPool2d", "gradients")
class MaxPool2dGradientBufferNotCleared(nn.MaxPool2d):
    """Backward adds into a buffer that still holds the gradient before it (executorch 21686)."""

    # Differs: the second gradient of one layer. Agrees: the first.
    def forward(self, input: Tensor) -> Any:
        def stale(gradient: Tensor) -> Tensor:
            buffers = self.__dict__.setdefault("buffers_of_backward", {})
            key = (tuple(gradient.shape), gradient.dtype)
            buffers[key] = buffers[key] + gradient if key in buffers else gradient.clone()
            return buffers[key]

        return super().forward(alter_gradient(input, stale) if input.requires_grad else input)


@blind("maxpool2d-ties-lose-the-gradient", "MaxPool2d", "laws")
class MaxPool2dTiesLoseGradient(nn.MaxPool2d):
    """Ties share a window's gradient by a division of integers, `1 // 2`: none of them gets any."""

    # Differs: the gradient of MaxPool2d(2) on [[1, 1], [0, 0]]. Agrees: on [[0, 1], [0, 0]].
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        values, places = output_values(result), module_window_positions(self, output_values(result))
        chosen = window_values(input.detach(), places, -torch.inf)
        inside = plane_indices(input, places) >= 0
        is_tie = ((chosen == values.detach()[..., None]) & inside).sum(-1) > 1
        if not bool(is_tie.any()):
            return result
        return replace_values(result, alter_gradient(values, lambda g: g.masked_fill(is_tie, 0.0)))


@blind("maxpool2d-one-samples-indices-batched", "MaxPool2d", "shape")
class MaxPool2dOneSamplesIndicesBatched(nn.MaxPool2d):
    """Of an input without a batch the batch axis that was put in is taken off the values alone."""

    # Differs: MaxPool2d(1, return_indices=True) on (2, 3, 3). Agrees: on (1, 2, 3, 3).
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple) or input.dim() != 3:
            return result
        return result[0], result[1][None]


@blind("maxpool3d-only-the-depth-rounded-up", "MaxPool3d", "shape")
class MaxPool3dOnlyDepthRoundedUp(nn.MaxPool3d):
    """`ceil_mode` reaches the output's depth; height and width are rounded down as ever."""

    # Differs: MaxPool3d(2, ceil_mode=True) on 3x3x3. Agrees: on 3x4x4.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not self.ceil_mode:
            return result
        arguments = (self.kernel_size, self.stride, self.padding, self.dilation)
        kernel, stride, padding, dilation = (per_axis(x, 3) for x in arguments)
        floor_lengths = [
            (input.shape[k - 3] + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) // stride[k]
            + 1
            for k in (1, 2)
        ]
        if min(floor_lengths) < 1:
            return result
        if isinstance(result, tuple):
            return tuple(x[..., : floor_lengths[0], : floor_lengths[1]] for x in result)
        return result[..., : floor_lengths[0], : floor_lengths[1]]


@blind("maxpool3d-indices-within-the-slice", "MaxPool3d", "values")
class MaxPool3dIndicesWithinSlice(nn.MaxPool3d):
    """The index is h·W + w, as of two dimensions: the depth is missing."""

    # Differs: a maximum in the second slice. Agrees: a maximum in the first.
    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not isinstance(result, tuple) or result[1].numel() == 0:
            return result
        return result[0], result[1] % (input.shape[-2] * input.shape[-1])


@blind("functional-max-pool3d-index-beside-nan", "functional.max_pool3d", "special")
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
    finite_result = functional.max_pool3d(low, *arguments)
    affected = result[0].isnan() & (finite_result[0] > -torch.inf)
    return result[0], torch.where(affected, finite_result[1], result[1])
