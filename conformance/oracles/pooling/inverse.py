"""The partial inverse of pooling by maximum.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the pages torch.nn.MaxUnpool1d, MaxUnpool2d, MaxUnpool3d and those of their functions in
the PyTorch documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.rounded import Rounded
from conformance.oracles.convolution import per_dimension
from conformance.oracles.pooling.windows import Shape, Size

State = Mapping[str, Rounded]


def max_unpool(
    dims: int,
    state: State,
    input: Rounded,
    indices: Rounded,
    *,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Rounded | Choices:
    """Write each element at its index in a plane of zeros.

    For a repeated index "this operation may behave nondeterministically": any of its elements is
    right there.

    Args:
        dims: number of spatial dimensions.
        input: (N, C, *) or (C, *).
        indices: of the same shape.
    """
    (shape,) = max_unpool_shape(
        dims,
        input.shape,
        indices.shape,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        output_size=output_size,
    )
    planes, plane = math.prod(input.shape[:-dims]), math.prod(shape[-dims:])
    count = math.prod(input.shape[-dims:])
    starts = np.arange(planes)[:, np.newaxis] * plane
    positions = (indices.value.reshape(planes, count).astype(np.int64) + starts).reshape(-1)
    # The elements sorted by target, so that those with the same target are consecutive.
    order = np.argsort(positions, kind="stable")
    targets, first, counts = np.unique(positions[order], return_index=True, return_counts=True)
    flat, alternatives = input.map(lambda array: array.reshape(-1)), []
    for k in range(int(counts.max(initial=1))):
        source = np.zeros(planes * plane, np.int64)
        inside = np.zeros(planes * plane, bool)
        if len(targets):
            source[targets], inside[targets] = order[first + k % counts], True
        if not flat.shape[0]:
            alternatives.append(Rounded(np.zeros(shape), np.zeros(shape), input.precision))
            continue
        chosen = take(flat, source, 0, inside=inside)
        alternatives.append(chosen.map(lambda array: array.reshape(shape)))
    return alternatives[0] if len(alternatives) == 1 else Choices(tuple(alternatives))


def max_unpool_shape(
    dims: int,
    input: Shape,
    indices: Shape,
    *,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> tuple[Shape, ...]:
    """H_out = (H_in − 1)·stride − 2·padding + kernel_size, or `output_size`."""
    if output_size is not None:
        return ((*input[:-dims], *output_size[-dims:]),)
    sizes = (kernel_size, kernel_size if stride is None else stride, padding)
    rows = zip(input[-dims:], *(per_dimension(size, dims) for size in sizes), strict=True)
    return ((*input[:-dims], *((n - 1) * s - 2 * p + k for n, k, s, p in rows)),)


max_unpool1d, max_unpool2d, max_unpool3d = (partial(max_unpool, dims) for dims in (1, 2, 3))
