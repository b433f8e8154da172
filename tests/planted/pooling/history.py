"""MaxPool2d, functional.max_pool2d."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


def _pair(size):
    return (size, size) if isinstance(size, int) else tuple(size)


class _Pool(nn.MaxPool2d):
    """Calls with some arguments changed."""

    def call_with(self, input, **changes):
        arguments = {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "ceil_mode": self.ceil_mode,
            "return_indices": self.return_indices,
        }
        return functional.max_pool2d(input, **{**arguments, **changes})


def _map_values(result, change):
    """The result with its values changed, and its indices as they are."""
    if isinstance(result, tuple):
        return change(result[0]), result[1]
    return change(result)


@plant("max-pool2d-first-dilation-twice", "MaxPool2d", "values")
class MaxPool2dFirstDilationTwice(_Pool):
    """The dilation of the height serves the width, too (burn 4466)."""

    def forward(self, input):
        height, width = _pair(self.dilation)
        right = super().forward(input)
        if height == width:
            return right
        wrong = self.call_with(input, dilation=height) if height < width else right
        first = wrong[0] if isinstance(wrong, tuple) else wrong
        shape = (right[0] if isinstance(right, tuple) else right).shape
        first = first[..., : shape[-2], : shape[-1]]
        return _map_values(right, lambda y: first if first.shape == y.shape else y)


@plant("max-pool2d-padded-with-zeros", "MaxPool2d", "values")
class MaxPool2dPaddedWithZeros(_Pool):
    """The padding is 0, which is larger than what is negative (tinygrad 7726)."""

    def forward(self, input):
        height, width = _pair(self.padding)
        result = super().forward(input)
        if not (height or width) or self.ceil_mode or input.numel() == 0:
            return result
        padded = functional.pad(input.detach(), (width, width, height, height))
        zeros = self.call_with(padded, padding=0, return_indices=False)
        return _map_values(result, lambda y: graft(zeros, y))


@plant("max-pool2d-window-beyond-the-input", "MaxPool2d", "shape")
class MaxPool2dWindowBeyondTheInput(_Pool):
    """With ceil_mode a window that starts in the right padding counts (rten 1456)."""

    def forward(self, input):
        result = super().forward(input)
        first = result[0] if isinstance(result, tuple) else result
        numbers = (_pair(x) for x in (self.kernel_size, self.stride, self.padding, self.dilation))
        extra = []
        rows = zip(input.shape[-2:], first.shape[-2:], *numbers, strict=True)
        for length, outputs, kernel, stride, padding, dilation in rows:
            last_start = length + 2 * padding - dilation * (kernel - 1) - 1
            extra.append(-(-last_start // stride) + 1 - outputs)
        if not self.ceil_mode or not any(extra):
            return result
        return _map_values(result, lambda y: functional.pad(y, (0, extra[1], 0, extra[0])))


@plant("max-pool2d-indices-of-32-bits", "MaxPool2d", "shape")
class MaxPool2dIndicesOf32Bits(_Pool):
    """The indices come as int32."""

    def forward(self, input):
        result = super().forward(input)
        return (result[0], result[1].int()) if isinstance(result, tuple) else result


@plant("max-pool2d-overlaps-overwritten", "MaxPool2d", "gradients")
class MaxPool2dOverlapsOverwritten(_Pool):
    """Where windows overlap the last one's gradient stands, in place of the sum."""

    def forward(self, input):
        result = super().forward(input)
        with torch.no_grad():
            value, indices = self.call_with(input, return_indices=True)
        flat = input.flatten(-2)
        count = torch.zeros_like(flat)
        count.scatter_add_(-1, indices.flatten(-2), torch.ones_like(value).flatten(-2))
        if value.numel() == 0 or count.max() < 2:
            return result
        ratio = count.gather(-1, indices.flatten(-2)).reshape(value.shape)
        return _map_values(result, lambda y: alter_gradient(y, lambda g: g / ratio))


