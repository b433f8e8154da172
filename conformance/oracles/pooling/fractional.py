"""Pooling by maximum in windows with randomly drawn steps.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the pages torch.nn.FractionalMaxPool2d and FractionalMaxPool3d, those of their functions,
and B. Graham, *Fractional Max-Pooling* (2014), to which they refer. Steps are ⌊α⌋ or ⌈α⌉, drawn so
that window i begins at ⌊(i + u)·α⌋ − ⌊u·α⌋ for a number u from [0, 1). Here α is (L − k)/(o − 1),
so that the first window begins at 0 and the last one ends with the input. For any u, window i
begins at ⌊i·α⌋ or ⌈i·α⌉: both are right, in each dimension. For a single output the sources do not
say whether it is the first window or the last: both are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded, traced
from conformance.oracles.convolution import per_dimension
from conformance.oracles.pooling.maximum import largest
from conformance.oracles.pooling.windows import Shape, Size, Taps, taps_of

State = Mapping[str, Rounded]
Ratio = float | Sequence[float]


def fractional_max_pool(
    dims: int,
    state: State,
    input: Rounded,
    *,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
) -> tuple[Rounded | Choices, ...]:
    """The largest element of each window, and its index in the plane.

    Args:
        dims: number of spatial dimensions.
        input: (N, C, *) or (C, *).
    """
    sizes = input.shape[-dims:]
    outputs = fractional_sizes(sizes, output_size, output_ratio)
    kernel = per_dimension(kernel_size, dims)
    starts = [starts_of(*row) for row in zip(sizes, outputs, kernel, strict=True)]
    ways = []
    for chosen in product(*starts):
        places = [s[:, np.newaxis] + np.arange(k) for s, k in zip(chosen, kernel, strict=True)]
        ways.append(taps_of(places, [np.ones(p.shape, bool) for p in places], sizes))
    found = [largest(input.bare, way, indices=return_indices) for way in ways]
    values = [x for x, *_ in found if isinstance(x, Rounded)]
    answer: list[Rounded | Choices] = [_one_of(_recorded(values, ways, input))]
    if return_indices:
        indices = (x for _, *more in found for x in more)
        several = [x.alternatives if isinstance(x, Choices) else (x,) for x in indices]
        answer.append(_one_of([x for some in several for x in some]))
    return tuple(answer)


def fractional_max_pool_shape(
    dims: int,
    input: Shape,
    *,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
) -> tuple[Shape, ...]:
    """(*, H, W) → (*, H_out, W_out): output_size, or output_ratio × (H, W)."""
    shape = (*input[:-dims], *fractional_sizes(input[-dims:], output_size, output_ratio))
    return (shape, shape) if return_indices else (shape,)


fractional_max_pool2d, fractional_max_pool3d = (partial(fractional_max_pool, k) for k in (2, 3))


def fractional_sizes(sizes: Shape, output_size: Size | None, output_ratio: Ratio | None) -> Shape:
    """The output's spatial sizes.

    Args:
        sizes: the input's spatial sizes.
        output_size, output_ratio: as the arguments.
    """
    dims = len(sizes)
    if output_size is not None:
        return per_dimension(output_size, dims)
    if output_ratio is None:
        raise ValueError("neither output_size nor output_ratio")
    ratios = (output_ratio,) * dims if isinstance(output_ratio, float) else output_ratio
    return tuple(int(n * ratio) for n, ratio in zip(sizes, ratios, strict=True))


def starts_of(length: int, outputs: int, kernel: int) -> tuple[np.ndarray, ...]:
    """The earliest start of each window along a dimension, and the latest if it differs.

    Args:
        outputs: number of windows.
        kernel: size of each window.
    """
    room, at = length - kernel, np.arange(outputs)
    if outputs == 1:
        early, late = np.zeros(1, int), np.full(1, room)
    else:
        early, late = at * room // max(outputs - 1, 1), -(-at * room // max(outputs - 1, 1))
    return (early,) if (early == late).all() else (early, late)


def _one_of(ways: list[Rounded]) -> Rounded | Choices:
    return ways[0] if len(ways) == 1 else Choices(tuple(ways))


def _recorded(values: list[Rounded], ways: list[Taps], input: Rounded) -> list[Rounded]:
    """The values of each choice of windows, with one gradient that covers all choices.

    An output's gradient goes to the element that is the largest in every choice, or else to any
    element that is the largest in one.
    """
    if input.node is None:
        return values
    union = Taps(
        np.concatenate([way.index for way in ways], axis=1),
        np.concatenate([way.inside for way in ways], axis=1),
        ways[0].outputs,
        ways[0].plane,
    )
    seen, taps = union.seen(input, -np.inf), ways[0].index.shape[1]
    each = seen.value.reshape(*seen.shape[:-1], len(ways), taps)
    candidate = (each >= each.max(axis=-1, keepdims=True, initial=-np.inf)) | np.isnan(each)
    candidate = candidate.reshape(seen.shape)
    index = np.broadcast_to(union.index, seen.shape)
    beyond = np.iinfo(np.int64).max
    low = np.where(candidate, index, beyond).min(axis=-1, keepdims=True, initial=beyond)
    high = np.where(candidate, index, -1).max(axis=-1, keepdims=True, initial=-1)
    alone = low == high
    first = candidate & (np.cumsum(candidate, axis=-1) == 1)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c, e = (array.reshape(*seen.shape[:-1], 1) for array in (cotangent.value, cotangent.error))
        value = np.where(alone & first, c, 0.0)
        doubt = np.where(candidate & ~alone, np.abs(c) + e, 0.0)
        return [Rounded(value, np.where(alone & first, e, doubt), input.precision)]

    return [traced(y, [seen], pull) for y in values]
