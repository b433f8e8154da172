"""Bugs written without sight of the suite: pooling."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft


def _single(size: Any) -> int:
    return size if isinstance(size, int) else size[0]


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


@blind("avgpool2d-gradient-divides-by-kernel-not-divisor", "AvgPool2d", "gradients")
class _GradientByKernel(nn.AvgPool2d):
    """The backward pass divides by the window's size where divisor_override says otherwise."""

    # Differs: the gradient for divisor_override=3. Agrees: no divisor_override; every value.

    def forward(self, input: Tensor) -> Tensor:
        value = super().forward(input)
        if self.divisor_override is None:
            return value
        arguments = (self.kernel_size, self.stride, self.padding, self.ceil_mode)
        return graft(value, functional.avg_pool2d(input, *arguments, self.count_include_pad))


@blind("avgpool1d-excluded-padding-counted-on-the-right", "AvgPool1d", "values")
class _CountedOnTheRight(nn.AvgPool1d):
    """With count_include_pad=False only the padding on the left is left out of the count: the
    window's end is clipped to the padded length."""

    # Differs: the last window of padding=1, count_include_pad=False. Agrees: padding=0.

    def forward(self, input: Tensor) -> Tensor:
        value = super().forward(input)
        kernel, step, before = map(_single, (self.kernel_size, self.stride, self.padding))
        if self.count_include_pad or self.ceil_mode or before == 0:
            return value
        starts = torch.arange(value.size(-1)) * step - before
        from_left = kernel - (-starts).clamp(min=0)
        overhang = (starts + kernel - input.size(-1)).clamp(min=0)
        ratio = ((from_left - overhang) / from_left).to(value.dtype)
        return torch.where(overhang > 0, value * ratio, value)


@blind("maxpool2d-indices-into-the-padded-plane", "MaxPool2d", "values")
class _PaddedPlane(nn.MaxPool2d):
    """Indices count positions of the padded plane: a port that pads first, then pools."""

    # Differs: the indices for padding=1, return_indices=True. Agrees: padding=0; the values.

    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        if not self.return_indices:
            return result
        (above, left), width = _pair(self.padding), input.size(-1)
        value, index = result
        row, column = index // width, index % width
        return value, (row + above) * (width + 2 * left) + column + left


@blind("maxpool3d-pads-with-the-lowest-number", "MaxPool3d", "special")
class _LowestNumber(nn.MaxPool3d):
    """Padding holds the lowest finite number, not minus infinity, and wins over infinities."""

    # Differs: minus infinity throughout, padding=1. Agrees: finite numbers; padding=0.

    def forward(self, input: Tensor) -> Any:
        right = super().forward(input)
        if self.return_indices or self.ceil_mode or not input.is_floating_point():
            return right
        sizes = (self.padding,) * 3 if isinstance(self.padding, int) else self.padding
        if not any(sizes):
            return right
        doubled_padding = [size for size in reversed(sizes) for _ in range(2)]
        padded = functional.pad(input, doubled_padding, value=torch.finfo(input.dtype).min)
        return functional.max_pool3d(padded, self.kernel_size, self.stride, 0, self.dilation)


@blind("adaptivemaxpool1d-nan-noticed-first-in-window-only", "AdaptiveMaxPool1d", "special")
class _NanFirstOnly(nn.AdaptiveMaxPool1d):
    """NaN survives only as the first element of a window: later ones lose each comparison."""

    # Differs: [1, NaN], output_size=1. Agrees: [NaN, 1], output_size=1; finite numbers.

    def forward(self, input: Tensor) -> Any:
        if self.output_size is None:
            return super().forward(input)
        size = _single(self.output_size)
        value, index = functional.adaptive_max_pool1d(input, size, return_indices=True)
        if input.is_floating_point() and input.numel():
            starts = torch.arange(size) * input.size(-1) // size
            affected = value.isnan() & ~input.detach()[..., starts].isnan()
            without_nan = torch.where(input.isnan(), torch.full_like(input, -torch.inf), input)
            result_without_nan = functional.adaptive_max_pool1d(
                without_nan, size, return_indices=True
            )
            value = torch.where(affected, result_without_nan[0], value)
            index = torch.where(affected, result_without_nan[1], index)
        return (value, index) if self.return_indices else value


@blind("adaptiveavgpool2d-none-means-one", "AdaptiveAvgPool2d", "shape")
class _NoneIsOne(nn.AdaptiveAvgPool2d):
    """None in output_size pools its axis to one, where it should keep the input's size."""

    # Differs: output_size=(None, 2) on (1, 3, 4). Agrees: output_size=(3, 2).

    def forward(self, input: Tensor) -> Tensor:
        size = self.output_size
        if isinstance(size, (tuple, list)):
            size = [1 if length is None else length for length in size]
        return functional.adaptive_avg_pool2d(input, size)


@blind("maxpool1d-takes-padding-over-half-the-kernel", "MaxPool1d", "errors")
class _WidePadding(nn.MaxPool1d):
    """Padding of more than half the kernel is accepted, and whole windows lie in it: a port
    whose kernel needs no such limit, and that does not check it."""

    # Differs: kernel_size=2, padding=2. Agrees: kernel_size=2, padding=1.

    def forward(self, input: Tensor) -> Any:
        kernel, pad = _single(self.kernel_size), _single(self.padding)
        extent = (kernel - 1) * _single(self.dilation) + 1
        if 2 * pad <= extent or self.return_indices:
            return super().forward(input)
        padded = functional.pad(input, (pad, pad), value=-torch.inf)
        return functional.max_pool1d(padded, kernel, self.stride, 0, self.dilation, self.ceil_mode)


@blind("functional-avg-pool2d-reads-from-the-storage-start", "functional.avg_pool2d", "layout")
def _read_from_storage_start(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """A contiguous view that begins inside its storage is read from the storage's first element:
    a port that hands on the storage's pointer and forgets the offset."""
    # Differs: x[1:]. Agrees: x.
    if input.is_contiguous() and input.storage_offset() and input.numel():
        memory = input.detach().as_strided(input.shape, input.stride(), 0)
        input = graft(memory, input)
    arguments = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return functional.avg_pool2d(input, *arguments)


@blind("lppool2d-drops-ceil-mode", "LPPool2d", "shape")
class _NoCeiling(nn.LPPool2d):
    """ceil_mode is accepted and ignored."""

    # Differs: ceil_mode=True, kernel 2 on 3 x 3. Agrees: ceil_mode=True, kernel 2 on 4 x 4.

    def forward(self, input: Tensor) -> Tensor:
        return functional.lp_pool2d(
            input, float(self.norm_type), self.kernel_size, self.stride, False
        )
