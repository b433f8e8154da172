"""Ways to break a valid call of interpolation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from conformance.strategies.interpolation import SELECTING
from conformance.strategies.invalid.breaks import (
    Break,
    not_positive,
    replace_arguments,
    resize_inputs,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case


def _shape(case: Case) -> tuple[int, ...]:
    x = case.inputs[0]
    assert x is not None
    return x.shape


def _mode(case: Case) -> Any:
    return case.call.arguments.get("mode", "nearest")


def _is_image(case: Case) -> bool:
    return len(_shape(case)) == 4


def _drop_arguments(case: Case, *names: str) -> Case:
    remaining = {k: v for k, v in case.call.arguments.items() if k not in names}
    return replace(case, call=replace(case.call, arguments=remaining))


def _numbers_by_dimension(case: Case, name: str) -> list[Any]:
    value = case.call.arguments[name]
    return [value] * (len(_shape(case)) - 2) if isinstance(value, (int, float)) else list(value)


def _size_name(case: Case) -> str:
    return "size" if "size" in case.call.arguments else "scale_factor"


def _both(draw: Draw, case: Case) -> Case:
    alternatives = {"size": 2, "scale_factor": 2.0}
    alternatives.pop(_size_name(case))
    return replace_arguments(_drop_arguments(case, "recompute_scale_factor"), **alternatives)


def _neither(draw: Draw, case: Case) -> Case:
    return _drop_arguments(case, "size", "scale_factor", "recompute_scale_factor")


def _wrong_length(draw: Draw, case: Case) -> Case:
    name = _size_name(case)
    numbers = _numbers_by_dimension(case, name)
    # A tuple of one number counts for one dimension, not for all.
    return replace_arguments(case, **{name: draw(st.sampled_from(((*numbers, numbers[-1]), ())))})


def _size_not_positive(draw: Draw, case: Case) -> Case:
    numbers = [max(int(n), 1) for n in _shape(case)[2:]]
    numbers[draw(st.integers(0, len(numbers) - 1))] = draw(not_positive)
    without_sizes = _drop_arguments(case, "scale_factor", "recompute_scale_factor", "size")
    return replace_arguments(without_sizes, size=tuple(numbers))


def _wrong_factor(draw: Draw, case: Case) -> Case:
    """A factor that leaves an empty output, or is not positive and finite."""
    factor = draw(st.sampled_from((0.0, -1.0, 0.01, math.nan, math.inf)))
    numbers = [1.0] * (len(_shape(case)) - 2)
    numbers[draw(st.integers(0, len(numbers) - 1))] = factor
    without_sizes = _drop_arguments(case, "size", "scale_factor", "recompute_scale_factor")
    return replace_arguments(without_sizes, scale_factor=tuple(numbers))


def _superfluous_corners(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, align_corners=draw(st.booleans()))


def _superfluous_antialias(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, antialias=True)


def _recompute_of_size(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, recompute_scale_factor=True)


def _unknown_mode(draw: Draw, case: Case) -> Case:
    mode = draw(st.sampled_from(("cubic", "Nearest", "nearest_exact", "", "lanczos3")))
    return replace_arguments(_drop_arguments(case, "antialias", "align_corners"), mode=mode)


def _mode_of_another_rank(draw: Draw, case: Case) -> Case:
    """A mode for another number of dimensions."""
    modes = {3: ("bilinear", "trilinear", "bicubic"), 4: ("linear", "trilinear"),
             5: ("linear", "bilinear", "bicubic")}  # fmt: skip
    mode = draw(st.sampled_from(modes[len(_shape(case))]))
    return replace_arguments(_drop_arguments(case, "antialias", "align_corners"), mode=mode)


def _input_rank(draw: Draw, case: Case) -> Case:
    shape = draw(st.sampled_from(((2,), (2, 3), (1, 1, 2, 2, 2, 2))))
    changed = resize_inputs(case, {0: shape})
    return replace_arguments(
        _drop_arguments(changed, "size", "scale_factor", "antialias"), scale_factor=2
    )


def _empty_axis(axis: int) -> Break:
    """The break of an empty axis: of the channels, or of a spatial one."""

    def apply(draw: Draw, case: Case) -> Case:
        (x,) = case.inputs
        assert x is not None
        empty_axis = 1 if axis == 1 else draw(st.integers(2, x.ndim - 1))
        empty_input = x.take([], axis=empty_axis)
        without_sizes = _drop_arguments(case, "scale_factor", "recompute_scale_factor", "size")
        return replace(replace_arguments(without_sizes, size=2), inputs=(empty_input,))

    name = "no channels" if axis == 1 else "no length"
    return Break(name, "input", apply)


def _lanczos_without_antialias(draw: Draw, case: Case) -> Case:
    return replace_arguments(
        _drop_arguments(case, "align_corners"), mode="lanczos", antialias=False
    )


def _lanczos_corners(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, mode="lanczos", antialias=True, align_corners=True)


def shared_breaks() -> tuple[Break, ...]:
    """The breaks of every layer of the family."""
    return (
        Break("both size and scale_factor", "size", _both),
        Break("neither size nor scale_factor", "size", _neither),
        Break("size or scale_factor of another length", "size", _wrong_length),
        Break(
            "size not positive", "size", _size_not_positive,
            applies=lambda case: _mode(case) != "area" and bool(min(_shape(case))),
        ),
        Break(
            "no output by scale_factor", "scale_factor", _wrong_factor,
            applies=lambda case: _mode(case) != "area" and bool(min(_shape(case))),
        ),
        _empty_axis(1),
        _empty_axis(2),
    )  # fmt: skip


def interpolate_breaks(*, function: bool) -> tuple[Break, ...]:
    """The breaks of Upsample, or of `interpolate` (`function`), which has more arguments."""
    superfluous_corners = Break(
        "align_corners where there are none", "align_corners", _superfluous_corners,
        applies=lambda case: _mode(case) in SELECTING,
    )  # fmt: skip
    common_breaks = (
        *shared_breaks(),
        superfluous_corners,
        Break(
            "scale_factor recomputed of a size", "recompute_scale_factor", _recompute_of_size,
            applies=lambda case: _size_name(case) == "size",
        ),
        Break("unknown mode", "mode", _unknown_mode),
        Break("mode of another rank", "mode", _mode_of_another_rank),
        Break("input of another rank", "input", _input_rank),
    )  # fmt: skip
    if not function:
        return common_breaks
    return (
        *common_breaks,
        Break(
            "antialias of a mode without", "antialias", _superfluous_antialias,
            applies=lambda case: _mode(case) not in ("bilinear", "bicubic", "lanczos"),
        ),
        Break(
            "lanczos without antialias", "antialias", _lanczos_without_antialias,
            applies=_is_image,
        ),
        Break("lanczos with align_corners", "align_corners", _lanczos_corners, applies=_is_image),
    )  # fmt: skip
