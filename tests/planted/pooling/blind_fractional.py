"""Bugs of fractional max pooling and of unpooling, written without sight of the checks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, reroute
from planted.several.blind_parts import output_values, per_axis


def _fractional_pool(input: Tensor, starts: list[Tensor], kernel: tuple[int, ...]) -> Any:
    """Values and indices of windows that begin at `starts`, each (N, C, outputs)."""
    dims = len(kernel)
    index = torch.arange(input.shape[-dims:].numel()).view(input.shape[-dims:]).expand_as(input)
    windows = []
    for x in (input, index):
        for k, (start, size) in enumerate(zip(starts, kernel, strict=True)):
            place = (start[..., None] + torch.arange(size)).flatten(2)
            ones = [1] * dims
            ones[k] = place.shape[2]
            shape = list(x.shape)
            shape[2 + k] = place.shape[2]
            x = x.gather(2 + k, place.view(*place.shape[:2], *ones).expand(shape))
        for k in range(dims - 1, -1, -1):
            x = x.unflatten(2 + k, (-1, kernel[k]))
        order = [0, 1, *range(2, 2 + 2 * dims, 2), *range(3, 3 + 2 * dims, 2)]
        windows.append(x.permute(order).flatten(2 + dims))
    argmax = windows[0].argmax(-1, keepdim=True)
    return tuple(x.gather(-1, argmax)[..., 0] for x in windows)


@blind("fractionalmaxpool3d-step-of-the-whole-length", "FractionalMaxPool3d", "values")
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
        values = output_values(result)
        outputs = values.shape[-3:]
        if values.numel() == 0 or max(outputs) < 3:
            return result
        kernel = per_axis(self.kernel_size, 3)
        # torch takes the samples in the order depth, height, width here.
        right, wrong = [], []
        for k in range(3):
            length, count, u = input.shape[k - 3], outputs[k], samples[..., k][..., None]
            for starts, last_start in ((right, length - kernel[k]), (wrong, length)):
                steps = max(count - 1, 1) if last_start < length else count
                alpha = torch.tensor(last_start, dtype=u.dtype) / torch.tensor(steps, dtype=u.dtype)
                place = ((torch.arange(count) + u) * alpha).long() - (u * alpha).long()
                place[..., -1] = length - kernel[k]
                starts.append(place.clamp(0, length - kernel[k]))
        unbatched = input.dim() == 4
        source = input.detach()[None] if unbatched else input.detach()
        right_result, wrong_result = (
            _fractional_pool(source, starts, kernel) for starts in (right, wrong)
        )
        changed = right_result[1] != wrong_result[1]
        selected = (
            torch.where(changed, wrong_result[0], right_result[0]),
            torch.where(changed, wrong_result[1], right_result[1]),
        )
        chosen, index = (x[0] if unbatched else x for x in selected)
        mask = changed[0] if unbatched else changed
        chosen = graft(torch.where(mask, chosen, values.detach()), values)
        if not isinstance(result, tuple):
            return chosen
        return chosen, torch.where(mask, index, result[1])


@blind("fractionalmaxpool3d-nothing-random-in-evaluation", "FractionalMaxPool3d", "random")
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


@blind(
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
    ratios, kernel = per_axis(output_ratio, 2), per_axis(kernel_size, 2)
    rows = zip(input.shape[-2:], ratios, strict=True)
    size = tuple(round(length * ratio) for length, ratio in rows)
    rows = zip(input.shape[-2:], size, kernel, strict=True)
    if size == tuple(output_values(result).shape[-2:]) or any(n + k - 1 > m for m, n, k in rows):
        return result
    return functional.fractional_max_pool2d(
        input, kernel_size, size, None, return_indices, _random_samples=_random_samples
    )


# Unpooling


def _unpooled_length(input: Tensor, kernel: Any, stride: Any, padding: Any, axis: int) -> int:
    """The default length of an axis counted from the end, of one of two."""
    k, s, p = (per_axis(x, 2)[axis] for x in (kernel, stride, padding))
    return int((input.shape[axis] - 1) * s + k - 2 * p)


@blind("maxunpool1d-output-size-ignored", "MaxUnpool1d", "shape")
class MaxUnpool1dOutputSizeIgnored(nn.MaxUnpool1d):
    """The output has the default length, whatever `output_size` asks for, if all indices fit."""

    # Differs: output_size=[5] of two maxima, kernel 2. Agrees: output_size=[4].
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        arguments = (self.kernel_size, self.stride, self.padding)
        k, s, p = (per_axis(x, 1)[0] for x in arguments)
        default = (input.shape[-1] - 1) * s + k - 2 * p
        is_valid = default > 0 and (indices.numel() == 0 or int(indices.max()) < default)
        return super().forward(input, indices) if output_size is not None and is_valid else result


@blind("maxunpool2d-indices-of-the-default-width", "MaxUnpool2d", "values")
class MaxUnpool2dIndicesOfDefaultWidth(nn.MaxUnpool2d):
    """An index is taken apart by the default width, not by that of `output_size` (onnx 2398)."""

    # Differs: output_size=[5, 5] of 2x2 maxima, kernel 2. Agrees: output_size=[5, 4].
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        arguments = (self.kernel_size, self.stride, self.padding)
        width, default = result.shape[-1], _unpooled_length(input, *arguments, -1)
        if width == default or default < 1 or result.numel() == 0:
            return result
        moved_indices = indices // default * width + indices % default
        moved_indices = moved_indices.clamp(max=result.shape[-2] * width - 1).flatten(-2)
        plane = torch.zeros_like(result.detach().contiguous()).flatten(-2)
        return graft(
            plane.scatter(-1, moved_indices, input.detach().flatten(-2)).view_as(result), result
        )


@blind("maxunpool2d-gradient-of-the-default-width", "MaxUnpool2d", "gradients")
class MaxUnpool2dGradientOfDefaultWidth(nn.MaxUnpool2d):
    """Forward knows `output_size`; backward takes the indices apart by the default width."""

    # Differs: the gradient with output_size=[5, 5] of 2x2 maxima, kernel 2. Agrees: [5, 4].
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        arguments = (self.kernel_size, self.stride, self.padding)
        width, default = result.shape[-1], _unpooled_length(input, *arguments, -1)
        if width == default or default < 1 or result.numel() == 0:
            return result
        moved_indices = indices // default * width + indices % default
        moved_indices = moved_indices.clamp(max=result.shape[-2] * width - 1).flatten(-2)

        def backward(gradient: Tensor) -> Tensor:
            return gradient.flatten(-2).gather(-1, moved_indices).view(input.shape)

        return reroute(result, input, backward)


@blind("maxunpool3d-first-channels-indices", "MaxUnpool3d", "values")
class MaxUnpool3dFirstChannelsIndices(nn.MaxUnpool3d):
    """One channel's indices are broadcast over all: the first one's."""

    # Differs: two channels with other indices. Agrees: one channel.
    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        result = super().forward(input, indices, output_size)
        if indices.shape[-4] < 2:
            return result
        first_indices = indices.narrow(-4, 0, 1).expand_as(indices).contiguous()
        return super().forward(input, first_indices, output_size)


@blind("functional-max-unpool2d-larger-than-zero", "functional.max_unpool2d", "values")
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
