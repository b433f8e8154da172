"""Convolution and transposed convolution in one, two and three dimensions.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page.

Sources: the pages torch.nn.Conv2d, ConvTranspose2d (and 1d, 3d, Lazy…) and
torch.nn.functional.conv2d, conv_transpose2d of the PyTorch documentation; V. Dumoulin and F. Visin,
*A guide to convolution arithmetic for deep learning* (2016).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, multilinear

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Size = int | Sequence[int]

PAD_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def per_dimension(size: Size, dims: int) -> tuple[int, ...]:
    """One number for each spatial dimension; an int or a sequence of one is repeated."""
    return (
        (size,) * dims if isinstance(size, int) else tuple(size) * (dims if len(size) == 1 else 1)
    )


def paddings(
    padding: str | Size, kernel_size: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Padding before and after each dimension.

    'valid' is no padding; 'same' adds dilation·(kernel_size − 1) in total, the odd one at the end.
    """
    if padding == "valid":
        return ((0, 0),) * len(kernel_size)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    assert not isinstance(padding, str), padding
    return tuple((p, p) for p in per_dimension(padding, len(kernel_size)))


def conv_length(
    length: int, kernel: int, stride: int, before: int, after: int, dilation: int
) -> int:
    """L_out = ⌊(L_in + padding − dilation·(kernel_size − 1) − 1)/stride⌋ + 1."""
    return (length + before + after - dilation * (kernel - 1) - 1) // stride + 1


def convolve(
    input: np.ndarray,
    weight: np.ndarray,
    *,
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """out[n, c, o] = Σ_i Σ_k weight[c, i, k] · padded[n, i, o·stride + k·dilation].

    Args:
        input: (N, C_in, *L).
        weight: (C_out, C_in/groups, *K).
        stride, pads, dilation: one entry a spatial dimension.
        groups: number of groups that input and output channels are split into.
        padding_mode: what the padding holds.
    """
    padded = _pad(input, pads, padding_mode)
    matrix, output_lengths = _window_matrix(padded, weight.shape, stride, dilation, groups)
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    sums: np.ndarray = rows @ matrix.swapaxes(-1, -2)
    return sums.reshape(len(input), weight.shape[0], *output_lengths)


def _pad(input: np.ndarray, pads: Sequence[tuple[int, int]], padding_mode: str) -> np.ndarray:
    if not any(map(any, pads)):
        return input
    if padding_mode == "zeros":
        # A negative padding crops; the gradient of a transposed convolution needs it.
        crops: list[Any] = [slice(None, min(after, 0) or None) for _, after in pads]
        cropped = input[(..., *crops)]
        sizes = [n + b + max(a, 0) for n, (b, a) in zip(cropped.shape[2:], pads, strict=True)]
        padded = np.zeros((*cropped.shape[:2], *sizes), cropped.dtype)
        inner: list[Any] = [
            slice(b, b + n) for n, (b, _) in zip(cropped.shape[2:], pads, strict=True)
        ]
        padded[(..., *inner)] = cropped
        return padded
    width = [(0, 0), (0, 0), *pads]
    return np.asarray(np.pad(input, width, mode=PAD_MODES[padding_mode]))  # type: ignore[call-overload]


def _fold(
    padded: np.ndarray, shape: Shape, pads: Sequence[tuple[int, int]], padding_mode: str
) -> np.ndarray:
    """Adjoint of `_pad`: values copied into the padding are added to their sources."""
    for axis, (pad, length) in enumerate(zip(pads, shape[2:], strict=True), 2):
        if padding_mode == "zeros":
            padded = padded.take(range(pad[0], pad[0] + length), axis=axis)
            continue
        sources = np.pad(np.arange(length), pad, mode=PAD_MODES[padding_mode])  # type: ignore[call-overload]
        folded = np.zeros((length, *np.moveaxis(padded, axis, 0).shape[1:]), padded.dtype)
        np.add.at(folded, sources, np.moveaxis(padded, axis, 0))
        padded = np.moveaxis(folded, 0, axis)
    return padded


def _window_matrix(
    padded: np.ndarray, weight: Shape, stride: Sequence[int], dilation: Sequence[int], groups: int
) -> tuple[np.ndarray, Shape]:
    """The input in the window of each output position: (N, groups, positions, taps)."""
    per_group, kernel = weight[1], weight[2:]
    output_lengths = tuple(
        conv_length(length, k, s, 0, 0, d)
        for length, k, s, d in zip(padded.shape[2:], kernel, stride, dilation, strict=True)
    )
    sample, channel, *position_strides = padded.strides
    steps = [s * place for s, place in zip(stride, position_strides, strict=True)]
    tap_strides = [d * place for d, place in zip(dilation, position_strides, strict=True)]
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (len(padded), groups, *output_lengths, per_group, *kernel),
        (sample, per_group * channel, *steps, channel, *tap_strides),
        writeable=False,
    )
    return windows.reshape(
        len(padded), groups, math.prod(output_lengths), math.prod(weight[1:])
    ), output_lengths


