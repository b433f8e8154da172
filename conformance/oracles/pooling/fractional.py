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
from conformance.arithmetic.rounded import Rounded, with_pullback
from conformance.oracles.convolution import per_dimension
from conformance.oracles.pooling.maximum import max_over_taps
from conformance.oracles.pooling.windows import Shape, Size, Taps, combine_taps

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
    starts = [window_starts(*row) for row in zip(sizes, outputs, kernel, strict=True)]
    tap_choices = []
    for window_begins in product(*starts):
        places = [
            s[:, np.newaxis] + np.arange(k) for s, k in zip(window_begins, kernel, strict=True)
        ]
        tap_choices.append(combine_taps(places, [np.ones(p.shape, bool) for p in places], sizes))
    results = [
        max_over_taps(input.detached, tap_table, indices=return_indices)
        for tap_table in tap_choices
    ]
    values = [x for x, *_ in results if isinstance(x, Rounded)]
    answer: list[Rounded | Choices] = [
        _as_choices(_with_shared_gradient(values, tap_choices, input))
    ]
    if return_indices:
        indices = (x for _, *more in results for x in more)
        index_alternatives = [x.alternatives if isinstance(x, Choices) else (x,) for x in indices]
        answer.append(_as_choices([x for alternatives in index_alternatives for x in alternatives]))
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


def window_starts(length: int, outputs: int, kernel: int) -> tuple[np.ndarray, ...]:
    """The earliest start of each window along a dimension, and the latest if it differs.

    Args:
        outputs: number of windows.
        kernel: size of each window.
    """
    span, positions = length - kernel, np.arange(outputs)
    if outputs == 1:
        early, late = np.zeros(1, int), np.full(1, span)
    else:
        early, late = (
            positions * span // max(outputs - 1, 1),
            -(-positions * span // max(outputs - 1, 1)),
        )
    return (early,) if (early == late).all() else (early, late)


def _as_choices(alternatives: list[Rounded]) -> Rounded | Choices:
    return alternatives[0] if len(alternatives) == 1 else Choices(tuple(alternatives))


def _with_shared_gradient(
    values: list[Rounded], tap_choices: list[Taps], input: Rounded
) -> list[Rounded]:
    """The values of each choice of windows, with one gradient that covers all choices.

    An output's gradient goes to the element that is the largest in every choice, or else to any
    element that is the largest in one.
    """
    if input.node is None:
        return values
    union = Taps(
        np.concatenate([way.index for way in tap_choices], axis=1),
        np.concatenate([way.inside for way in tap_choices], axis=1),
        tap_choices[0].outputs,
        tap_choices[0].plane,
    )
    elements, taps = union.gather(input, -np.inf), tap_choices[0].index.shape[1]
    by_choice = elements.value.reshape(*elements.shape[:-1], len(tap_choices), taps)
    candidate = (by_choice >= by_choice.max(axis=-1, keepdims=True, initial=-np.inf)) | np.isnan(
        by_choice
    )
    candidate = candidate.reshape(elements.shape)
    index = np.broadcast_to(union.index, elements.shape)
    largest_integer = np.iinfo(np.int64).max
    low = np.where(candidate, index, largest_integer).min(
        axis=-1, keepdims=True, initial=largest_integer
    )
    high = np.where(candidate, index, -1).max(axis=-1, keepdims=True, initial=-1)
    unique_maximum = low == high
    first = candidate & (np.cumsum(candidate, axis=-1) == 1)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c, e = (
            array.reshape(*elements.shape[:-1], 1) for array in (cotangent.value, cotangent.error)
        )
        value = np.where(unique_maximum & first, c, 0.0)
        doubt = np.where(candidate & ~unique_maximum, np.abs(c) + e, 0.0)
        return [Rounded(value, np.where(unique_maximum & first, e, doubt), input.precision)]

    return [with_pullback(y, [elements], pull) for y in values]
