"""Cases with sizes near multiples of kernels' block sizes, with equal sizes, or one array twice.

A kernel works in blocks, and its bugs often show in the incomplete last block. So a share of every
layer's cases has a size of B·k - 1, B·k or B·k + 1, and its other sizes are small.

An implementation that finds an axis by its size is wrong where two axes have the same size. So in
another share, axes have equal sizes and different contents.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.generation.refilling import refilled
from conformance.generation.variants import permuted
from conformance.layers.fitting import replace_argument, select_places
from conformance.model.case import Case
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec

BLOCKS = (16, 32, 64, 128, 256, 512, 1024)
MAX_SIZE = BLOCKS[-1] + 1
SIZES = tuple(
    sorted(
        {b * k + d for b in BLOCKS for k in (1, 2, 3) for d in (-1, 0, 1) if b * k + d <= MAX_SIZE}
    )
)
"""The sizes that are drawn, the smallest first."""
MAX_ELEMENTS = {1: 2**14, 2: 2**16}
"""The largest number of elements of a case whose arrays grow linearly (1) or quadratically (2)."""
AGREED_SIZES = (2, 3)
"""Sizes that several axes get together, if no axis or argument of the case has a fixed one."""
MAX_AGREED_SIZE = 5
"""The largest size of a case that its other axes may get."""
SHAREABLE_ROLES = ("data",)
"""Roles of inputs that may be one array: their elements may have any value."""
SMALL_SIZES = (3, 1)
"""Values for the other sizes: the first one that keeps the case within `MAX_ELEMENTS`."""
_NO_LIMIT = 2**31
OF_ONE_SIZE, ONE_ARRAY = " of one size", "one array"
"""Parts of labels of cases that have other sizes than those of blocks."""

# Cases without a block size come first, because Hypothesis shrinks towards them.
_kinds = st.sampled_from(("",) * 16 + ("one", "one", "two", "same", "all agree", "two agree"))
# Block size + 1 is drawn more often: it exposes kernels that drop the last, incomplete block.
_SIZES_TO_DRAW = sorted((*SIZES, *(b + 1 for b in BLOCKS), *(b + 1 for b in BLOCKS)))
_SMALL_SIZE_COUNT = bisect_right(SIZES, 65)


@dataclass(frozen=True)
class Dimension:
    """A size of a case that can be changed freely.

    Args:
        name: the argument, or the input with its axis: `"input.shape[-1]"`.
        size: its present value.
        resize: (case, size) → the case with that size; None if the call would be invalid.
        max_size: the largest value to draw.
    """

    name: str
    size: int
    resize: Callable[[Case, int], Case | None]
    max_size: int = _NO_LIMIT


def dimensions(spec: LayerSpec, case: Case) -> Iterator[Dimension]:
    """The sizes of a valid case that can be changed one at a time."""
    for name, value in case.call.arguments.items():
        argument = spec.signature.argument(name)
        if argument is None or not argument.size or argument.window:
            continue
        last_number = value[-1] if isinstance(value, (tuple, list)) and value else value
        if type(last_number) is int and last_number:
            yield Dimension(name, last_number, partial(_resize_argument, spec, name))
    for axes in spec.resizable_axes(case):
        input_index, axis = axes[0]
        array = case.inputs[input_index]
        if array is not None and array.shape[axis]:
            name = f"{spec.signature.input_names[input_index]}.shape[{axis - array.ndim}]"
            yield Dimension(
                name,
                array.shape[axis],
                partial(_resize_axes, spec, axes),
                spec.variation.max_axis_size(case),
            )


def _resize_argument(spec: LayerSpec, name: str, case: Case, size: int) -> Case | None:
    value: Any = case.call.arguments[name]
    is_sequence = isinstance(value, (tuple, list))
    return replace_argument(
        spec, case, name, type(value)((*value[:-1], size)) if is_sequence else size
    )


def _resize_axes(spec: LayerSpec, axes: Axes, case: Case, size: int) -> Case | None:
    input_index, axis = axes[0]
    array = case.inputs[input_index]
    assert array is not None
    return select_places(spec, case, axes, np.arange(size) % array.shape[axis])


@st.composite
def with_block_sizes(draw: Any, spec: LayerSpec, cases: st.SearchStrategy[Case]) -> Case:
    """Draw a layer's cases, some of them with sizes near multiples of block sizes.

    Args:
        cases: the layer's own strategy.
    """
    case: Case = draw(cases)
    kind = draw(_kinds)
    if not kind or any(x.size == 0 for x in _arrays(case)):
        return case
    if kind == "same":
        pairs = _shareable_pairs(spec, case)
        return _share_array(spec, case, draw(st.sampled_from(pairs))) if pairs else case
    free_sizes = tuple(dimensions(spec, case))
    if not free_sizes:
        return case
    if kind.endswith("agree"):
        size = draw(st.sampled_from(_agreeable_sizes(spec, case)))
        names = [x.name for x in free_sizes]
        if kind == "two agree" and len(names) > 2:
            names = draw(st.permutations(names))[:2]
        return make_sizes_agree(spec, case, names, size)
    chosen: Dimension = draw(st.sampled_from(free_sizes))
    # Draw among possible sizes only: clipping would make the largest one the most frequent.
    sizes = {
        chosen.name: draw(
            st.sampled_from(_SIZES_TO_DRAW[: bisect_right(_SIZES_TO_DRAW, chosen.max_size)])
        )
    }
    if kind == "two" and len(free_sizes) > 1:
        second_dimension: Dimension = draw(
            st.sampled_from([x for x in free_sizes if x is not chosen])
        )
        sizes[second_dimension.name] = draw(st.sampled_from(SIZES[:_SMALL_SIZE_COUNT]))
    resized_case = set_sizes(spec, case, sizes)
    return case if resized_case is None else resized_case


def set_sizes(
    spec: LayerSpec, case: Case, sizes: Mapping[str, int], *, refill: bool = False
) -> Case | None:
    """Set sizes of a case, or smaller ones if the case would be too large; shrink its other sizes.

    The elements are permuted: growing an array repeats its elements, so without this a kernel that
    reads the wrong block would read equal numbers.

    Args:
        case: a valid case.
        sizes: name of a dimension → its size.
        refill: draw the elements of grown arrays anew, from those of the case.

    Returns:
        None if no size can be set.
    """
    grown = None
    for small_size in SMALL_SIZES:
        grown = _grow(spec, shrink_other_sizes(spec, case, sizes, small_size), sizes) or grown
        if grown is not None and _sizes_by_name(spec, grown).items() >= sizes.items():
            break
    if grown is None:
        return None
    tile = " and ".join(sizes)
    if refill:
        return refilled(spec, case, grown, tile)
    return permuted(replace(grown, labels={**case.labels, "tile": tile}), 1)


def is_block_case(case: Case) -> bool:
    """Whether a case has a size near multiples of block sizes."""
    tile = case.labels.get("tile", "")
    return bool(tile) and not tile.endswith(OF_ONE_SIZE) and not tile.startswith(ONE_ARRAY)


def _arrays(case: Case) -> list[np.ndarray]:
    return [x for x in (*case.inputs, *case.call.state.values()) if x is not None]


def _sizes_by_name(spec: LayerSpec, case: Case) -> dict[str, int]:
    return {x.name: x.size for x in dimensions(spec, case)}


def shrink_other_sizes(
    spec: LayerSpec, case: Case, sizes_to_keep: Mapping[str, int], small: int
) -> Case:
    """Reduce the other sizes of a case to `small` where it stays valid."""
    for name in [x.name for x in dimensions(spec, case) if x.name not in sizes_to_keep]:
        current = next((x for x in dimensions(spec, case) if x.name == name), None)
        if current is not None and current.size > small + 1:
            case = current.resize(case, small) or case
    return case


def _grow(spec: LayerSpec, case: Case, sizes: Mapping[str, int]) -> Case | None:
    original = case
    for name, size in sizes.items():
        current = next((x for x in dimensions(spec, case) if x.name == name), None)
        if current is not None:
            case = _resize_within_limits(spec, case, current, size) or case
    return None if case is original else case


def _resize_within_limits(spec: LayerSpec, case: Case, chosen: Dimension, size: int) -> Case | None:
    first_size, second_size = SIZES[0], 2 * SIZES[0]
    first, second = chosen.resize(case, first_size), chosen.resize(case, second_size)
    if first is not None and second is not None and size > second_size:
        power = 1 if element_count(spec, second) < 3 * element_count(spec, first) else 2
        max_size = second_size * (MAX_ELEMENTS[power] / element_count(spec, second)) ** (1 / power)
        size = min(size, _largest_size_within(max_size))
    size = min(size, _largest_size_within(chosen.max_size))
    resized_case = chosen.resize(case, size)
    return (
        None
        if resized_case is None or element_count(spec, resized_case) > MAX_ELEMENTS[2]
        else resized_case
    )


def _largest_size_within(limit: float) -> int:
    """The largest of `SIZES` within a limit; the smallest of them if none is."""
    return SIZES[max(bisect_right(SIZES, limit) - 1, 0)]


def element_count(spec: LayerSpec, case: Case) -> int:
    """The number of elements of all operands and outputs of a case."""
    outputs = sum(math.prod(shape) for shape in spec.output_shapes(case) if shape is not None)
    return outputs + sum(x.size for x in _arrays(case))


def _agreeable_sizes(spec: LayerSpec, case: Case) -> tuple[int, ...]:
    """Small sizes that cannot change: of other axes, or integer arguments; if none, any small."""
    free = set(_sizes_by_name(spec, case).values())
    sizes = {size for x in _arrays(case) for size in x.shape}
    for value in case.call.arguments.values():
        sizes |= {value} if type(value) is int else set()
    fixed = sorted(size for size in sizes - free if 1 < size <= MAX_AGREED_SIZE)
    return (*AGREED_SIZES, *fixed, *fixed)


def make_sizes_agree(spec: LayerSpec, case: Case, names: Sequence[str], size: int) -> Case:
    """Give sizes of a case the same value where it stays valid; permute the elements.

    Args:
        case: a valid case without empty arrays.
        names: names of dimensions.
        size: their common size.
    """
    original = case
    for name in names:
        current = next((x for x in dimensions(spec, case) if x.name == name), None)
        if current is not None and current.size != size <= current.max_size:
            resized = current.resize(case, size)
            if resized is not None and element_count(spec, resized) <= MAX_ELEMENTS[2]:
                case = resized
    if case is original:
        return case
    labels = {**case.labels, "tile": f"{' and '.join(names)}{OF_ONE_SIZE}"}
    return permuted(replace(case, labels=labels), 1)


def _shareable_pairs(spec: LayerSpec, case: Case) -> list[tuple[int, int]]:
    """Pairs of inputs of equal shapes that may be one array."""
    shareable = [
        index
        for index, (input_spec, x) in enumerate(
            zip(spec.signature.inputs, case.inputs, strict=False)
        )
        if x is not None
        and input_spec.role in SHAREABLE_ROLES
        and input_spec.any_value
        and x.dtype.kind in "fc"
        and not spec.is_fixed(case, index)
        # An input that is written into must not be shared.
        and not (input_spec.updated and spec.traits.updates_state(case.call))
    ]
    return [
        (first, second)
        for first, second in combinations(shareable, 2)
        if case.inputs[first] is not case.inputs[second]
        # An input that other sizes fit, such as a grid, may have numbers that none of these is.
        and np.shape(case.inputs[first]) == np.shape(case.inputs[second])  # type: ignore[arg-type]
    ]


def _share_array(spec: LayerSpec, case: Case, pair: tuple[int, int]) -> Case:
    """Use one array for two inputs of equal shapes, if their dtypes agree; else the case."""
    _first_index, second_index = pair
    first, second = (case.inputs[index] for index in pair)
    assert first is not None
    assert second is not None
    if first.dtype != second.dtype:
        return case
    inputs = list(case.inputs)
    inputs[second_index] = first
    name = spec.signature.input_names[second_index]
    labels = {**case.labels, "tile": f"{ONE_ARRAY} for {name} too"}
    return replace(case, inputs=tuple(inputs), labels=labels)
