"""Pooling as plain loops, from the documentation alone."""

from __future__ import annotations

import math

import numpy as np

from brute_force.oracles import _per_dimension, _positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's outputs: of several largest elements the index is the first one's."""
    return max_pool(case.inputs[0], 2, **case.call.arguments)


def _starts(length: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool):
    """Where each window begins, found by trying one after the other."""
    found = []
    start = -padding
    while True:
        end = start + dilation * (kernel - 1)
        inside = end < length + padding
        # ceil_mode: off-bounds, but begun within the left padding or the input; a window beyond
        # those that fit is the next one only.
        before = start - stride + dilation * (kernel - 1) < length + padding - 1
        if not (inside or (ceil and start < length and (before or not found))):
            return found
        found.append(start)
        start += stride


def max_pool(
    input: np.ndarray,
    dimensions: int,
    *,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    return_indices=False,
    ceil_mode=False,
) -> tuple[np.ndarray, ...]:
    """MaxPool1d, MaxPool2d, MaxPool3d: the largest of each window, the padding being −∞."""
    kernel = _per_dimension(kernel_size, dimensions)
    strides = kernel if stride is None else _per_dimension(stride, dimensions)
    paddings = _per_dimension(padding, dimensions)
    dilations = _per_dimension(dilation, dimensions)
    sizes = input.shape[-dimensions:]
    starts = [
        _starts(sizes[d], kernel[d], strides[d], paddings[d], dilations[d], ceil_mode)
        for d in range(dimensions)
    ]
    leading = input.shape[:-dimensions]
    shape = (*leading, *map(len, starts))
    values, indices = np.full(shape, -np.inf), np.zeros(shape)
    for plane in _positions(leading):
        for at in _positions(shape[-dimensions:]):
            best, where, found = -math.inf, 0, False
            for tap in _positions(kernel):
                place = tuple(starts[d][at[d]] + dilations[d] * tap[d] for d in range(dimensions))
                if any(not 0 <= place[d] < sizes[d] for d in range(dimensions)):
                    continue
                x = input[(*plane, *place)]
                if not found or x > best:
                    best, found = x, True
                    where = 0
                    for d in range(dimensions):
                        where = where * sizes[d] + place[d]
            values[(*plane, *at)], indices[(*plane, *at)] = best, where
    return (values, indices) if return_indices else (values,)
