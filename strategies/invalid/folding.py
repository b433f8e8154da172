"""Ways to break a valid call of Unfold or Fold."""

from __future__ import annotations

from collections.abc import Callable

from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    not_positive,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_SURPLUS = st.integers(1, 3)
_THREE_NUMBERS = st.sampled_from(((1, 1, 1), (2, 1, 2)))
_NOT_INTEGERS = st.sampled_from((1.5, (1.0, 1), "1"))


def _shape(case: Case) -> tuple[int, ...]:
    x = case.inputs[0]
    assert x is not None
    return x.shape


def _has_elements(case: Case) -> bool:
    return 0 not in _shape(case)


def _kernel_beyond_image(draw: Draw, case: Case) -> Case:
    """A kernel longer than the padded image."""
    padding = case.call.arguments.get("padding", 0)
    largest_padding = padding if isinstance(padding, int) else max(padding)
    kernel = max(_shape(case)[-2:]) + 2 * largest_padding + draw(_SURPLUS)
    return replace_arguments(case, kernel_size=kernel)


def _empty_an_axis(axes: int) -> Callable[[Draw, Case], Case]:
    """Break a case by an empty axis among the last `axes`."""

    def apply(draw: Draw, case: Case) -> Case:
        shape = [max(size, 1) for size in _shape(case)]
        shape[-draw(st.integers(1, axes))] = 0
        return resize_inputs(case, {0: shape})

    return apply


def _size_breaks() -> tuple[Break, ...]:
    """The breaks of the arguments that Fold and Unfold share."""
    names = ("kernel_size", "dilation", "stride")
    return (
        *(Break(f"{name} not positive", name, set_argument(name, not_positive)) for name in names),
        Break("padding negative", "padding", set_argument("padding", negative)),
        *(
            Break(f"{name} of three numbers", name, set_argument(name, _THREE_NUMBERS))
            for name in (*names, "padding")
        ),
        Break(
            "kernel_size that is no whole number",
            "kernel_size",
            set_argument("kernel_size", _NOT_INTEGERS),
        ),
    )


def _input_breaks(signature: Signature, shapes: Shapes, axes: int) -> tuple[Break, ...]:
    """The breaks of the input's axes; every dtype is valid, because elements are only moved."""
    return (
        *shape_breaks(signature, shapes, excluded=("input of another dtype",)),
        Break("an empty axis", "input", _empty_an_axis(axes)),
    )


def unfold_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """Wrong sizes, a wrong input, and a kernel longer than the padded image."""
    return (
        *_size_breaks(),
        Break("no room for a block", "kernel_size", _kernel_beyond_image),
        *_input_breaks(signature, shapes, 3),
    )


def _wrong_block_count(draw: Draw, case: Case) -> Case:
    shape = list(_shape(case))
    shape[-1] += draw(_SURPLUS)
    return resize_inputs(case, {0: shape})


def _block_size(case: Case) -> int:
    """Number of pixels of a block."""
    kernel = case.call.arguments["kernel_size"]
    high, wide = (kernel, kernel) if isinstance(kernel, int) else (kernel[0], kernel[-1])
    return int(high * wide)


def _indivisible_channels(draw: Draw, case: Case) -> Case:
    shape = list(_shape(case))
    shape[-2] += draw(st.integers(1, _block_size(case) - 1))
    return resize_inputs(case, {0: shape})


def _can_be_indivisible(case: Case) -> bool:
    """Whether a number of channels can exist that the block's size does not divide."""
    return _has_elements(case) and _block_size(case) > 1


def fold_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """Wrong sizes, a wrong input, and blocks that do not make up the output."""
    return (
        *_size_breaks(),
        Break("another number of blocks", "input", _wrong_block_count),
        Break(
            "channels that the block's size does not divide", "input", _indivisible_channels,
            applies=_can_be_indivisible,
        ),
        Break(
            "output_size of three numbers", "output_size",
            set_argument("output_size", _THREE_NUMBERS),
        ),
        Break("output_size not positive", "output_size", set_argument("output_size", not_positive)),
        *_input_breaks(signature, shapes, 2),
    )  # fmt: skip
