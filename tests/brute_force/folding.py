"""Unfold and Fold as plain loops, from the documentation alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from conformance.model.case import Case


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    (x,), arguments = case.inputs, dict(case.call.arguments)
    assert x is not None
    output = arguments.pop("output_size", None)
    if output is None:
        return (unfold(x, **arguments),)
    return (fold(x, _pair(output), **arguments),)


def _blocks(
    lengths: tuple[int, int],
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...],
    padding: int | tuple[int, ...],
    stride: int | tuple[int, ...],
) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """Each block's number and its places: number within the block, row and column of the image."""
    (kh, kw), (dh, dw) = _pair(kernel_size), _pair(dilation)
    (ph, pw), (sh, sw) = _pair(padding), _pair(stride)
    tops = range(-ph, lengths[0] + ph - dh * (kh - 1), sh)
    lefts = range(-pw, lengths[1] + pw - dw * (kw - 1), sw)
    for number, (top, left) in enumerate(product(tops, lefts)):
        offsets = enumerate(product(range(kh), range(kw)))
        yield number, [(k, top + dh * i, left + dw * j) for k, (i, j) in offsets]


def _is_inside(row: int, column: int, lengths: tuple[int, int]) -> bool:
    return 0 <= row < lengths[0] and 0 <= column < lengths[1]


def unfold(
    x: np.ndarray,
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
) -> np.ndarray:
    """A column for each block."""
    lengths = (x.shape[-2], x.shape[-1])
    columns = []
    for _, places in _blocks(lengths, kernel_size, dilation, padding, stride):
        values = [
            x[..., row, column] if _is_inside(row, column, lengths) else np.zeros(x.shape[:-2])
            for _, row, column in places
        ]
        # (…, C, places): the channels run slowest.
        block = np.stack(values, -1)
        columns.append(block.reshape(*x.shape[:-3], -1) if x.size else block.reshape(
            *x.shape[:-3], x.shape[-3] * len(places)
        ))  # fmt: skip
    return np.stack(columns, -1)


def fold(
    x: np.ndarray,
    lengths: tuple[int, int],
    kernel_size: int | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] = 0,
    stride: int | tuple[int, ...] = 1,
) -> np.ndarray:
    """Each block's values are added where the block lies."""
    kernel_area = _pair(kernel_size)[0] * _pair(kernel_size)[1]
    channels = x.shape[-2] // kernel_area
    output = np.zeros((*x.shape[:-2], channels, *lengths))
    for number, places in _blocks(lengths, kernel_size, dilation, padding, stride):
        for k, row, column in places:
            if _is_inside(row, column, lengths):
                for c in range(channels):
                    output[..., c, row, column] += x[..., c * kernel_area + k, number]
    return output
