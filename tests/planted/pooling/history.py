"""MaxPool2d, functional.max_pool2d."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, as_if_contiguous, graft, plant


def _pair(size):
    return (size, size) if isinstance(size, int) else tuple(size)


class _Pool(nn.MaxPool2d):
    """Calls with some arguments changed."""

    def having(self, input, **changes):
        arguments = {
            "kernel_size": self.kernel_size,
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "ceil_mode": self.ceil_mode,
            "return_indices": self.return_indices,
        }
        return functional.max_pool2d(input, **{**arguments, **changes})


def _values(result, change):
    """The result with its values changed, and its indices as they are."""
    if isinstance(result, tuple):
        return change(result[0]), result[1]
    return change(result)


@plant("max-pool2d-first-dilation-twice", "MaxPool2d", "values")
class MaxPool2dFirstDilationTwice(_Pool):
    """The dilation of the height serves the width, too (burn 4466)."""

    def forward(self, input):
        high, wide = _pair(self.dilation)
        right = super().forward(input)
        if high == wide:
            return right
        wrong = self.having(input, dilation=high) if high < wide else right
        first = wrong[0] if isinstance(wrong, tuple) else wrong
        shape = (right[0] if isinstance(right, tuple) else right).shape
        first = first[..., : shape[-2], : shape[-1]]
        return _values(right, lambda y: first if first.shape == y.shape else y)


@plant("max-pool2d-padded-with-zeros", "MaxPool2d", "values")
class MaxPool2dPaddedWithZeros(_Pool):
    """The padding is 0, which is larger than what is negative (tinygrad 7726)."""

    def forward(self, input):
        high, wide = _pair(self.padding)
        result = super().forward(input)
        if not (high or wide) or self.ceil_mode or input.numel() == 0:
            return result
        around = functional.pad(input.detach(), (wide, wide, high, high))
        zeros = self.having(around, padding=0, return_indices=False)
        return _values(result, lambda y: graft(zeros, y))


@plant("max-pool2d-window-beyond-the-input", "MaxPool2d", "shape")
class MaxPool2dWindowBeyondTheInput(_Pool):
    """With ceil_mode a window that starts in the right padding counts (rten 1456)."""

    def forward(self, input):
        result = super().forward(input)
        first = result[0] if isinstance(result, tuple) else result
        numbers = (_pair(x) for x in (self.kernel_size, self.stride, self.padding, self.dilation))
        more = []
        rows = zip(input.shape[-2:], first.shape[-2:], *numbers, strict=True)
        for length, outputs, kernel, stride, padding, dilation in rows:
            room = length + 2 * padding - dilation * (kernel - 1) - 1
            more.append(-(-room // stride) + 1 - outputs)
        if not self.ceil_mode or not any(more):
            return result
        return _values(result, lambda y: functional.pad(y, (0, more[1], 0, more[0])))


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
            value, where = self.having(input, return_indices=True)
        flat = input.flatten(-2)
        count = torch.zeros_like(flat)
        count.scatter_add_(-1, where.flatten(-2), torch.ones_like(value).flatten(-2))
        if value.numel() == 0 or count.max() < 2:
            return result
        share = count.gather(-1, where.flatten(-2)).reshape(value.shape)
        return _values(result, lambda y: alter_gradient(y, lambda g: g / share))


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
        return super().forward(as_if_contiguous(input))


@plant("max-pool2d-stochastic-in-training", "MaxPool2d", "state")
class MaxPool2dStochasticInTraining(_Pool):
    """In train mode a tenth of the output is dropped."""

    def forward(self, input):
        result = super().forward(input)
        return _values(result, lambda y: functional.dropout(y, 0.1, self.training))


@plant("max-pool2d-output-buffer-kept", "MaxPool2d", "repeat")
class MaxPool2dOutputBufferKept(_Pool):
    """Outputs of one shape share one buffer, which the next call writes over."""

    def forward(self, input):
        result = super().forward(input)
        if torch.is_grad_enabled():
            return result
        kept = self.__dict__.setdefault("_kept", {})
        key = (result[0] if isinstance(result, tuple) else result).shape

        def stored(y):
            return kept[key].copy_(y) if key in kept else kept.setdefault(key, y.clone())

        return _values(result, stored)


@plant("max-pool2d-large-padding-accepted", "MaxPool2d", "errors")
class MaxPool2dLargePaddingAccepted(_Pool):
    """A padding of more than half the kernel is cut to that."""

    def forward(self, input):
        pairs = zip(_pair(self.padding), _pair(self.kernel_size), strict=True)
        return self.having(input, padding=tuple(min(p, max(k // 2, 0)) for p, k in pairs))


@plant("max-pool2d-blocks-of-planes-repeated", "MaxPool2d", "laws")
class MaxPool2dBlocksOfPlanesRepeated(_Pool):
    """Planes are computed 33 at a time, and each block stores what the first one holds."""

    def forward(self, input):
        result = super().forward(input)
        planes = torch.arange(input.shape[-3]) % 33
        return _values(result, lambda y: y.index_select(-3, planes))


@plant("functional-max-pool2d-stride-one", "functional.max_pool2d", "shape")
def functional_max_pool2d_stride_one(input, kernel_size, stride=None, *rest, **options):
    """A stride that is left out is 1, as of a convolution."""
    return functional.max_pool2d(input, kernel_size, 1 if stride is None else stride, *rest,
                                 **options)  # fmt: skip


@plant("functional-max-pool2d-indices-of-the-batch", "functional.max_pool2d", "values")
def functional_max_pool2d_indices_of_the_batch(input, kernel_size, *rest, **options):
    """Indices count through all planes, as TensorFlow's do."""
    result = functional.max_pool2d(input, kernel_size, *rest, **options)
    if not isinstance(result, tuple):
        return result
    values, indices = result
    planes = torch.arange(values.shape[:-2].numel()).reshape(*values.shape[:-2], 1, 1)
    return values, indices + planes * input.shape[-2] * input.shape[-1]


