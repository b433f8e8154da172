"""Ways to break a valid call of the inverse of pooling by maximum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resized,
    surplus,
)
from conformance.strategies.invalid.pooling.maximum import numbers_by_dimension
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function


def _replace_inputs(case: Case, x: np.ndarray, index: np.ndarray) -> Case:
    return replace(case, inputs=(x, index))


def _input_and_indices(case: Case) -> tuple[np.ndarray, np.ndarray]:
    x, index = case.inputs
    assert x is not None
    assert index is not None
    return x, index


def _set_output_size(case: Case, size: Sequence[int]) -> Case:
    """The case with `output_size`: an argument of functions, a keyword of a module's call."""
    if is_function(case.call.layer):
        return replace_arguments(case, output_size=tuple(size))
    return replace(case, keywords={**case.keywords, "output_size": list(size)})


def _wrong_rank(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        x, index = _input_and_indices(case)
        extra_axes = (1,) * (dims + 3 - x.ndim)
        # Without channels, or with one axis more than a batch.
        shape = draw(st.sampled_from(((*extra_axes, *x.shape), x.shape[-dims:])))
        return _replace_inputs(case, np.resize(x, shape), np.resize(index, shape))

    return Break("input of another rank", "input", apply, applies=_has_elements)


def _has_elements(case: Case) -> bool:
    return all(x is not None and x.size for x in case.inputs)


def _index_out_of_range(name: str, direction: int) -> Break:
    """The break of an index out of range; `direction` sets its sign and size."""

    def apply(draw: Draw, case: Case) -> Case:
        x, index = _input_and_indices(case)
        wrong_indices = index.copy()
        position = draw(st.integers(0, index.size - 1))
        wrong_indices.reshape(-1)[position] = direction * draw(surplus)
        return _replace_inputs(case, x, wrong_indices)

    return Break(name, "indices", apply, applies=_has_elements)


def _wrong_index_shape(draw: Draw, case: Case) -> Case:
    x, index = _input_and_indices(case)
    shape = list(index.shape)
    axis = draw(st.integers(0, index.ndim - 1))
    shape[axis] += draw(surplus)
    return _replace_inputs(case, x, resized(index, shape).astype(np.int64))


def _default_output_size(case: Case, dims: int) -> tuple[list[int], list[int]]:
    """The default output size, which pooling maps to the input's size, and the strides."""
    x, _ = _input_and_indices(case)
    names = ("kernel_size", "stride", "padding")
    kernel, stride, padding = (numbers_by_dimension(case, name, dims) for name in names)
    dimensions = zip(x.shape[-dims:], kernel, stride, padding, strict=True)
    return [(n - 1) * s - 2 * p + k for n, k, s, p in dimensions], stride


def _wrong_output_size(dims: int) -> Break:
    """The break of an output size that pooling does not map to the input's size."""

    def apply(draw: Draw, case: Case) -> Case:
        sizes, stride = _default_output_size(case, dims)
        k = draw(st.integers(0, dims - 1))
        sizes[k] += stride[k] + draw(surplus) - 1
        return _set_output_size(case, sizes)

    return Break("output_size out of range", "output_size", apply)


def _wrong_size_length(dims: int) -> Break:
    """The break of an output size with one number too few, or one or three more in front."""

    def apply(draw: Draw, case: Case) -> Case:
        sizes, _ = _default_output_size(case, dims)
        surplus_count = draw(st.sampled_from((1, 3, -1)))
        return _set_output_size(
            case, sizes[1:] if surplus_count < 0 else [1] * surplus_count + sizes
        )

    return Break("output_size of a wrong length", "output_size", apply)


def _empty_axis(dims: int, name: str, axis: st.SearchStrategy[int]) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        x, index = _input_and_indices(case)
        empty_axis = draw(axis)
        return _replace_inputs(case, x.take([], axis=empty_axis), index.take([], axis=empty_axis))

    return Break(name, "input", apply)


def unpool_breaks(dims: int) -> tuple[Break, ...]:
    """The breaks of the inverse of pooling by maximum, in `dims` spatial dimensions."""
    return (
        _wrong_rank(dims),
        _index_out_of_range("index negative", -1),
        _index_out_of_range("index beyond the plane", 2**40),
        Break("indices of another shape", "indices", _wrong_index_shape, applies=_has_elements),
        _wrong_output_size(dims),
        _wrong_size_length(dims),
        _empty_axis(dims, "no channels", st.just(-dims - 1)),
        _empty_axis(dims, "no length", st.integers(-dims, -1)),
    )
