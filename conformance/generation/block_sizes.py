"""Cases with sizes near multiples of kernels' block sizes, and with one array for two inputs.

A kernel works in blocks, and its bugs often show in the incomplete last block. So a share of every
layer's cases has a size of B·k - 1, B·k or B·k + 1, and its other sizes are small.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.generation.variants import varied
from conformance.layers.fitting import resized, with_argument
from conformance.model.case import Case
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec

BLOCKS = (16, 32, 64, 128, 256, 512, 1024)
MOST = BLOCKS[-1] + 1
SIZES = tuple(
    sorted({b * k + d for b in BLOCKS for k in (1, 2, 3) for d in (-1, 0, 1) if b * k + d <= MOST})
)
"""The sizes that are drawn, the smallest first."""
ELEMENTS = {1: 2**14, 2: 2**16}
"""The largest number of elements of a case whose arrays grow linearly (1) or quadratically (2)."""
SMALL = (3, 1)
"""Values for the other sizes: the first one that keeps the case within `ELEMENTS`."""

# Cases without a block size come first, because Hypothesis shrinks towards them.
_kinds = st.sampled_from(("",) * 17 + ("one", "one", "two", "same"))
# Block size + 1 is drawn more often: it exposes kernels that drop the last, incomplete block.
_DRAWN = sorted((*SIZES, *(b + 1 for b in BLOCKS), *(b + 1 for b in BLOCKS)))
_FEW = bisect_right(SIZES, 65)


@dataclass(frozen=True)
class Dimension:
    """A size of a case that can be changed freely.

    Args:
        name: the argument, or the input with its axis: `"input.shape[-1]"`.
        size: its present value.
        sized: (case, size) → the case with that size; None if the call would be invalid.
        most: the largest value to draw.
    """

    name: str
    size: int
    sized: Callable[[Case, int], Case | None]
    most: int = MOST


def dimensions(row: LayerSpec, case: Case) -> Iterator[Dimension]:
    """The sizes of a valid case that can be changed one at a time."""
    for name, value in case.call.arguments.items():
        argument = row.signature.argument(name)
        if argument is None or not argument.size or argument.window:
            continue
        last = value[-1] if isinstance(value, (tuple, list)) and value else value
        if type(last) is int and last:
            yield Dimension(name, last, partial(_with_argument, row, name))
    for axes in row.axes(case):
        place, axis = axes[0]
        array = case.inputs[place]
        if array is not None and array.shape[axis]:
            name = f"{row.signature.input_names[place]}.shape[{axis - array.ndim}]"
            yield Dimension(
                name, array.shape[axis], partial(_with_axes, row, axes), row.variation.longest(case)
            )


def _with_argument(row: LayerSpec, name: str, case: Case, size: int) -> Case | None:
    value: Any = case.call.arguments[name]
    several = isinstance(value, (tuple, list))
    return with_argument(row, case, name, type(value)((*value[:-1], size)) if several else size)


def _with_axes(row: LayerSpec, axes: Axes, case: Case, size: int) -> Case | None:
    place, axis = axes[0]
    array = case.inputs[place]
    assert array is not None
    return resized(row, case, axes, [k % array.shape[axis] for k in range(size)])


@st.composite
def tiled(draw: Any, row: LayerSpec, cases: st.SearchStrategy[Case]) -> Case:
    """Draw a layer's cases, some of them with sizes near multiples of block sizes.

    Args:
        cases: the layer's own strategy.
    """
    case: Case = draw(cases)
    kind = draw(_kinds)
    if kind == "same":
        return _given_twice(row, case)
    if not kind or any(x.size == 0 for x in _arrays(case)):
        return case
    every = tuple(dimensions(row, case))
    if not every:
        return case
    chosen: Dimension = draw(st.sampled_from(every))
    # Draw among possible sizes only: clipping would make the largest one the most frequent.
    sizes = {chosen.name: draw(st.sampled_from(_DRAWN[: bisect_right(_DRAWN, chosen.most)]))}
    if kind == "two" and len(every) > 1:
        other: Dimension = draw(st.sampled_from([x for x in every if x is not chosen]))
        sizes[other.name] = draw(st.sampled_from(SIZES[:_FEW]))
    found = of_sizes(row, case, sizes)
    return case if found is None else found


def of_sizes(row: LayerSpec, case: Case, sizes: Mapping[str, int]) -> Case | None:
    """Set sizes of a case, or smaller ones if the case would be too large; shrink its other sizes.

    The elements are permuted: growing an array repeats its elements, so without this a kernel that
    reads the wrong block would read equal numbers.

    Args:
        case: a valid case.
        sizes: name of a dimension → its size.

    Returns:
        None if no size can be set.
    """
    grown = None
    for small in SMALL:
        grown = _grown(row, _cut(row, case, sizes, small), sizes) or grown
        if grown is not None and _sizes(row, grown).items() >= sizes.items():
            break
    if grown is None:
        return None
    labels = {**case.labels, "tile": " and ".join(sizes)}
    return varied(replace(grown, labels=labels), 1)


def _arrays(case: Case) -> list[np.ndarray]:
    return [x for x in (*case.inputs, *case.call.state.values()) if x is not None]


def _sizes(row: LayerSpec, case: Case) -> dict[str, int]:
    return {x.name: x.size for x in dimensions(row, case)}


def _cut(row: LayerSpec, case: Case, kept: Mapping[str, int], small: int) -> Case:
    """Reduce the other sizes of a case to `small` where it stays valid."""
    for name in [x.name for x in dimensions(row, case) if x.name not in kept]:
        now = next((x for x in dimensions(row, case) if x.name == name), None)
        if now is not None and now.size > small + 1:
            case = now.sized(case, small) or case
    return case


def _grown(row: LayerSpec, case: Case, sizes: Mapping[str, int]) -> Case | None:
    before = case
    for name, size in sizes.items():
        now = next((x for x in dimensions(row, case) if x.name == name), None)
        if now is not None:
            case = _as_large(row, case, now, size) or case
    return None if case is before else case


def _as_large(row: LayerSpec, case: Case, chosen: Dimension, size: int) -> Case | None:
    least, more = SIZES[0], 2 * SIZES[0]
    one, two = chosen.sized(case, least), chosen.sized(case, more)
    if one is not None and two is not None and size > more:
        power = 1 if _count(row, two) < 3 * _count(row, one) else 2
        most = more * (ELEMENTS[power] / _count(row, two)) ** (1 / power)
        size = min(size, _at_most(most))
    size = min(size, _at_most(chosen.most))
    found = chosen.sized(case, size)
    return None if found is None or _count(row, found) > ELEMENTS[2] else found


def _at_most(limit: float) -> int:
    """The largest of `SIZES` within a limit; the smallest of them if none is."""
    return SIZES[max(bisect_right(SIZES, limit) - 1, 0)]


def _count(row: LayerSpec, case: Case) -> int:
    outputs = sum(math.prod(shape) for shape in row.output_shapes(case) if shape is not None)
    return outputs + sum(x.size for x in _arrays(case))


def _given_twice(row: LayerSpec, case: Case) -> Case:
    """Use one array for two neighbouring data inputs of equal shape and dtype, if there are any."""
    inputs = list(case.inputs)
    for place in range(1, len(inputs)):
        one, two = inputs[place - 1], inputs[place]
        if one is None or two is None or one is two or one.shape != two.shape:
            continue
        if row.signature.inputs[place].updated and row.traits.updates(case.call):
            continue  # an input that is written into must not be shared
        if {row.signature.inputs[k].role for k in (place - 1, place)} == {
            "data"
        } and one.dtype == two.dtype:
            inputs[place] = one
            labels = {
                **case.labels,
                "tile": f"one array for {row.signature.input_names[place]} too",
            }
            return replace(case, inputs=tuple(inputs), labels=labels)
    return case
