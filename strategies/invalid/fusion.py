"""Ways to break a valid call of what folds a batch norm into weights."""

from __future__ import annotations

from collections.abc import Callable

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    with_inputs,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_NO_NUMBERS = st.sampled_from(("1e-5", None, ()))
_SOME = st.integers(1, 3)


def _given(place: int) -> Callable[[Case], bool]:
    """Whether an input is there; one number would stand for all."""

    def applies(case: Case) -> bool:
        x = case.inputs[place]
        return x is not None and x.size > 1

    return applies


def _longer(place: int) -> Callable[[Draw, Case], Case]:
    """An input has more numbers than the weight has outputs."""

    def apply(draw: Draw, case: Case) -> Case:
        x = case.inputs[place]
        assert x is not None
        return with_inputs(case, {place: (x.size + draw(_SOME),)})

    return apply


def breaks(names: tuple[str, ...]) -> tuple[Break, ...]:
    """The breaks of a function.

    Args:
        names: of its inputs.
    """
    sizes = (
        Break(f"{name} of another size", name, _longer(place), CUSTOMARY, applies=_given(place))
        for place, name in enumerate(names)
        if place > 0
    )
    return (
        Break("bn_eps that is no number", "bn_eps", argument("bn_eps", _NO_NUMBERS)),
        *sizes,
    )
