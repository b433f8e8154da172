"""Convolutions, `aten::convolution`: one blocked kernel and its wrong relatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import Cut, all_blocks, rounded, to_tensor, widened
from planted.kernels.calls import conv
from planted.kernels.kernel import kernel

LAYERS = tuple(
    f"{prefix}{kind}{n}d"
    for kind, prefixes in (
        ("Conv", ("", "Lazy")),
        ("ConvTranspose", ("", "Lazy")),
        ("conv", ("functional.",)),
        ("conv_transpose", ("functional.",)),
    )
    for prefix in prefixes
    for n in (1, 2, 3)
)
OPERATOR = "aten::convolution"
_TILE = all_blocks(32)


def _pad(x: np.ndarray, padding: Sequence[int]) -> np.ndarray:
    return np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])


@dataclass(frozen=True)
class Blocks:
    """How a convolution is cut, and what is done at each step.

    Args:
        outer: how the output channels of a group are cut; others stay 0.
        inner: how the input channels of a group are cut.
        pad: adds the padding.
        taps: which taps of the kernel are looked at.
        register: the dtype that running sums are rounded to, if any.
    """

    outer: Cut = _TILE
    inner: Cut = _TILE
    pad: Callable[[np.ndarray, Sequence[int]], np.ndarray] = _pad
    taps: Callable[[list[tuple[int, ...]]], list[tuple[int, ...]]] = list
    register: torch.dtype | None = None


_RIGHT = Blocks()


def _per_dimension(values: Sequence[int], dimensions: int) -> tuple[int, ...]:
    return tuple(values) * dimensions if len(values) == 1 else tuple(values)


def _mix_channels(factors: np.ndarray, channels: np.ndarray) -> np.ndarray:
    # `np.dot`, which tensordot calls, passes over factors of 0 where infinity times 0 is NaN.
    return np.einsum("oc,nc...->no...", factors, channels)


def _correlate(
    x: np.ndarray,
    w: np.ndarray,
    out: np.ndarray,
    stride: Sequence[int],
    dilation: Sequence[int],
    blocks: Blocks,
) -> None:
    """Add the correlation of a padded group, block by block of channels and tap by tap."""
    for o in blocks.outer(w.shape[0]):
        for c in blocks.inner(w.shape[1]):
            for tap in blocks.taps(list(np.ndindex(*w.shape[2:]))):
                window = tuple(
                    slice(t * d, t * d + (n - 1) * s + 1, s)
                    for t, d, n, s in zip(tap, dilation, out.shape[2:], stride, strict=True)
                )
                values = x[(slice(None), c, *window)]
                factors = w[(o, c, *tap)]
                out[:, o] += _mix_channels(factors, values)
            if blocks.register is not None:
                out[:, o] = rounded(out[:, o], blocks.register)


def _scatter(
    x: np.ndarray,
    w: np.ndarray,
    out: np.ndarray,
    stride: Sequence[int],
    dilation: Sequence[int],
    blocks: Blocks,
) -> None:
    """Add the transposed correlation of a group to an output that still has its padding."""
    for o in blocks.outer(w.shape[1]):
        for c in blocks.inner(w.shape[0]):
            for tap in blocks.taps(list(np.ndindex(*w.shape[2:]))):
                window = tuple(
                    slice(t * d, t * d + (n - 1) * s + 1, s)
                    for t, d, n, s in zip(tap, dilation, x.shape[2:], stride, strict=True)
                )
                out[(slice(None), o, *window)] += _mix_channels(w[(c, o, *tap)].T, x[:, c])
            if blocks.register is not None:
                out[:, o] = rounded(out[:, o], blocks.register)


def blocked(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    blocks: Blocks = _RIGHT,
) -> Tensor:
    """A convolution in any number of dimensions, group by group; the operator's arguments."""
    x, w = widened(input), widened(weight)
    dimensions = x.ndim - 2
    stride, padding, dilation, output_padding = (
        _per_dimension(values, dimensions) for values in (stride, padding, dilation, output_padding)
    )
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True)]
    if transposed:
        extents = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], stride, spans, strict=True)]
        ends = [n - p + e for n, p, e in zip(extents, padding, output_padding, strict=True)]
        padded_shape = [max(pair) for pair in zip(extents, ends, strict=True)]
        out = np.zeros((len(x), w.shape[1] * groups, *padded_shape), x.dtype)
    else:
        x = blocks.pad(x, padding)
        sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[2:], spans, stride, strict=True)]
        out = np.zeros((len(x), w.shape[0], *sizes), x.dtype)
    if out.size and x.size and w.size:
        in_channels, out_channels = x.shape[1] // groups, out.shape[1] // groups
        step = w.shape[0] // groups
        accumulate = _scatter if transposed else _correlate
        for g in range(groups):
            group = (
                slice(g * in_channels, (g + 1) * in_channels),
                slice(g * out_channels, (g + 1) * out_channels),
            )
            factors = w[g * step : (g + 1) * step]
            accumulate(x[:, group[0]], factors, out[:, group[1]], stride, dilation, blocks)
    if transposed:
        inside = map(slice, padding, ends)
        out = out[(slice(None), slice(None), *inside)]
    if bias is not None:
        out = out + widened(bias).reshape(-1, *[1] * dimensions)
    return to_tensor(out, input)


@kernel(
    "convolution-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        conv(2, 40, 36, (7, 5), (3, 2), padding=1, stride=2),
        conv(2, 4, 6, (40,), (3,), groups=2, dilation=3, dtype="bfloat16"),
        conv(1, 2, 3, (4, 5, 6), (2, 3, 1), dtype="float64", bias=False),
        conv(2, 4, 6, (5, 4), (3, 2), transposed=True, groups=2, stride=2, output_padding=1),
        conv(1, 3, 2, (7,), (3,), transposed=True, padding=1, dilation=2),
    ],
)
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    return blocked(
        input, weight, bias, stride, padding, dilation, transposed, output_padding, groups
    )
