"""Breaks: ways to make a valid call invalid, each violating one constraint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from conformance.strategies.composing import composite
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

surplus = st.integers(1, 2)
yes_no = st.booleans()
not_positive = st.sampled_from((0, -1, -2))
negative = st.sampled_from((-1, -2))


def _always(case: Case) -> bool:
    return True


@dataclass(frozen=True)
class Break:
    """One constraint, and a way to violate it and nothing else.

    `conformance/layers/documented.json` says for which layers torch's page states the constraint.

    Args:
        name: name of the break in plain words.
        argument: the argument or input that becomes invalid.
        apply: draws and builds the invalid case from a valid one.
        applies: whether this break can be applied to a valid case.
        missing: a tensor is None: an AttributeError is a proper refusal, too.
        constraint: the constraint in words; "" where the name says it.
    """

    name: str
    argument: str
    apply: Callable[[Draw, Case], Case]
    applies: Callable[[Case], bool] = _always
    missing: bool = False
    constraint: str = ""


def resized(array: np.ndarray | None, shape: Sequence[int]) -> np.ndarray:
    """Repeat an array's elements to fill another shape; ones where it has no elements."""
    if array is None or array.size == 0:
        return np.ones(tuple(shape), np.float64 if array is None else array.dtype)
    return np.resize(array, tuple(shape))


def resize_inputs(case: Case, shapes: Mapping[int, Sequence[int]]) -> Case:
    """Resize inputs of a case; `shapes` maps the position of an input to its new shape."""
    inputs = tuple(
        resized(array, shapes[k]) if k in shapes else array for k, array in enumerate(case.inputs)
    )
    return replace(case, inputs=inputs)


def replace_arguments(case: Case, **arguments: Any) -> Case:
    """Replace or add arguments of a case."""
    return replace(case, call=replace(case.call, arguments={**case.call.arguments, **arguments}))


def integer_input(position: int = 0) -> Callable[[Draw, Case], Case]:
    """Break a case by an int64 input where the weights are floating-point."""

    def apply(draw: Draw, case: Case) -> Case:
        inputs = list(case.inputs)
        array = inputs[position]
        assert array is not None
        inputs[position] = np.arange(array.size, dtype=np.int64).reshape(array.shape) % 5
        return replace(case, inputs=tuple(inputs))

    return apply


def set_argument(name: str, values: st.SearchStrategy[Any]) -> Callable[[Draw, Case], Case]:
    """Break a case by an invalid value of one argument on which nothing else depends."""
    return lambda draw, case: replace_arguments(case, **{name: draw(values)})


def wrong_sizes(size: int, *, broadcast: bool = False) -> st.SearchStrategy[int]:
    """Sizes other than the right one, often 1, which a broadcast would accept by mistake.

    Args:
        broadcast: leave out 1, because broadcasting is documented.
    """
    right = (size, -1, 1) if broadcast else (size, -1)
    sizes = (1, size + 1, 1, size - 1, 2 * size)
    return st.sampled_from([n for n in sizes if n not in right])


def resize_axis(case: Case, position: int, axis: int) -> Callable[[int], Case]:
    """Return a function that gives one axis of an input another size."""
    array = case.inputs[position]
    assert array is not None
    shape = list(array.shape)

    def resize(size: int) -> Case:
        shape[axis] = size
        return resize_inputs(case, {position: shape})

    return resize


Cases = Callable[[str], st.SearchStrategy[Case]]


@composite
def broken_cases(
    draw: Draw, cases: Cases, breaks: tuple[Break, ...], constructed: tuple[str, ...], dtype: str
) -> Case:
    """Cases that must be refused. Their state is empty: a wrong state_dict is not the topic.

    Args:
        cases: dtype → strategy of valid cases.
        breaks: ways to break them.
        constructed: state tensors that the constructor takes; these stay.
    """
    # Drawn first, and from all breaks, so that it stays the same while the case shrinks.
    first = draw(st.integers(0, len(breaks) - 1))
    case: Case = draw(cases(dtype))
    if any(x is not None and not x.size for x in case.inputs):
        # An empty batch hides other mistakes: a second draw makes it rare.
        case = draw(cases(dtype))
    broken = next(b for b in (*breaks[first:], *breaks[:first]) if b.applies(case))
    labels = {"broken": broken.name, "argument": broken.argument}
    if broken.missing:
        labels["missing"] = "None in its place"

    def drop_state(case: Case) -> Case:
        state = {name: x for name, x in case.call.state.items() if name in constructed}
        return replace(case, call=replace(case.call, state=state))

    unbroken = drop_state(case)
    case = drop_state(broken.apply(draw, case))
    return replace(case, labels={**case.labels, **labels}, unbroken=unbroken)


def invalid_cases(
    cases: Cases, breaks: tuple[Break, ...], constructed: tuple[str, ...] = ()
) -> Cases:
    """Return dtype → strategy of invalid cases; the arguments are those of `broken_cases`."""
    return partial(broken_cases, cases, breaks, constructed)


def break_names(cases: Callable[[str], st.SearchStrategy[Case]]) -> frozenset[str]:
    """Names of the breaks that a strategy of invalid cases draws from."""
    return frozenset(b.name for b in all_breaks(cases))


def all_breaks(cases: Callable[[str], st.SearchStrategy[Case]]) -> tuple[Break, ...]:
    """The breaks that a strategy of invalid cases draws from."""
    breaks: tuple[Break, ...] = cases.args[1]  # type: ignore[attr-defined]
    return breaks