def convolve_input_gradient(
    cotangent: np.ndarray,
    weight: np.ndarray,
    *,
    input: Shape,
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """Adjoint of `convolve` in its input, of shape `input`: outputs spread over their windows."""
    leftover = [
        length + sum(pad) - ((size - 1) * s + d * (k - 1) + 1)
        for length, pad, size, s, d, k in zip(
            input[2:], pads, cotangent.shape[2:], stride, dilation, weight.shape[2:], strict=True
        )
    ]
    scattered = convolve_transposed(
        cotangent,
        weight,
        stride=stride,
        padding=(0,) * len(leftover),
        output_padding=leftover,
        dilation=dilation,
        groups=groups,
    )
    return _fold(scattered, input, pads, padding_mode)


def convolve_weight_gradient(
    cotangent: np.ndarray,
    input: np.ndarray,
    *,
    weight: Shape,
    stride: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int],
    groups: int,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """Adjoint of `convolve` in its weight, of shape `weight`: outputs times their windows."""
    padded = _pad(input, pads, padding_mode)
    matrix, _ = _window_matrix(padded, weight, stride, dilation, groups)
    positions = math.prod(cotangent.shape[2:])
    rows = cotangent.reshape(len(input), groups, weight[0] // groups, positions)
    # A transposed convolution may leave windows beyond the last position.
    return np.asarray(np.einsum("ngco,ngok->gck", rows, matrix)).reshape(weight)


def convolve_transposed(
    input: np.ndarray,
    weight: np.ndarray,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> np.ndarray:
    """Every input element i adds its multiple of the kernel at i·stride + k·dilation − padding.

    Args:
        input: (N, C_in, *L).
        weight: (C_in, C_out/groups, *K).
        stride, padding, output_padding, dilation: one entry a spatial dimension.
        groups: number of groups that input and output channels are split into.
    """
    n, channels, *lengths = input.shape
    _, per_group, *kernel = weight.shape
    full = [
        (length - 1) * s + d * (k - 1) + 1 + extra
        for length, s, d, k, extra in zip(
            lengths, stride, dilation, kernel, output_padding, strict=True
        )
    ]
    x = input.reshape(n, groups, channels // groups, math.prod(lengths))
    w = weight.reshape(groups, channels // groups, per_group * math.prod(kernel))
    products = (w.swapaxes(-1, -2) @ x).reshape(n, groups, per_group, *kernel, *lengths)
    canvas = np.zeros((n, groups, per_group, *full), dtype=products.dtype)
    # For each dimension the positions to which each of its taps adds.
    targets: list[list[Any]] = [
        [slice(k * d, k * d + (length - 1) * s + 1, s) for k in range(taps)]
        for taps, d, length, s in zip(kernel, dilation, lengths, stride, strict=True)
    ]
    for offset, target in zip(product(*map(range, kernel)), product(*targets), strict=True):
        canvas[(..., *target)] += products[(slice(None), slice(None), slice(None), *offset)]
    inside: tuple[Any, ...] = tuple(
        slice(p, size - p) for p, size in zip(padding, full, strict=True)
    )
    cropped = canvas[(..., *inside)]
    return cropped.reshape(n, groups * per_group, *cropped.shape[3:])


def output_paddings(
    output_size: Sequence[int],
    lengths: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """The output_padding that gives the output the requested size.

    Args:
        output_size: the spatial sizes, or all sizes of the output.
        lengths: the spatial sizes of the input.
        kernel, stride, padding, dilation: one entry a spatial dimension.
    """
    spatial_sizes = output_size[-len(lengths) :]
    return tuple(
        size - ((length - 1) * s - 2 * p + d * (k - 1) + 1)
        for size, length, k, s, p, d in zip(
            spatial_sizes, lengths, kernel, stride, padding, dilation, strict=True
        )
    )


def _apply_batched(function: Any, x: Rounded, dims: int) -> Rounded:
    """Treat an unbatched input (C, *L) as a batch of one."""
    if len(x.shape) == dims + 2:
        return function(x)  # type: ignore[no-any-return]
    return function(x.map(lambda a: a[np.newaxis]))[0]  # type: ignore[no-any-return]


def _channel_bias(bias: Rounded | None, dims: int) -> Rounded | None:
    return None if bias is None else bias.map(lambda b: b.reshape(-1, *(1,) * dims))


def conv(
    state: State,
    input: Rounded,
    weight: Rounded,
    bias: Rounded | None = None,
    *,
    stride: Size = 1,
    padding: str | Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Rounded:
    """Cross-correlation of input (N?, C_in, *L) and weight (C_out, C_in/groups, *K), plus bias."""
    dims = len(weight.shape) - 2
    strides, dilations = per_dimension(stride, dims), per_dimension(dilation, dims)
    pads = paddings(padding, weight.shape[2:], dilations)

    options: dict[str, Any] = {
        "stride": strides,
        "pads": pads,
        "dilation": dilations,
        "groups": groups,
        "padding_mode": padding_mode,
    }

    def convolve_batch(x: Rounded) -> Rounded:
        return multilinear(
            partial(convolve, **options),
            x,
            weight,
            addend=_channel_bias(bias, dims),
            terms=math.prod(weight.shape[1:]),
            wide=True,
            adjoints=(
                partial(convolve_input_gradient, input=x.shape, **options),
                partial(convolve_weight_gradient, weight=weight.shape, **options),
            ),
            wide_adjoints=False,
        )

    return _apply_batched(convolve_batch, input, dims)


def conv_transpose(
    state: State,
    input: Rounded,
    weight: Rounded,
    bias: Rounded | None = None,
    *,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    output_size: Sequence[int] | None = None,
) -> Rounded:
    """The gradient of the convolution with weight (C_in, C_out/groups, *K) w.r.t. its input."""
    shape, dims = weight.shape, len(weight.shape) - 2  # a closure over the weight would keep it
    strides, dilations = per_dimension(stride, dims), per_dimension(dilation, dims)
    crop, extra = per_dimension(padding, dims), per_dimension(output_padding, dims)
    if output_size is not None:
        extra = output_paddings(
            output_size, input.shape[-dims:], weight.shape[2:], strides, crop, dilations
        )

    # An output_padding of a stride or more adds positions beyond the last window.
    pads = tuple(
        (p, p - e // s * s if e >= s else p) for p, e, s in zip(crop, extra, strides, strict=True)
    )
    options: dict[str, Any] = {
        "stride": strides,
        "pads": pads,
        "dilation": dilations,
        "groups": groups,
    }

    def weight_gradient(cotangent: np.ndarray, x: np.ndarray) -> np.ndarray:
        return convolve_weight_gradient(x, cotangent, weight=shape, **options)

    def convolve_batch(x: Rounded) -> Rounded:
        return multilinear(
            partial(
                convolve_transposed,
                stride=strides,
                padding=crop,
                output_padding=extra,
                dilation=dilations,
                groups=groups,
            ),
            x,
            weight,
            addend=_channel_bias(bias, dims),
            terms=weight.shape[0] // groups * math.prod(weight.shape[2:]),
            adjoints=(partial(convolve, **options), weight_gradient),
        )

    return _apply_batched(convolve_batch, input, dims)
