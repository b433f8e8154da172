"""Ways to break a valid call of a (bi)linear layer, besides those that follow from its shapes."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    replace_arguments,
    resize_axis,
    set_argument,
)
from conformance.strategies.windows import Draw

from conformance.model.case import Case


def negative_sizes(*names: str) -> tuple[Break, ...]:
    """The breaks of negative numbers of features."""
    return tuple(Break(f"{name} negative", name, set_argument(name, negative)) for name in names)


def _zero_inputs(name: str) -> Break:
    position = 1 if name == "in2_features" else 0

    def apply(draw: Draw, case: Case) -> Case:
        return replace_arguments(resize_axis(case, position, -1)(0), **{name: 0})

    return Break(f"{name} zero", name, apply)


def bilinear_breaks() -> tuple[Break, ...]:
    """The breaks of the arguments of `"Bilinear"`."""
    sizes = ("in1_features", "in2_features", "out_features")
    return (*negative_sizes(*sizes), *map(_zero_inputs, sizes[:2]))
