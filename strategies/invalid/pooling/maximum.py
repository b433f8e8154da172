"""Ways to break a valid call of pooling by windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    replace_arguments,
    resize_inputs,
    surplus,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

zeros = st.just(0)


def _shape(case: Case) -> tuple[int, ...]:
    (x,) = case.inputs
    assert x is not None
    return x.shape


def numbers_by_dimension(case: Case, name: str, dims: int) -> list[int]:
    """An argument as one number per dimension, of `dims`; the stride defaults to the kernel."""
    arguments = case.call.arguments
    value = arguments.get(name, {"padding": 0, "dilation": 1}.get(name))
    value = arguments["kernel_size"] if value is None else value
    return [value] * dims if isinstance(value, int) else list(value)


def _change_one_number(draw: Draw, case: Case, dims: int, name: str, value: int) -> Any:
    """Change one of an argument's numbers; return one number if all are then equal."""
    numbers = numbers_by_dimension(case, name, dims)
    numbers[draw(st.integers(0, dims - 1))] = value
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _bad_number(name: str, dims: int, values: st.SearchStrategy[int]) -> Break:
    """The break of an argument one of whose numbers is zero, or is negative."""
    word = "zero" if values is zeros else "negative"

    def apply(draw: Draw, case: Case) -> Case:
        value = _change_one_number(draw, case, dims, name, draw(values))
        changed = replace_arguments(case, **{name: value})
        # The stride must not follow an invalid kernel.
        if name == "kernel_size" and "stride" not in case.call.arguments:
            changed = replace_arguments(changed, stride=1)
        return changed

    # A kernel of size 0 has no largest element, but torch's messages forbid negative ones only.
    return Break(f"{name} {word}", name, apply)


def _large_padding(dims: int) -> Break:
    """The break of a padding of more than half the kernel."""

    def apply(draw: Draw, case: Case) -> Case:
        k = draw(st.integers(0, dims - 1))
        kernel, padding = (
            numbers_by_dimension(case, name, dims) for name in ("kernel_size", "padding")
        )
        old_padding = padding[k]
        padding[k] = kernel[k] // 2 + draw(surplus)
        # Long enough for the window even without the new padding.
        shape = list(_shape(case))
        shape[k - dims] = max(shape[k - dims], 2 * old_padding, 1)
        changed = resize_inputs(case, {0: shape})
        return replace_arguments(changed, padding=tuple(padding))

    return Break("padding of more than half the kernel", "padding", apply)


def _window_too_long(dims: int) -> Break:
    """The break of a window longer than the padded input."""

    def apply(draw: Draw, case: Case) -> Case:
        k = draw(st.integers(0, dims - 1))
        names = ("kernel_size", "padding", "dilation")
        kernel, padding, dilation = (numbers_by_dimension(case, name, dims)[k] for name in names)
        stride = numbers_by_dimension(case, "stride", dims)[k]
        length = _shape(case)[k - dims]
        reach = length + 2 * padding + stride + draw(surplus)
        kernels = numbers_by_dimension(case, "kernel_size", dims)
        kernels[k] = max(kernel, -(-reach // dilation) + 1)
        changed = replace_arguments(case, kernel_size=tuple(kernels))
        if "stride" not in case.call.arguments or case.call.arguments["stride"] is None:
            changed = replace_arguments(
                changed, stride=tuple(numbers_by_dimension(case, "stride", dims))
            )
        return changed

    return Break("window longer than the padded input", "kernel_size", apply)


def _too_many_numbers(dims: int, names: tuple[str, ...]) -> Break:
    """The break of a tuple with a number too many."""

    def apply(draw: Draw, case: Case) -> Case:
        name = draw(st.sampled_from(names))
        numbers = numbers_by_dimension(case, name, dims)
        return replace_arguments(case, **{name: (*numbers, numbers[-1])})

    return Break("size of too many numbers", " or ".join(names), apply)


def input_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the input: its rank, and empty axes. Integers may be pooled."""
    dims = signature.dims
    from_shapes = shape_breaks(signature, shapes, excluded=("input of another dtype",))
    return (*from_shapes, no_channels(dims), no_length(dims))


def no_channels(dims: int) -> Break:
    """The break of an input without channels, in `dims` spatial dimensions."""

    def apply(draw: Draw, case: Case) -> Case:
        (x,) = case.inputs
        assert x is not None
        return replace(case, inputs=(x.take([], axis=-dims - 1),))

    return Break("no channels", "input", apply)


def no_length(dims: int) -> Break:
    """The break of an input with one of its `dims` spatial axes empty."""

    def apply(draw: Draw, case: Case) -> Case:
        (x,) = case.inputs
        assert x is not None
        return replace(case, inputs=(x.take([], axis=draw(st.integers(-dims, -1))),))

    return Break("no length", "input", apply)


def _zero_divisor(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, divisor_override=0)


def window_breaks(
    signature: Signature,
    shapes: Shapes,
    *,
    has_padding: bool = True,
    has_dilation: bool = False,
    has_divisor: bool = False,
) -> tuple[Break, ...]:
    """The breaks of pooling by windows.

    Args:
        has_padding, has_dilation, has_divisor: the layer has padding, dilation, divisor_override.
    """
    dims = signature.dims
    names = ("stride", *(("dilation",) if has_dilation else ()), "kernel_size")
    optional_names = (("padding",) if has_padding else ()) + (("dilation",) if has_dilation else ())
    return (
        *((_large_padding(dims), _bad_number("padding", dims, negative)) if has_padding else ()),
        *(_bad_number(name, dims, zeros) for name in names),
        *(_bad_number(name, dims, negative) for name in names),
        _window_too_long(dims),
        _too_many_numbers(dims, ("kernel_size", "stride", *optional_names)),
        *input_breaks(signature, shapes),
        *(
            (Break("divisor_override zero", "divisor_override", _zero_divisor),)
            if has_divisor
            else ()
        ),
    )