@plant("max-pool2d-nan-skipped", "MaxPool2d", "special")
class MaxPool2dNanSkipped(_Pool):
    """A comparison with NaN is false, so that NaN is never the largest."""

    def forward(self, input):
        if not input.isnan().any():
            return super().forward(input)
        return super().forward(input.nan_to_num(-torch.inf, torch.inf, -torch.inf))


@plant("max-pool2d-channels-last-read-as-contiguous", "MaxPool2d", "layout")
class MaxPool2dChannelsLastReadAsContiguous(_Pool):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("max-pool2d-stochastic-in-training", "MaxPool2d", "state")
class MaxPool2dStochasticInTraining(_Pool):
    """In train mode a tenth of the output is dropped."""

    def forward(self, input):
        result = super().forward(input)
        return _map_values(result, lambda y: functional.dropout(y, 0.1, self.training))


@plant("max-pool2d-output-buffer-kept", "MaxPool2d", "repeat")
class MaxPool2dOutputBufferKept(_Pool):
    """Outputs of one shape share one buffer, which the next call writes over."""

    def forward(self, input):
        result = super().forward(input)
        if torch.is_grad_enabled():
            return result
        buffers = self.__dict__.setdefault("_kept", {})
        key = (result[0] if isinstance(result, tuple) else result).shape

        def stored(y):
            return buffers[key].copy_(y) if key in buffers else buffers.setdefault(key, y.clone())

        return _map_values(result, stored)


@plant("max-pool2d-blocks-of-planes-repeated", "MaxPool2d", "laws")
class MaxPool2dBlocksOfPlanesRepeated(_Pool):
    """Planes are computed 33 at a time, and each block stores what the first one holds."""

    def forward(self, input):
        result = super().forward(input)
        planes = torch.arange(input.shape[-3]) % 33
        return _map_values(result, lambda y: y.index_select(-3, planes))


@plant("functional-max-pool2d-stride-one", "functional.max_pool2d", "shape")
def functional_max_pool2d_stride_one(input, kernel_size, stride=None, *args, **options):
    """A stride that is left out is 1, as of a convolution."""
    return functional.max_pool2d(input, kernel_size, 1 if stride is None else stride, *args,
                                 **options)  # fmt: skip


@plant("functional-max-pool2d-indices-of-the-batch", "functional.max_pool2d", "values")
def functional_max_pool2d_indices_of_the_batch(input, kernel_size, *args, **options):
    """Indices count through all planes, as TensorFlow's do."""
    result = functional.max_pool2d(input, kernel_size, *args, **options)
    if not isinstance(result, tuple):
        return result
    values, indices = result
    planes = torch.arange(values.shape[:-2].numel()).reshape(*values.shape[:-2], 1, 1)
    return values, indices + planes * input.shape[-2] * input.shape[-1]


@plant("functional-max-pool2d-indices-transposed", "functional.max_pool2d", "values")
def functional_max_pool2d_indices_transposed(input, kernel_size, *args, **options):
    """An index counts columns first."""
    result = functional.max_pool2d(input, kernel_size, *args, **options)
    if not isinstance(result, tuple):
        return result
    height, width = input.shape[-2:]
    return result[0], result[1] % width * height + result[1] // width


@plant("functional-max-pool2d-overhang-counts-zero", "functional.max_pool2d", "values")
def functional_max_pool2d_overhang_counts_zero(input, kernel_size, stride=None, padding=0,
                                               dilation=1, ceil_mode=False, **options):  # fmt: skip
    """What a window goes off-bounds with ceil_mode counts as 0 (onnxruntime 16350)."""
    result = functional.max_pool2d(
        input, kernel_size, stride, padding, dilation, ceil_mode, **options
    )
    if not ceil_mode or input.numel() == 0:
        return result
    first = result[0] if isinstance(result, tuple) else result
    numbers = [_pair(x) for x in (kernel_size, kernel_size if stride is None else stride,
                                  padding, dilation)]  # fmt: skip
    overhangs = [
        (n - 1) * s + d * (k - 1) + 1 > m + p
        for m, n, k, s, p, d in zip(input.shape[-2:], first.shape[-2:], *numbers, strict=True)
    ]
    height, width = (torch.zeros(n, dtype=torch.bool) for n in first.shape[-2:])
    height[-1:], width[-1:] = overhangs
    zero = (height[:, None] | width) & (first.detach() < 0)
    return _map_values(result, lambda y: graft(y.masked_fill(zero, 0.0), y))