@plant("functional-max-pool2d-indices-transposed", "functional.max_pool2d", "values")
def functional_max_pool2d_indices_transposed(input, kernel_size, *rest, **options):
    """An index counts columns first."""
    result = functional.max_pool2d(input, kernel_size, *rest, **options)
    if not isinstance(result, tuple):
        return result
    high, wide = input.shape[-2:]
    return result[0], result[1] % wide * high + result[1] // wide


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
    over = [
        (n - 1) * s + d * (k - 1) + 1 > m + p
        for m, n, k, s, p, d in zip(input.shape[-2:], first.shape[-2:], *numbers, strict=True)
    ]
    high, wide = (torch.zeros(n, dtype=torch.bool) for n in first.shape[-2:])
    high[-1:], wide[-1:] = over
    zero = (high[:, None] | wide) & (first.detach() < 0)
    return _values(result, lambda y: graft(y.masked_fill(zero, 0.0), y))


@plant("functional-max-pool2d-index-of-minus-infinity", "functional.max_pool2d", "special")
def functional_max_pool2d_index_of_minus_infinity(input, kernel_size, *rest, **options):
    """A window of −∞ alone has the index 0 that the search began with (TileOPs 832)."""
    result = functional.max_pool2d(input, kernel_size, *rest, **options)
    if not isinstance(result, tuple):
        return result
    return result[0], result[1].masked_fill(result[0] == -torch.inf, 0)


@plant("functional-max-pool2d-nan-beside-infinity", "functional.max_pool2d", "special")
def functional_max_pool2d_nan_beside_infinity(input, kernel_size, *rest, **options):
    """∞ ends the search, and NaN behind it is not seen."""
    result = functional.max_pool2d(input, kernel_size, *rest, **options)
    if not input.isnan().any():
        return result
    finite = functional.max_pool2d(
        input.nan_to_num(-torch.inf, torch.inf, -torch.inf), kernel_size, *rest, **options
    )
    finite = finite[0] if isinstance(finite, tuple) else finite
    return _values(result, lambda y: torch.where(finite == torch.inf, finite, y))


@plant("functional-max-pool2d-gradient-of-neighbour", "functional.max_pool2d", "gradients")
def functional_max_pool2d_gradient_of_neighbour(input, kernel_size, *rest, **options):
    """Where the last column is the largest its gradient goes one column to the left."""
    result = functional.max_pool2d(input, kernel_size, *rest, **options)

    def moved(gradient):
        wrong = gradient.clone()
        wrong[..., -2] += gradient[..., -1]
        wrong[..., -1] = 0
        return wrong

    if input.shape[-1] < 2:
        return result
    other = functional.max_pool2d(alter_gradient(input, moved), kernel_size, *rest, **options)
    return _values(result, lambda y: other[0] if isinstance(other, tuple) else other)


@plant("functional-max-pool2d-transposed-input", "functional.max_pool2d", "layout")
def functional_max_pool2d_transposed_input(input, *rest, **options):
    """An input with gaps between its elements is read as if there were none."""
    return functional.max_pool2d(as_if_contiguous(input), *rest, **options)


@plant("functional-max-pool2d-input-as-scratch", "functional.max_pool2d", "repeat")
def functional_max_pool2d_input_as_scratch(input, *rest, **options):
    """The input's last element is used as scratch, and holds the first one afterwards."""
    result = functional.max_pool2d(input, *rest, **options)
    if not torch.is_grad_enabled() and input.is_contiguous() and input.numel() > 1:
        input.view(-1)[-1] = input.view(-1)[0]
    return result


@plant("functional-max-pool2d-negative-padding-crops", "functional.max_pool2d", "errors")
def functional_max_pool2d_negative_padding_crops(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **options
):
    """A negative padding crops the input."""
    high, wide = _pair(padding) if not isinstance(padding, tuple) or len(padding) == 2 else (0, 0)
    if min(high, wide) < 0 and input.dim() > 2:
        crop = (min(wide, 0), min(wide, 0), min(high, 0), min(high, 0))
        input, padding = functional.pad(input, crop), (max(high, 0), max(wide, 0))
    return functional.max_pool2d(
        input, kernel_size, stride, padding, dilation, ceil_mode, **options
    )
