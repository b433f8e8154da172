"""Ways to break a valid call of padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from conformance.strategies.invalid.breaks import Break, argument, with_arguments, with_inputs
from conformance.strategies.padding import least
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_MORE = st.sampled_from((0, 1, 5))
_SOME = st.integers(1, 3)
yes_no = st.booleans()

# case → (mode, number of padded dimensions)
Facts = Callable[[Case], tuple[str, int]]


def _shape(case: Case) -> tuple[int, ...]:
    x = case.inputs[0]
    assert x is not None
    return x.shape


def _name(case: Case) -> str:
    """Name of the argument that holds the amounts of padding."""
    return "padding" if "padding" in case.call.arguments else "pad"


def _numbers(case: Case, dims: int) -> list[int]:
    given: Any = case.call.arguments[_name(case)]
    return [given] * (2 * dims) if isinstance(given, int) else list(given)


def _with_side(facts: Facts, changed: Callable[[Draw, int], tuple[int, int]]) -> Any:
    """Change the padding of one dimension; `changed` maps its length to (before, after)."""

    def apply(draw: Draw, case: Case) -> Case:
        _, dims = facts(case)
        axis = draw(st.integers(0, dims - 1))
        numbers = _numbers(case, dims)
        numbers[2 * axis : 2 * axis + 2] = changed(draw, _shape(case)[-1 - axis])
        return with_arguments(case, **{_name(case): tuple(numbers)})

    return apply


def _beyond(most: int) -> Callable[[Draw, int], tuple[int, int]]:
    """Pad one side by more than the length plus `most`, or exactly by that."""

    def changed(draw: Draw, length: int) -> tuple[int, int]:
        long = length + most + draw(_MORE)
        return (long, 0) if draw(yes_no) else (0, long)

    return changed


def _cropped_away(draw: Draw, length: int) -> tuple[int, int]:
    """Crop more elements than the dimension has."""
    more = length + draw(_SOME)
    first = draw(st.integers(0, more))
    return -first, first - more


def _around_a_rest(draw: Draw, length: int) -> tuple[int, int]:
    """Crop one side until fewer elements remain than the padding of the other side."""
    padding = draw(st.integers(2, length))
    crop = length - draw(st.integers(0, padding - 1))
    return (padding, -crop) if draw(yes_no) else (-crop, padding)


def _of_rank(facts: Facts, *ranks: int) -> Callable[[Draw, Case], Case]:
    """Break a case by an input whose rank is the padded dimensions plus one of `ranks`."""

    def apply(draw: Draw, case: Case) -> Case:
        _, dims = facts(case)
        rank = dims + draw(st.sampled_from(ranks))
        numbers = _numbers(case, dims)
        lengths = [least(facts(case)[0], *numbers[k : k + 2]) + 1 for k in range(0, 2 * dims, 2)]
        kept = lengths[: min(rank, dims)]
        return with_inputs(case, {0: (*(1,) * max(rank - dims, 0), *reversed(kept))})

    return apply


def _odd(facts: Facts) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        numbers = _numbers(case, facts(case)[1])
        wrong = numbers[:-1] if draw(yes_no) else [*numbers, 0]
        return with_arguments(case, **{_name(case): tuple(wrong)})

    return apply


def _fractional(facts: Facts) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        numbers: list[float] = [*_numbers(case, facts(case)[1])]
        numbers[draw(st.integers(0, len(numbers) - 1))] += 0.5
        return with_arguments(case, **{_name(case): tuple(numbers)})

    return apply


def _without_elements(facts: Facts) -> Callable[[Draw, Case], Case]:
    """Break a case by an empty dimension or no channels; an empty batch is valid."""

    def apply(draw: Draw, case: Case) -> Case:
        shape = [max(size, 1) for size in _shape(case)]
        shape[-1 - draw(st.integers(0, facts(case)[1]))] = 0
        return with_inputs(case, {0: shape})

    return apply


def _breaks(facts: Facts, argument_name: str, modes: Sequence[str]) -> tuple[Break, ...]:
    """The breaks that concern the modes of a layer."""

    def of(*wanted: str) -> Callable[[Case], bool]:
        return lambda case: facts(case)[0] in wanted and facts(case)[1] > 0

    def wide(case: Case) -> bool:
        """Whether every dimension has at least two elements, which cropping needs."""
        _, dims = facts(case)
        return of("circular")(case) and min(_shape(case)[-dims:]) > 1

    every = ("constant", "reflect", "replicate", "circular")
    around = ("reflect", "replicate", "circular")
    found = (
        (("reflect",), Break(
            "reflection not shorter than the dimension", argument_name,
            _with_side(facts, _beyond(0)), applies=of("reflect"),
        )),
        (("circular",), Break(
            "circular padding longer than the dimension", argument_name,
            _with_side(facts, _beyond(1)), applies=of("circular"),
        )),
        # The pages limit the padding to the input's length, so that it wraps round once only. The
        # same limit holds for the length that cropping leaves.
        (("circular",), Break(
            "circular padding longer than what cropping leaves", argument_name,
            _with_side(facts, _around_a_rest), applies=wide,
        )),
        (every, Break(
            "more cropped than there is", argument_name, _with_side(facts, _cropped_away),
            applies=of(*every),
        )),
        (every, Break("an odd number of paddings", argument_name, _odd(facts), applies=of(*every))),
        (every, Break(
            "padding by half an element", argument_name, _fractional(facts), applies=of(*every)
        )),
        (around, Break(
            "input of another rank", "input", _of_rank(facts, 0, 3), applies=of(*around)
        )),
        (("constant",), Break(
            "fewer dimensions than are padded", "input", _of_rank(facts, -1), applies=of("constant")
        )),
        (("reflect", "replicate"), Break(
            "input with an empty dimension", "input", _without_elements(facts),
            applies=of("reflect", "replicate"),
        )),
    )  # fmt: skip
    return tuple(one for wanted, one in found if set(wanted) & set(modes))


def module_breaks(mode: str, dims: int) -> tuple[Break, ...]:
    """The breaks of a module.

    Args:
        mode: its padding mode.
        dims: number of spatial dimensions.
    """
    return _breaks(lambda case: (mode, dims), "padding", (mode,))


def _facts(case: Case) -> tuple[str, int]:
    arguments = case.call.arguments
    return arguments.get("mode", "constant"), len(arguments["pad"]) // 2


def pad_breaks() -> tuple[Break, ...]:
    """The breaks of `functional.pad`."""
    modes = ("constant", "reflect", "replicate", "circular")
    unknown = st.sampled_from(("zeros", "edge", "wrap", "symmetric", ""))
    return (
        *_breaks(_facts, "pad", modes),
        Break("no such mode", "mode", argument("mode", unknown)),
        Break(
            "a value of a mode that takes none",
            "value",
            argument("value", st.sampled_from((1.0, -2.5))),
            applies=lambda case: _facts(case)[0] != "constant",
        ),
        Break("padding that is one number", "pad", argument("pad", st.sampled_from((1, 2)))),
    )