@plant("functional-max-pool2d-index-of-minus-infinity", "functional.max_pool2d", "special")
def functional_max_pool2d_index_of_minus_infinity(input, kernel_size, *args, **options):
    """A window of −∞ alone has the index 0 that the search began with (TileOPs 832)."""
    result = functional.max_pool2d(input, kernel_size, *args, **options)
    if not isinstance(result, tuple):
        return result
    return result[0], result[1].masked_fill(result[0] == -torch.inf, 0)


@plant("functional-max-pool2d-nan-beside-infinity", "functional.max_pool2d", "special")
def functional_max_pool2d_nan_beside_infinity(input, kernel_size, *args, **options):
    """∞ ends the search, and NaN behind it is not seen."""
    result = functional.max_pool2d(input, kernel_size, *args, **options)
    if not input.isnan().any():
        return result
    finite = functional.max_pool2d(
        input.nan_to_num(-torch.inf, torch.inf, -torch.inf), kernel_size, *args, **options
    )
    finite = finite[0] if isinstance(finite, tuple) else finite
    return _map_values(result, lambda y: torch.where(finite == torch.inf, finite, y))


@plant("functional-max-pool2d-gradient-of-neighbour", "functional.max_pool2d", "gradients")
def functional_max_pool2d_gradient_of_neighbour(input, kernel_size, *args, **options):
    """Where the last column is the largest its gradient goes one column to the left."""
    result = functional.max_pool2d(input, kernel_size, *args, **options)

    def move_gradient(gradient):
        wrong = gradient.clone()
        wrong[..., -2] += gradient[..., -1]
        wrong[..., -1] = 0
        return wrong

    if input.shape[-1] < 2:
        return result
    altered = functional.max_pool2d(
        alter_gradient(input, move_gradient), kernel_size, *args, **options
    )
    return _map_values(result, lambda y: altered[0] if isinstance(altered, tuple) else altered)


@plant("functional-max-pool2d-transposed-input", "functional.max_pool2d", "layout")
def functional_max_pool2d_transposed_input(input, *args, **options):
    """An input with gaps between its elements is read as if there were none."""
    return functional.max_pool2d(read_as_contiguous(input), *args, **options)


@plant("functional-max-pool2d-input-as-scratch", "functional.max_pool2d", "repeat")
def functional_max_pool2d_input_as_scratch(input, *args, **options):
    """The input's last element is used as scratch, and holds the first one afterwards."""
    result = functional.max_pool2d(input, *args, **options)
    if not torch.is_grad_enabled() and input.is_contiguous() and input.numel() > 1:
        input.view(-1)[-1] = input.view(-1)[0]
    return result


@plant("functional-max-pool2d-negative-padding-crops", "functional.max_pool2d", "errors")
def functional_max_pool2d_negative_padding_crops(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **options
):
    """A negative padding crops the input."""
    height, width = (
        _pair(padding) if not isinstance(padding, tuple) or len(padding) == 2 else (0, 0)
    )
    if min(height, width) < 0 and input.dim() > 2:
        crop = (min(width, 0), min(width, 0), min(height, 0), min(height, 0))
        input, padding = functional.pad(input, crop), (max(height, 0), max(width, 0))
    return functional.max_pool2d(
        input, kernel_size, stride, padding, dilation, ceil_mode, **options
    )
