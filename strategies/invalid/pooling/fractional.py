"""Ways to break a valid call of fractional pooling."""

from __future__ import annotations

from typing import Any

from conformance.strategies.invalid.breaks import Break, replace_arguments, surplus
from conformance.strategies.invalid.pooling.maximum import input_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_RATIOS = st.sampled_from((1.0, 0.0, -0.5, 1.5))


def _replace_size(case: Case, **arguments: Any) -> Case:
    """The case with output size and ratio set to None, then other arguments set."""
    none = {k: None for k in ("output_size", "output_ratio") if k in case.call.arguments}
    return replace_arguments(case, **{**none, **arguments})


def _neither_size_nor_ratio(draw: Draw, case: Case) -> Case:
    return _replace_size(case)


def _size_and_ratio(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        return replace_arguments(case, output_size=(1,) * dims, output_ratio=(0.5,) * dims)

    return Break("output_size and output_ratio", "output_size or output_ratio", apply)


def _wrong_ratio(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        ratios = [0.5] * dims
        ratios[draw(st.integers(0, dims - 1))] = draw(_RATIOS)
        return _replace_size(case, output_ratio=tuple(ratios))

    return Break("output_ratio out of range", "output_ratio", apply)


def _size_too_large(dims: int) -> Break:
    """The break of an output too large for its input: kH + oH − 1 > H."""

    def apply(draw: Draw, case: Case) -> Case:
        x, kernel = case.inputs[0], case.call.arguments["kernel_size"]
        assert x is not None
        kernels = kernel if isinstance(kernel, tuple) else (kernel,) * dims
        sizes = [n - k + 1 for n, k in zip(x.shape[-dims:], kernels, strict=True)]
        sizes[draw(st.integers(0, dims - 1))] += draw(surplus)
        return _replace_size(case, output_size=tuple(sizes))

    return Break("output_size too large", "output_size", apply)


def _too_many_sizes(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        return _replace_size(case, output_size=(1,) * (dims + 1))

    return Break("output_size of too many numbers", "output_size", apply)


def fractional_breaks(signature: Signature, shapes: Shapes, function: bool) -> tuple[Break, ...]:
    """The breaks of fractional pooling.

    Args:
        function: the function, whose page does not forbid to pass both size and ratio.
    """
    dims = signature.dims
    return (
        *input_breaks(signature, shapes),
        Break(
            "neither output_size nor output_ratio",
            "output_size or output_ratio",
            _neither_size_nor_ratio,
        ),
        *(() if function else (_size_and_ratio(dims),)),
        _wrong_ratio(dims),
        _size_too_large(dims),
        _too_many_sizes(dims),
    )
