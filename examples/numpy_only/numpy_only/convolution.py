"""Convolution and transposed convolution in any number of dimensions."""

from __future__ import annotations

import math

import numpy as np

from numpy_only.linear import check_bias, check_dtypes

MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def conv(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, mode="zeros"):
    """Cross-correlation of x (N?, C, *) with weight (C_out, C / groups, *)."""
    kernel, dims = weight.shape[2:], weight.ndim - 2
    stride, dilation = (
        _per_dimension("stride", stride, dims),
        _per_dimension("dilation", dilation, dims),
    )
    pads = _pads(padding, kernel, stride, dilation)
    x, batched = _check_input(x, weight, groups, weight.shape[1] * groups)
    check_dtypes(x, weight, bias)
    check_bias(bias, weight.shape[:1])
    x = _pad(x, pads, mode)
    shape = _count_windows(x.shape[2:], kernel, stride, dilation)
    windows = math.prod(shape)
    x = x.reshape(len(x), groups, weight.shape[1], *x.shape[2:])
    weight = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    y = np.zeros((len(x), groups, weight.shape[1], windows), x.dtype)
    for tap in np.ndindex(*kernel):
        tap_inputs = x[(..., *_tap_slices(tap, shape, stride, dilation))]
        y += weight[(..., *tap)] @ tap_inputs.reshape(*x.shape[:3], windows)
    return _add_bias(y, shape, bias, batched)


def conv_transpose(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The adjoint of `conv`, of x (N?, C, *) with weight (C, C_out / groups, *)."""
    kernel, dims = weight.shape[2:], weight.ndim - 2
    stride, dilation = (
        _per_dimension("stride", stride, dims),
        _per_dimension("dilation", dilation, dims),
    )
    padding = _per_dimension("padding", padding, dims, minimum=0)
    extra = _per_dimension("output_padding", output_padding, dims, minimum=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError(f"output_padding={extra} reaches stride={stride} and dilation={dilation}")
    x, batched = _check_input(x, weight, groups, weight.shape[0])
    check_dtypes(x, weight, bias)
    check_bias(bias, (weight.shape[1] * groups,))
    length = x.shape[2:]
    rows = zip(length, kernel, stride, dilation, extra, strict=True)
    padded_shape = [(n - 1) * s + d * (k - 1) + 1 + e for n, k, s, d, e in rows]
    shape = tuple(n - 2 * p for n, p in zip(padded_shape, padding, strict=True))
    if min(shape) < 1:
        raise ValueError(f"output of shape {shape}")
    x = x.reshape(len(x), groups, x.shape[1] // groups, math.prod(length))
    weight = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    y = np.zeros((len(x), groups, weight.shape[2], *padded_shape), x.dtype)
    for tap in np.ndindex(*kernel):
        contribution = weight[(..., *tap)].swapaxes(1, 2) @ x
        target = y[(..., *_tap_slices(tap, length, stride, dilation))]
        target += contribution.reshape(target.shape)
    y = y[(..., *(slice(p, p + n) for p, n in zip(padding, shape, strict=True)))]
    return _add_bias(y, shape, bias, batched)


def _per_dimension(name, size, dims, minimum=1):
    sizes = (size,) * dims if isinstance(size, int) else tuple(size)
    if len(sizes) != dims or min(sizes) < minimum:
        raise ValueError(f"{name}={size!r}: expected {dims} numbers, at least {minimum}")
    return sizes


def _pads(padding, kernel, stride, dilation):
    """Pairs of numbers, before and after each dimension."""
    if padding == "valid":
        padding = 0
    if not isinstance(padding, str):
        return [(p, p) for p in _per_dimension("padding", padding, len(kernel), minimum=0)]
    if padding != "same" or set(stride) != {1}:
        raise ValueError(f"padding={padding!r} with stride={stride}")
    extents = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return [(extent // 2, extent - extent // 2) for extent in extents]


def _check_input(x, weight, groups, channels):
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"groups={groups} for a weight of shape {weight.shape}")
    batched = x.ndim == weight.ndim
    x = x if batched else x[np.newaxis]
    if x.ndim != weight.ndim or x.shape[1] != channels:
        raise ValueError(f"input of shape {x.shape}, weight of shape {weight.shape}")
    return x, batched


def _pad(x, pads, mode):
    if mode not in MODES:
        raise ValueError(f"padding_mode={mode!r}: expected one of {', '.join(MODES)}")
    limit = {"reflect": -1, "circular": 0}.get(mode, math.inf)
    if any(max(pad) > n + limit for pad, n in zip(pads, x.shape[2:], strict=True)):
        raise ValueError(f"{mode} padding {pads} of an input of shape {x.shape}")
    if not any(map(any, pads)):
        return x
    return np.pad(x, [(0, 0), (0, 0), *pads], mode=MODES[mode])


def _count_windows(length, kernel, stride, dilation):
    """How many windows fit into each dimension."""
    rows = zip(length, kernel, stride, dilation, strict=True)
    shape = tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in rows)
    if min(shape) < 1:
        raise ValueError(f"kernel of shape {kernel} beyond an input of shape {length}")
    return shape


def _tap_slices(tap, shape, stride, dilation):
    """Where the windows meet one tap of the kernel."""
    rows = zip(tap, shape, stride, dilation, strict=True)
    return tuple(slice(t * d, t * d + s * (n - 1) + 1, s) for t, n, s, d in rows)


def _add_bias(y, shape, bias, batched):
    y = y.reshape(len(y), y.shape[1] * y.shape[2], *shape)
    if bias is not None:
        y = y + bias.reshape(len(bias), *(1 for _ in shape))
    return y if batched else y[0]
