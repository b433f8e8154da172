"""Cases of which one tensor, window or table has more than 65,536 places, and all else is small."""

from __future__ import annotations

import math
from collections.abc import Mapping

from conformance.generation.block_sizes import (
    SIZES,
    Dimension,
    dimensions,
    element_count,
    shrink_other_sizes,
)
from conformance.generation.refilling import refilled
from conformance.model.case import Case
from conformance.spec.layer_spec import LayerSpec

LARGE_SIZES = (*SIZES, *(2**k + 1 for k in range(11, 17)), 2**16 + 1025)
"""Sizes of cases whose other sizes are as small as possible."""
MAX_LARGE_ELEMENTS = 2**18
"""The largest number of elements of a case with such a size."""
SMALL_BLOCKS = (16, 32)
"""Two sizes that tell how a case grows."""
TENSOR_PREFIX = "tensor "


def set_large_size(spec: LayerSpec, case: Case, name: str, size: int) -> Case | None:
    """Set one size of a case and make the others as small as possible; permute the elements.

    Args:
        case: a valid case without empty arrays.
        name: of a dimension that may have the size.
        size: its size, one of `LARGE_SIZES`.

    Returns:
        None if the call would be invalid, or too large.
    """
    small = shrink_all_sizes(spec, case)
    current = next((x for x in dimensions(spec, small) if x.name == name), None)
    if current is None or size > current.max_size:
        return None
    counts = place_counts(spec, small, current, size)
    resized = None if counts is None else current.resize(small, size)
    if resized is None or element_count(spec, resized) > MAX_LARGE_ELEMENTS:
        return None
    return refilled(spec, case, resized, name)


def shrink_all_sizes(spec: LayerSpec, case: Case) -> Case:
    """Reduce every size of a case above 2 to 1 where it stays valid."""
    return shrink_other_sizes(spec, case, {}, 1)


def place_counts(
    spec: LayerSpec, case: Case, dimension: Dimension, size: int
) -> Mapping[str, float] | None:
    """How many places a case with a large size has, by what has them, without making the case.

    These are tensors, the space of the first input, and the ranges of indices. None if the call
    would be invalid or too large: two small sizes tell how fast it grows.
    """
    counts = list[Mapping[str, int]]()
    for small_size in SMALL_BLOCKS:
        grown = dimension.resize(case, small_size)
        if grown is None:
            return None
        counts.append(_count_places(spec, grown))
    first, second = counts
    steps = (size - SMALL_BLOCKS[0]) / (SMALL_BLOCKS[1] - SMALL_BLOCKS[0])
    expected = {name: n + (second.get(name, n) - n) * steps for name, n in first.items()}
    elements = sum(n for name, n in expected.items() if name.startswith(TENSOR_PREFIX))
    return expected if elements <= MAX_LARGE_ELEMENTS else None


def _count_places(spec: LayerSpec, case: Case) -> dict[str, int]:
    named = dict(zip(spec.signature.input_names, case.inputs, strict=False)) | dict(case.call.state)
    shapes = {name: x.shape for name, x in named.items() if x is not None}
    outputs = zip(spec.signature.outputs, spec.output_shapes(case), strict=False)
    shapes |= {output.name: shape for output, shape in outputs if shape is not None}
    counts = {f"{TENSOR_PREFIX}{name}": math.prod(shape) for name, shape in shapes.items()}
    if spec.signature.dims and case.inputs[0] is not None:
        counts["space"] = math.prod(case.inputs[0].shape[-spec.signature.dims :])
    sizes = spec.sizes(case)
    if spec.shapes is not None and sizes is not None:
        for name in spec.signature.input_names:
            counts[f"range of {name}"] = spec.shapes.index_limit(name, sizes) or 0
    return counts
