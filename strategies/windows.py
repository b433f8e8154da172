"""Sliding windows: kernel, stride, dilation, padding, and lengths for which they are valid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

kernels = st.sampled_from((1, 2, 3, 4))
pointwise_kernels = st.just(1)
long_kernels = st.sampled_from((1, 2, 3, 4, 5, 7))
# For the long dimension: from about 16 on, kernels are computed by Fourier transforms.
longest_kernels = st.sampled_from((1, 2, 3, 17, 17))
# Odd, so that a window padded by half its length on either side still has an output.
thin_kernels = st.sampled_from((3, 3, 5))
narrow_kernels = st.sampled_from((1, 1, 2, 3))
strides = st.sampled_from((1, 2, 3, 4))
thin_strides = st.sampled_from((1, 2))
narrow_strides = st.sampled_from((2, 3))
dilations = st.sampled_from((1, 2, 3))
paddings = st.sampled_from((0, 0, 0, 1, 2, 3))
narrow_paddings = st.sampled_from((0, 1, 1))
extras = st.integers(0, 3)
no_extras = st.just(0)
# More than 64 outputs, where kernels work in blocks; a transposed convolution needs fewer inputs.
long_extras = st.integers(64, 80)
long_transposed_extras = st.integers(33, 40)
# Mostly long, and shrinks to 0: with few products no length is too slow.
any_extras = st.integers(0, 80)
padding_modes = st.sampled_from(("zeros", "reflect", "replicate", "circular"))
padding_kinds = st.sampled_from(("number", "number", "number", "same", "valid"))


@dataclass(frozen=True)
class Window:
    """One spatial dimension of a convolution.

    Args:
        padding: padding on each side; for 'same' the larger side.
        length: length of the input.
        output_padding, output_size: set for a transposed convolution only.
    """

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    length: int = 1
    output_padding: int = 0
    output_size: int = 1


@dataclass(frozen=True)
class Sources:
    """Strategies of a window's numbers besides its kernel.

    Args:
        strides, paddings: not used where all but the kernel keep their defaults.
        extras: number of outputs besides the first; of inputs for a transposed convolution.
    """

    strides: st.SearchStrategy[int] = strides
    paddings: st.SearchStrategy[int] = paddings
    extras: st.SearchStrategy[int] = extras


def kernel_sizes(profile: str, dims: int, remaining_dims: int) -> st.SearchStrategy[int]:
    """Kernel sizes of a profile: fewer dimensions allow longer kernels.

    Args:
        profile: "pointwise" is a kernel of 1, "long" has a long last dimension, "narrow" a
            short one.
        dims: number of spatial dimensions.
        remaining_dims: number of dimensions not drawn yet, this one included; 1 = the last.
    """
    if remaining_dims == 1 and profile in ("long", "long depthwise"):
        return longest_kernels
    if remaining_dims == 1 and profile == "narrow":
        return narrow_kernels
    if profile == "pointwise":
        return pointwise_kernels
    return long_kernels if dims == 1 else kernels


def conv_window(
    draw: Draw,
    kernels: st.SearchStrategy[int],
    sources: Sources,
    *,
    keeps_defaults: bool,
    padding_kind: str,
    padding_mode: str,
) -> Window:
    """Draw a window and, from the output length backwards, an input length that it is valid for.

    Args:
        keeps_defaults: stride, dilation and padding keep their defaults.
        padding_kind: "number", "same" or "valid".
        padding_mode: decides how long an input must be to be padded.
    """
    kernel = draw(kernels)
    # Drawn for every kind of padding: Hypothesis counts a kind that draws less as simpler.
    stride, dilation, padding = (
        (1, 1, 0)
        if keeps_defaults
        else (draw(sources.strides), draw(dilations), draw(sources.paddings))
    )
    if padding_kind == "same" and stride % 2 == 0 and kernel > 1:
        # 'same' has no stride: an even one becomes an even kernel, whose padding is asymmetric.
        kernel, dilation = kernel + kernel % 2, dilation | 1
    reach = dilation * (kernel - 1)
    before = after = padding if padding_kind == "number" else 0
    if padding_kind == "same":
        stride = 1
        before, after = reach // 2, reach - reach // 2
    # Reflection needs padding < length, circular padding ≤ length.
    min_lengths = {"zeros": 1, "replicate": 1, "reflect": after + 1, "circular": max(after, 1)}
    min_length = max(min_lengths[padding_mode], reach + 1 - before - after)
    output = (min_length + before + after - reach - 1) // stride + 1 + draw(sources.extras)
    length = (output - 1) * stride + reach + 1 - before - after
    slack = draw(st.integers(0, stride - 1)) if stride > 1 else 0
    return Window(kernel, stride, dilation, after, max(length + slack, min_length))


def transposed_window(
    draw: Draw,
    kernels: st.SearchStrategy[int],
    sources: Sources,
    *,
    keeps_defaults: bool,
    has_output_size: bool,
) -> Window:
    """Draw a window of a transposed convolution and an input length that it is valid for.

    Args:
        keeps_defaults: all but the kernel keep their defaults.
        has_output_size: the call passes output_size to forward.
    """
    kernel = draw(kernels)
    length = 1 + draw(sources.extras)
    if keeps_defaults:
        return Window(kernel, length=length, output_size=length + kernel - 1)
    stride, dilation = draw(sources.strides), draw(dilations)
    padding = draw(sources.paddings)
    extra = draw(st.integers(0, (stride if has_output_size else max(stride, dilation)) - 1))
    full = (length - 1) * stride + dilation * (kernel - 1) + 1
    padding = min(padding, (full + extra - 1) // 2)
    if has_output_size:
        # The smallest size that torch allows is the one without output_padding. Keep it above 0.
        padding = min(padding, (full - 1) // 2)
    size = full - 2 * padding + extra
    return Window(kernel, stride, dilation, padding, length, extra, size)


def thin_windows(draw: Draw, dims: int, *, transposed: bool) -> list[Window]:
    """Draw one padded window for all dimensions, with an input no longer than the kernel.

    At least the first dimension is that short. Some windows then reach into the padding on both
    sides, and some taps see padding only. For a transposed convolution the output is short instead:
    its gradients are convolutions of the output.
    """
    kernel, stride = draw(thin_kernels), draw(thin_strides)
    padding = draw(st.integers(1, kernel // 2))
    min_length = kernel - 2 * padding
    count = draw(st.sampled_from((1, dims)))
    max_lengths = (kernel, *(kernel + 2,) * (count - 1))
    lengths = [draw(st.integers(min_length, max_length)) for max_length in max_lengths] * (
        dims // count
    )
    if not transposed:
        return [Window(kernel, stride, 1, padding, n) for n in lengths]
    steps = [divmod(n + 2 * padding - kernel, stride) for n in lengths]
    return [
        Window(kernel, stride, 1, padding, step + 1, output_padding, n)
        for n, (step, output_padding) in zip(lengths, steps, strict=True)
    ]
