"""Ways to break a valid call of pooling by windows."""

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
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

zero = st.just(0)


def _shape(case: Case) -> tuple[int, ...]:
    (x,) = case.inputs
    assert x is not None
    return x.shape


def numbers_of(case: Case, name: str, dims: int) -> list[int]:
    """An argument as one number per dimension, of `dims`; the stride defaults to the kernel."""
    given = case.call.arguments
    value = given.get(name, {"padding": 0, "dilation": 1}.get(name))
    value = given["kernel_size"] if value is None else value
    return [value] * dims if isinstance(value, int) else list(value)


def _somewhere(draw: Draw, case: Case, dims: int, name: str, value: int) -> Any:
    """Change one of an argument's numbers; return one number if all are then equal."""
    numbers = numbers_of(case, name, dims)
    numbers[draw(st.integers(0, dims - 1))] = value
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _bad(name: str, dims: int, values: st.SearchStrategy[int]) -> Break:
    """The break of an argument one of whose numbers is zero, or is negative."""
    word = "zero" if values is zero else "negative"

    def apply(draw: Draw, case: Case) -> Case:
        value = _somewhere(draw, case, dims, name, draw(values))
        changed = with_arguments(case, **{name: value})
        # The stride must not follow an invalid kernel.
        if name == "kernel_size" and "stride" not in case.call.arguments:
            changed = with_arguments(changed, stride=1)
        return changed

    # A kernel of size 0 has no largest element, but torch's messages forbid negative ones only.
    return Break(f"{name} {word}", name, apply)


def _padding(dims: int) -> Break:
    """The break of a padding of more than half the kernel."""

    def apply(draw: Draw, case: Case) -> Case:
        k = draw(st.integers(0, dims - 1))
        kernel, padding = (numbers_of(case, name, dims) for name in ("kernel_size", "padding"))
        before = padding[k]
        padding[k] = kernel[k] // 2 + draw(surplus)
        # Long enough for the window even without the new padding.
        shape = list(_shape(case))
        shape[k - dims] = max(shape[k - dims], 2 * before, 1)
        changed = with_inputs(case, {0: shape})
        return with_arguments(changed, padding=tuple(padding))

    return Break("padding of more than half the kernel", "padding", apply)


def _too_short(dims: int) -> Break:
    """The break of a window longer than the padded input."""

    def apply(draw: Draw, case: Case) -> Case:
        k = draw(st.integers(0, dims - 1))
        names = ("kernel_size", "padding", "dilation")
        kernel, padding, dilation = (numbers_of(case, name, dims)[k] for name in names)
        stride = numbers_of(case, "stride", dims)[k]
        length = _shape(case)[k - dims]
        reach = length + 2 * padding + stride + draw(surplus)
        kernels = numbers_of(case, "kernel_size", dims)
        kernels[k] = max(kernel, -(-reach // dilation) + 1)
        changed = with_arguments(case, kernel_size=tuple(kernels))
        if "stride" not in case.call.arguments or case.call.arguments["stride"] is None:
            changed = with_arguments(changed, stride=tuple(numbers_of(case, "stride", dims)))
        return changed

    return Break("window longer than the padded input", "kernel_size", apply)


def _too_many(dims: int, names: tuple[str, ...]) -> Break:
    """The break of a tuple with a number too many."""

    def apply(draw: Draw, case: Case) -> Case:
        name = draw(st.sampled_from(names))
        numbers = numbers_of(case, name, dims)
        return with_arguments(case, **{name: (*numbers, numbers[-1])})

    return Break("size of too many numbers", " or ".join(names), apply)


def input_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the input: its rank, and empty axes. Integers may be pooled."""
    dims = signature.dims
    told = shape_breaks(signature, shapes, without=("input of another dtype",))
    return (*told, no_channels(dims), no_length(dims))


def no_channels(dims: int) -> Break:
    """The break of an input without channels, in `dims` spatial dimensions."""

    def apply(draw: Draw, case: Case) -> Case:
        (x,) = case.inputs
        assert x is not None
        return replace(case, inputs=(x.take([], axis=-dims - 1),))

    return Break("no channels", "input", apply, required=CUSTOMARY)


def no_length(dims: int) -> Break:
    """The break of an input with one of its `dims` spatial axes empty."""

    def apply(draw: Draw, case: Case) -> Case:
        (x,) = case.inputs
        assert x is not None
        return replace(case, inputs=(x.take([], axis=draw(st.integers(-dims, -1))),))

    return Break("no length", "input", apply)


def _no_divisor(draw: Draw, case: Case) -> Case:
    return with_arguments(case, divisor_override=0)


def window_breaks(
    signature: Signature,
    shapes: Shapes,
    *,
    padded: bool = True,
    dilated: bool = False,
    divided: bool = False,
) -> tuple[Break, ...]:
    """The breaks of pooling by windows.

    Args:
        padded, dilated, divided: the layer has padding, dilation, divisor_override.
    """
    dims = signature.dims
    names = ("stride", *(("dilation",) if dilated else ()), "kernel_size")
    more = (("padding",) if padded else ()) + (("dilation",) if dilated else ())
    return (
        *((_padding(dims), _bad("padding", dims, negative)) if padded else ()),
        *(_bad(name, dims, zero) for name in names),
        *(_bad(name, dims, negative) for name in names),
        _too_short(dims),
        _too_many(dims, ("kernel_size", "stride", *more)),
        *input_breaks(signature, shapes),
        *((Break("divisor_override zero", "divisor_override", _no_divisor),) if divided else ()),
    )
