"""Ways to break a valid call of Unfold or Fold."""

from __future__ import annotations

from collections.abc import Callable

from conformance.strategies.invalid.breaks import (
    Break,
    argument,
    negative,
    not_positive,
    with_arguments,
    with_inputs,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_SOME = st.integers(1, 3)
_THREE = st.sampled_from(((1, 1, 1), (2, 1, 2)))
_BROKEN = st.sampled_from((1.5, (1.0, 1), "1"))


def _shape(case: Case) -> tuple[int, ...]:
    x = case.inputs[0]
    assert x is not None
    return x.shape


def _filled(case: Case) -> bool:
    return 0 not in _shape(case)


def _beyond_the_image(draw: Draw, case: Case) -> Case:
    """A kernel longer than the padded image."""
    padding = case.call.arguments.get("padding", 0)
    most = padding if isinstance(padding, int) else max(padding)
    kernel = max(_shape(case)[-2:]) + 2 * most + draw(_SOME)
    return with_arguments(case, kernel_size=kernel)


def _emptied(axes: int) -> Callable[[Draw, Case], Case]:
    """Break a case by an empty axis among the last `axes`."""

    def apply(draw: Draw, case: Case) -> Case:
        shape = [max(size, 1) for size in _shape(case)]
        shape[-draw(st.integers(1, axes))] = 0
        return with_inputs(case, {0: shape})

    return apply


def _sizes() -> tuple[Break, ...]:
    """The breaks of the arguments that Fold and Unfold share."""
    names = ("kernel_size", "dilation", "stride")
    return (
        *(Break(f"{name} not positive", name, argument(name, not_positive)) for name in names),
        Break("padding negative", "padding", argument("padding", negative)),
        *(
            Break(f"{name} of three numbers", name, argument(name, _THREE))
            for name in (*names, "padding")
        ),
        Break(
            "kernel_size that is no whole number", "kernel_size", argument("kernel_size", _BROKEN)
        ),
    )


def _of_input(signature: Signature, shapes: Shapes, axes: int) -> tuple[Break, ...]:
    """The breaks of the input's axes; every dtype is valid, because elements are only moved."""
    return (
        *shape_breaks(signature, shapes, without=("input of another dtype",)),
        Break("an empty axis", "input", _emptied(axes)),
    )


def unfold_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of Unfold."""
    return (
        *_sizes(),
        Break("no room for a block", "kernel_size", _beyond_the_image),
        *_of_input(signature, shapes, 3),
    )


def _other_count(draw: Draw, case: Case) -> Case:
    shape = list(_shape(case))
    shape[-1] += draw(_SOME)
    return with_inputs(case, {0: shape})


def _inner(case: Case) -> int:
    """Number of pixels of a block."""
    kernel = case.call.arguments["kernel_size"]
    high, wide = (kernel, kernel) if isinstance(kernel, int) else (kernel[0], kernel[-1])
    return int(high * wide)


def _indivisible(draw: Draw, case: Case) -> Case:
    shape = list(_shape(case))
    shape[-2] += draw(st.integers(1, _inner(case) - 1))
    return with_inputs(case, {0: shape})


def _divisible(case: Case) -> bool:
    """Whether a number of channels can exist that the block's size does not divide."""
    return _filled(case) and _inner(case) > 1


def fold_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of Fold."""
    return (
        *_sizes(),
        Break("another number of blocks", "input", _other_count),
        Break(
            "channels that the block's size does not divide", "input", _indivisible,
            applies=_divisible,
        ),
        Break("output_size of three numbers", "output_size", argument("output_size", _THREE)),
        Break("output_size not positive", "output_size", argument("output_size", not_positive)),
        *_of_input(signature, shapes, 2),
    )  # fmt: skip
