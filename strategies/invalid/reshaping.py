"""Ways to break a valid call of Flatten, Unflatten or a shuffle."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    Break,
    not_positive,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_excess = st.integers(0, 2)


def _shape(case: Case) -> tuple[int, ...]:
    x = case.inputs[0]
    assert x is not None
    return x.shape


def no_such_axis(name: str) -> Break:
    """The break of an axis that the input does not have."""

    def apply(draw: Draw, case: Case) -> Case:
        axes, excess = max(len(_shape(case)), 1), draw(_excess)
        wrong_axis = draw(st.sampled_from((axes + excess, -axes - 1 - excess)))
        return replace_arguments(case, **{name: wrong_axis})

    return Break(f"no such {name}", name, apply)


def _exchanged_ends(draw: Draw, case: Case) -> Case:
    last = len(_shape(case)) - 1
    end = draw(st.integers(0, last - 1))
    return replace_arguments(case, start_dim=draw(st.integers(end + 1, last)), end_dim=end)


def flatten_breaks() -> tuple[Break, ...]:
    """Axes that the input lacks, and `start_dim` after `end_dim`."""
    return (
        no_such_axis("start_dim"),
        no_such_axis("end_dim"),
        Break(
            "start_dim after end_dim",
            "start_dim",
            _exchanged_ends,
            applies=lambda case: len(_shape(case)) > 1,
        ),
    )


def _wrong_product(draw: Draw, case: Case) -> Case:
    dim, length = case.call.arguments["dim"], draw(st.sampled_from((1, 2, 6)))
    shape = list(_shape(case))
    shape[dim] = length
    # No product with 4 or 5, inferred sizes included, gives 1, 2 or 6.
    sizes = draw(st.sampled_from(((4, 5), (4, -1), (4,), (-1, 4), (5, 4, 1))))
    return replace_arguments(resize_inputs(case, {0: shape}), unflattened_size=sizes)


def _ambiguous_size(draw: Draw, case: Case) -> Case:
    """An empty axis, whose inferred size is ambiguous beside a size of 0."""
    shape = list(_shape(case))
    shape[case.call.arguments["dim"]] = 0
    return replace_arguments(resize_inputs(case, {0: shape}), unflattened_size=(0, -1))


def _one_of(*values: object) -> st.SearchStrategy[object]:
    return st.sampled_from(values)


def unflatten_breaks() -> tuple[Break, ...]:
    """An axis that the input lacks, and sizes that are invalid or do not give its length."""
    name = "unflattened_size"
    return (
        no_such_axis("dim"),
        Break("sizes of another product", name, _wrong_product),
        Break("two sizes to be inferred", name, set_argument(name, _one_of((-1, -1), (-1, 1, -1)))),
        Break("a size negative", name, set_argument(name, _one_of((-2, -1), (-1, -3), (-2,)))),
        Break("no sizes", name, set_argument(name, st.just(()))),
        Break(
            "a size that is no whole number",
            name,
            set_argument(name, _one_of((1.0, -1), ("1", -1))),
        ),
        Break("sizes that are one number", name, set_argument(name, _one_of(1, -1))),
        Break("a size inferred beside 0", name, _ambiguous_size),
    )


def _indivisible_groups(draw: Draw, case: Case) -> Case:
    channels = _shape(case)[1]
    wrong_groups = [n for n in range(2, channels + 3) if channels % n]
    return replace_arguments(case, groups=draw(st.sampled_from(wrong_groups)))


def _two_axes(draw: Draw, case: Case) -> Case:
    return resize_inputs(case, {0: _shape(case)[: draw(st.sampled_from((2, 1)))]})


def shuffle_breaks() -> tuple[Break, ...]:
    """The breaks of the shuffle of channels."""
    return (
        Break(
            "groups do not divide the channels",
            "groups",
            _indivisible_groups,
            applies=lambda case: math.prod(_shape(case)[1:2]) > 0,
        ),
        Break("groups not positive", "groups", set_argument("groups", not_positive)),
        Break("fewer than three axes", "input", _two_axes),
    )


def _indivisible_size(axis: int, name: str, power: int) -> Break:
    """The break of a size that the factor (to the power) does not divide."""

    def apply(draw: Draw, case: Case) -> Case:
        divisor = case.call.arguments[name] ** power
        shape = list(_shape(case))
        shape[axis] += draw(st.integers(1, divisor - 1))
        return resize_inputs(case, {0: shape})

    axes = {-3: "channels", -2: "height", -1: "width"}
    return Break(
        f"{name} does not divide the {axes[axis]}",
        "input",
        apply,
        applies=lambda case: case.call.arguments[name] > 1 and 0 not in _shape(case),
    )


def pixel_breaks(name: str, divided: tuple[int, ...], power: int) -> tuple[Break, ...]:
    """The breaks of the shuffle of pixels, or of its inverse.

    Args:
        name: argument name of the factor.
        divided: axes that the factor must divide.
        power: power of the factor that must divide them.
    """
    return (
        *(_indivisible_size(axis, name, power) for axis in divided),
        Break(f"{name} not positive", name, set_argument(name, not_positive)),
        Break(
            f"{name} that is no whole number",
            name,
            set_argument(name, _one_of(2.0, 1.5, (2, 2), "2")),
        ),
    )
