"""Ways to break a valid call of pooling by maximum."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    negative,
    surplus,
    with_arguments,
    with_inputs,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

zero = st.just(0)


def _shape(case: Case) -> tuple[int, ...]:
    (x,) = case.inputs
    assert x is not None
    return x.shape


def _numbers(case: Case, name: str, dims: int) -> list[int]:
    """An argument as one number for each dimension."""
    given = case.call.arguments
    value = given.get(name, {"padding": 0, "dilation": 1}.get(name))
    value = given["kernel_size"] if value is None else value
    return [value] * dims if isinstance(value, int) else list(value)


def _somewhere(draw: Draw, case: Case, dims: int, name: str, value: int) -> Any:
    """An argument with one of its numbers changed; one number for all where it was one."""
    numbers = _numbers(case, name, dims)
    numbers[draw(st.integers(0, dims - 1))] = value
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _bad(name: str, dims: int, values: st.SearchStrategy[int]) -> Break:
    """A number of an argument that may not be."""
    word = "zero" if values is zero else "negative"

    def apply(draw: Draw, case: Case) -> Case:
        value = _somewhere(draw, case, dims, name, draw(values))
        changed = with_arguments(case, **{name: value})
        # The stride does not follow a kernel that is no size.
        if name == "kernel_size" and "stride" not in case.call.arguments:
            changed = with_arguments(changed, stride=1)
        return changed

    # A kernel of nothing has no largest element, but only what is negative is refused in words.
    return Break(f"{name} {word}", name, apply)


def _padding(dims: int) -> Break:
    """More than half of the kernel, and of what the kernel spans."""

    def apply(draw: Draw, case: Case) -> Case:
        k = draw(st.integers(0, dims - 1))
        kernel, padding = (_numbers(case, name, dims) for name in ("kernel_size", "padding"))
        before = padding[k]
        padding[k] = kernel[k] // 2 + draw(surplus)
        # Longer or not, the padded input has room for the window.
        shape = list(_shape(case))
        shape[k - dims] = max(shape[k - dims], 2 * before, 1)
        changed = with_inputs(case, {0: shape})
        return with_arguments(changed, padding=tuple(padding))

    return Break("padding of more than half the kernel", "padding", apply)


def _too_short(dims: int) -> Break:
    """No window fits."""

    def apply(draw: Draw, case: Case) -> Case:
        k = draw(st.integers(0, dims - 1))
        names = ("kernel_size", "padding", "dilation")
        kernel, padding, dilation = (_numbers(case, name, dims)[k] for name in names)
        stride = _numbers(case, "stride", dims)[k]
        length = _shape(case)[k - dims]
        reach = length + 2 * padding + stride + draw(surplus)
        kernels = _numbers(case, "kernel_size", dims)
        kernels[k] = max(kernel, -(-reach // dilation) + 1)
        changed = with_arguments(case, kernel_size=tuple(kernels))
        if "stride" not in case.call.arguments or case.call.arguments["stride"] is None:
            changed = with_arguments(changed, stride=tuple(_numbers(case, "stride", dims)))
        return changed

    return Break("window longer than the padded input", "kernel_size", apply)


def _too_many(dims: int) -> Break:
    """A tuple of too many numbers."""

    def apply(draw: Draw, case: Case) -> Case:
        name = draw(st.sampled_from(("kernel_size", "stride", "padding", "dilation")))
        numbers = _numbers(case, name, dims)
        return with_arguments(case, **{name: (*numbers, numbers[-1])})

    return Break("size of too many numbers", "kernel_size or stride or padding or dilation", apply)


def _rank(draw: Draw, case: Case) -> Case:
    shape = _shape(case)
    more = (1,) * (5 - len(shape))
    other: list[tuple[int, ...]] = [(*more, *shape), shape[-2:], shape[-1:], ()]
    return with_inputs(case, {0: draw(st.sampled_from(other))})


def _empty(axis: int) -> Break:
    """An axis other than the batch of size 0."""

    def apply(draw: Draw, case: Case) -> Case:
        (x,) = case.inputs
        assert x is not None
        taken = x.take([], axis=axis if axis == -3 else draw(st.sampled_from((-1, -2))))
        return replace(case, inputs=(taken,))

    name = "no channels" if axis == -3 else "no length"
    return Break(name, "input", apply, required=CUSTOMARY if axis == -3 else "documented")


def max_pool_breaks(dims: int) -> tuple[Break, ...]:
    """The breaks of pooling by maximum.

    Args:
        dims: number of spatial dimensions.
    """
    names = ("stride", "dilation", "kernel_size")
    return (
        Break("input of another rank", "input", _rank),
        _padding(dims),
        _bad("padding", dims, negative),
        *(_bad(name, dims, zero) for name in names),
        *(_bad(name, dims, negative) for name in names),
        _too_short(dims),
        _too_many(dims),
        _empty(-3),
        _empty(-1),
    )
