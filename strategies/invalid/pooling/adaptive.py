"""Ways to break a valid call of adaptive pooling."""

from __future__ import annotations

from typing import Any

from conformance.strategies.invalid.breaks import Break, negative, replace_arguments
from conformance.strategies.invalid.pooling.maximum import input_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def _output_sizes(case: Case, dims: int) -> list[Any]:
    size = case.call.arguments["output_size"]
    return list(size) if isinstance(size, (tuple, list)) else [size] * dims


def _negative_size(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        sizes = _output_sizes(case, dims)
        sizes[draw(st.integers(0, dims - 1))] = draw(negative)
        return replace_arguments(case, output_size=tuple(sizes))

    return Break("output_size negative", "output_size", apply)


def _too_many_sizes(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        sizes = _output_sizes(case, dims)
        return replace_arguments(case, output_size=(*sizes, sizes[-1] if sizes[-1] else 1))

    return Break("output_size of too many numbers", "output_size", apply)


def adaptive_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of adaptive pooling."""
    dims = signature.dims
    return (*input_breaks(signature, shapes), _negative_size(dims), _too_many_sizes(dims))
