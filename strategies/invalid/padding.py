"""Ways to break a valid call of padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.padding import min_length
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_EXCESS = st.sampled_from((0, 1, 5))
_SURPLUS = st.integers(1, 3)
yes_no = st.booleans()

# case → (mode, number of padded dimensions)
Facts = Callable[[Case], tuple[str, int]]


def _shape(case: Case) -> tuple[int, ...]:
    x = case.inputs[0]
    assert x is not None
    return x.shape


def _argument_name(case: Case) -> str:
    """Name of the argument that holds the amounts of padding."""
    return "padding" if "padding" in case.call.arguments else "pad"


def _numbers(case: Case, dims: int) -> list[int]:
    value: Any = case.call.arguments[_argument_name(case)]
    return [value] * (2 * dims) if isinstance(value, int) else list(value)


def _change_one_side(facts: Facts, new_padding: Callable[[Draw, int], tuple[int, int]]) -> Any:
    """Change the padding of one dimension; `new_padding` maps its length to (before, after)."""

    def apply(draw: Draw, case: Case) -> Case:
        _, dims = facts(case)
        axis = draw(st.integers(0, dims - 1))
        numbers = _numbers(case, dims)
        numbers[2 * axis : 2 * axis + 2] = new_padding(draw, _shape(case)[-1 - axis])
        return replace_arguments(case, **{_argument_name(case): tuple(numbers)})

    return apply


def _pad_beyond(margin: int) -> Callable[[Draw, int], tuple[int, int]]:
    """Pad one side by more than the length plus `margin`, or exactly by that."""

    def new_padding(draw: Draw, length: int) -> tuple[int, int]:
        long = length + margin + draw(_EXCESS)
        return (long, 0) if draw(yes_no) else (0, long)

    return new_padding


def _crop_all(draw: Draw, length: int) -> tuple[int, int]:
    """Crop more elements than the dimension has."""
    total = length + draw(_SURPLUS)
    first = draw(st.integers(0, total))
    return -first, first - total


def _pad_beyond_remainder(draw: Draw, length: int) -> tuple[int, int]:
    """Crop one side until fewer elements remain than the padding of the other side."""
    padding = draw(st.integers(2, length))
    crop = length - draw(st.integers(0, padding - 1))
    return (padding, -crop) if draw(yes_no) else (-crop, padding)


def _change_rank(facts: Facts, *ranks: int) -> Callable[[Draw, Case], Case]:
    """Break a case by an input whose rank is the padded dimensions plus one of `ranks`."""

    def apply(draw: Draw, case: Case) -> Case:
        _, dims = facts(case)
        rank = dims + draw(st.sampled_from(ranks))
        numbers = _numbers(case, dims)
        lengths = [
            min_length(facts(case)[0], *numbers[k : k + 2]) + 1 for k in range(0, 2 * dims, 2)
        ]
        padded_lengths = lengths[: min(rank, dims)]
        return resize_inputs(case, {0: (*(1,) * max(rank - dims, 0), *reversed(padded_lengths))})

    return apply


def _odd_count(facts: Facts) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        numbers = _numbers(case, facts(case)[1])
        odd_numbers = numbers[:-1] if draw(yes_no) else [*numbers, 0]
        return replace_arguments(case, **{_argument_name(case): tuple(odd_numbers)})

    return apply


def _half_an_element(facts: Facts) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        numbers: list[float] = [*_numbers(case, facts(case)[1])]
        numbers[draw(st.integers(0, len(numbers) - 1))] += 0.5
        return replace_arguments(case, **{_argument_name(case): tuple(numbers)})

    return apply


def _empty_dimension(facts: Facts) -> Callable[[Draw, Case], Case]:
    """Break a case by an empty dimension or no channels; an empty batch is valid."""

    def apply(draw: Draw, case: Case) -> Case:
        shape = [max(size, 1) for size in _shape(case)]
        shape[-1 - draw(st.integers(0, facts(case)[1]))] = 0
        return resize_inputs(case, {0: shape})

    return apply


def _breaks(facts: Facts, argument_name: str, modes: Sequence[str]) -> tuple[Break, ...]:
    """The breaks that concern the modes of a layer."""

    def has_mode(*modes_: str) -> Callable[[Case], bool]:
        return lambda case: facts(case)[0] in modes_ and facts(case)[1] > 0

    def can_crop(case: Case) -> bool:
        """Whether every dimension has at least two elements, which cropping needs."""
        _, dims = facts(case)
        return has_mode("circular")(case) and min(_shape(case)[-dims:]) > 1

    all_modes = ("constant", "reflect", "replicate", "circular")
    modes_of_modules = ("reflect", "replicate", "circular")
    breaks_by_modes = (
        (("reflect",), Break(
            "reflection not shorter than the dimension", argument_name,
            _change_one_side(facts, _pad_beyond(0)), applies=has_mode("reflect"),
        )),
        (("circular",), Break(
            "circular padding longer than the dimension", argument_name,
            _change_one_side(facts, _pad_beyond(1)), applies=has_mode("circular"),
        )),
        # The pages limit the padding to the input's length, so that it wraps round once only. The
        # same limit holds for the length that cropping leaves.
        (("circular",), Break(
            "circular padding longer than what cropping leaves", argument_name,
            _change_one_side(facts, _pad_beyond_remainder), applies=can_crop,
        )),
        (all_modes, Break(
            "more cropped than there is", argument_name, _change_one_side(facts, _crop_all),
            applies=has_mode(*all_modes),
        )),
        (all_modes, Break(
            "an odd number of paddings", argument_name, _odd_count(facts),
            applies=has_mode(*all_modes),
        )),
        (all_modes, Break(
            "padding by half an element", argument_name, _half_an_element(facts),
            applies=has_mode(*all_modes),
        )),
        (modes_of_modules, Break(
            "input of another rank", "input", _change_rank(facts, 0, 3),
            applies=has_mode(*modes_of_modules),
        )),
        (("constant",), Break(
            "fewer dimensions than are padded", "input", _change_rank(facts, -1),
            applies=has_mode("constant"),
        )),
        (("reflect", "replicate"), Break(
            "input with an empty dimension", "input", _empty_dimension(facts),
            applies=has_mode("reflect", "replicate"),
        )),
    )  # fmt: skip
    return tuple(break_ for break_modes, break_ in breaks_by_modes if set(break_modes) & set(modes))


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
        Break("no such mode", "mode", set_argument("mode", unknown)),
        Break(
            "a value of a mode that takes none",
            "value",
            set_argument("value", st.sampled_from((1.0, -2.5))),
            applies=lambda case: _facts(case)[0] != "constant",
        ),
        Break("padding that is one number", "pad", set_argument("pad", st.sampled_from((1, 2)))),
    )
