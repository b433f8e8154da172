"""Ways to break a valid call of fractional pooling."""

from __future__ import annotations

from typing import Any

from conformance.strategies.invalid.breaks import Break, surplus, with_arguments
from conformance.strategies.invalid.pooling.maximum import input_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_RATIOS = st.sampled_from((1.0, 0.0, -0.5, 1.5))


def _without(case: Case, **arguments: Any) -> Case:
    """The case with output size and ratio set to None, then other arguments set."""
    given = {k: None for k in ("output_size", "output_ratio") if k in case.call.arguments}
    return with_arguments(case, **{**given, **arguments})


def _neither(draw: Draw, case: Case) -> Case:
    return _without(case)


def _both(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        return with_arguments(case, output_size=(1,) * dims, output_ratio=(0.5,) * dims)

    return Break("output_size and output_ratio", "output_size or output_ratio", apply)


def _ratio(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        ratios = [0.5] * dims
        ratios[draw(st.integers(0, dims - 1))] = draw(_RATIOS)
        return _without(case, output_ratio=tuple(ratios))

    return Break("output_ratio out of range", "output_ratio", apply)


def _too_large(dims: int) -> Break:
    """The break of an output too large for its input: kH + oH − 1 > H."""

    def apply(draw: Draw, case: Case) -> Case:
        x, kernel = case.inputs[0], case.call.arguments["kernel_size"]
        assert x is not None
        kernels = kernel if isinstance(kernel, tuple) else (kernel,) * dims
        sizes = [n - k + 1 for n, k in zip(x.shape[-dims:], kernels, strict=True)]
        sizes[draw(st.integers(0, dims - 1))] += draw(surplus)
        return _without(case, output_size=tuple(sizes))

    return Break("output_size too large", "output_size", apply)


def _too_many(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        return _without(case, output_size=(1,) * (dims + 1))

    return Break("output_size of too many numbers", "output_size", apply)


def fractional_breaks(signature: Signature, shapes: Shapes, function: bool) -> tuple[Break, ...]:
    """The breaks of fractional pooling.

    Args:
        function: the function, whose page does not forbid to pass both size and ratio.
    """
    dims = signature.dims
    return (
        *input_breaks(signature, shapes),
        Break("neither output_size nor output_ratio", "output_size or output_ratio", _neither),
        *(() if function else (_both(dims),)),
        _ratio(dims),
        _too_large(dims),
        _too_many(dims),
    )
