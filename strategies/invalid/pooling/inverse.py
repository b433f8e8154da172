"""Ways to break a valid call of the inverse of pooling by maximum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    resized,
    surplus,
    with_arguments,
)
from conformance.strategies.invalid.pooling.maximum import numbers_of
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function


def _with(case: Case, x: np.ndarray, index: np.ndarray) -> Case:
    return replace(case, inputs=(x, index))


def _both(case: Case) -> tuple[np.ndarray, np.ndarray]:
    x, index = case.inputs
    assert x is not None
    assert index is not None
    return x, index


def _sized(case: Case, size: Sequence[int]) -> Case:
    """The case with `output_size`: an argument of functions, a keyword of a module's call."""
    if is_function(case.call.layer):
        return with_arguments(case, output_size=tuple(size))
    return replace(case, keywords={**case.keywords, "output_size": list(size)})


def _rank(dims: int) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        x, index = _both(case)
        more = (1,) * (dims + 3 - x.ndim)
        # Without channels, or with one axis more than a batch.
        shape = draw(st.sampled_from(((*more, *x.shape), x.shape[-dims:])))
        return _with(case, np.resize(x, shape), np.resize(index, shape))

    return Break("input of another rank", "input", apply, applies=_filled)


def _filled(case: Case) -> bool:
    return all(x is not None and x.size for x in case.inputs)


def _index(name: str, change: int) -> Break:
    """The break of an index out of range; `change` sets its sign and size."""

    def apply(draw: Draw, case: Case) -> Case:
        x, index = _both(case)
        wrong = index.copy()
        at = draw(st.integers(0, index.size - 1))
        wrong.reshape(-1)[at] = change * draw(surplus)
        return _with(case, x, wrong)

    return Break(name, "indices", apply, applies=_filled, index=True)


def _other_shape(draw: Draw, case: Case) -> Case:
    x, index = _both(case)
    shape = list(index.shape)
    axis = draw(st.integers(0, index.ndim - 1))
    shape[axis] += draw(surplus)
    return _with(case, x, resized(index, shape).astype(np.int64))


def _usual(case: Case, dims: int) -> tuple[list[int], list[int]]:
    """The default output size, which pooling maps to the input's size, and the strides."""
    x, _ = _both(case)
    names = ("kernel_size", "stride", "padding")
    kernel, stride, padding = (numbers_of(case, name, dims) for name in names)
    rows = zip(x.shape[-dims:], kernel, stride, padding, strict=True)
    return [(n - 1) * s - 2 * p + k for n, k, s, p in rows], stride


def _size(dims: int) -> Break:
    """The break of an output size that pooling does not map to the input's size."""

    def apply(draw: Draw, case: Case) -> Case:
        sizes, stride = _usual(case, dims)
        k = draw(st.integers(0, dims - 1))
        sizes[k] += stride[k] + draw(surplus) - 1
        return _sized(case, sizes)

    return Break("output_size out of range", "output_size", apply)


def _length(dims: int) -> Break:
    """The break of an output size with one number too few, or one or three more in front."""

    def apply(draw: Draw, case: Case) -> Case:
        sizes, _ = _usual(case, dims)
        more = draw(st.sampled_from((1, 3, -1)))
        return _sized(case, sizes[1:] if more < 0 else [1] * more + sizes)

    return Break("output_size of a wrong length", "output_size", apply)


def _empty(dims: int, name: str, axis: st.SearchStrategy[int], required: str) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        x, index = _both(case)
        at = draw(axis)
        return _with(case, x.take([], axis=at), index.take([], axis=at))

    return Break(name, "input", apply, required=required)


def unpool_breaks(dims: int) -> tuple[Break, ...]:
    """The breaks of the inverse of pooling by maximum, in `dims` spatial dimensions."""
    return (
        _rank(dims),
        _index("index negative", -1),
        _index("index beyond the plane", 2**40),
        Break("indices of another shape", "indices", _other_shape, applies=_filled),
        _size(dims),
        _length(dims),
        _empty(dims, "no channels", st.just(-dims - 1), CUSTOMARY),
        _empty(dims, "no length", st.integers(-dims, -1), CUSTOMARY),
    )
