"""Ways to break a valid call of interpolation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from conformance.strategies.interpolation import SELECTING
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    not_positive,
    with_arguments,
    with_inputs,
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


def _image(case: Case) -> bool:
    return len(_shape(case)) == 4


def _without(case: Case, *names: str) -> Case:
    kept = {k: v for k, v in case.call.arguments.items() if k not in names}
    return replace(case, call=replace(case.call, arguments=kept))


def _numbers(case: Case, name: str) -> list[Any]:
    value = case.call.arguments[name]
    return [value] * (len(_shape(case)) - 2) if isinstance(value, (int, float)) else list(value)


def _given(case: Case) -> str:
    return "size" if "size" in case.call.arguments else "scale_factor"


def _both(draw: Draw, case: Case) -> Case:
    other = {"size": 2, "scale_factor": 2.0}
    other.pop(_given(case))
    return with_arguments(_without(case, "recompute_scale_factor"), **other)


def _neither(draw: Draw, case: Case) -> Case:
    return _without(case, "size", "scale_factor", "recompute_scale_factor")


def _count(draw: Draw, case: Case) -> Case:
    name = _given(case)
    numbers = _numbers(case, name)
    # A tuple of one number counts for one dimension, not for all.
    return with_arguments(case, **{name: draw(st.sampled_from(((*numbers, numbers[-1]), ())))})


def _not_positive(draw: Draw, case: Case) -> Case:
    numbers = [max(int(n), 1) for n in _shape(case)[2:]]
    numbers[draw(st.integers(0, len(numbers) - 1))] = draw(not_positive)
    rest = _without(case, "scale_factor", "recompute_scale_factor", "size")
    return with_arguments(rest, size=tuple(numbers))


def _too_small(draw: Draw, case: Case) -> Case:
    """A factor that leaves an empty output, or is not positive and finite."""
    wrong = draw(st.sampled_from((0.0, -1.0, 0.01, math.nan, math.inf)))
    numbers = [1.0] * (len(_shape(case)) - 2)
    numbers[draw(st.integers(0, len(numbers) - 1))] = wrong
    rest = _without(case, "size", "scale_factor", "recompute_scale_factor")
    return with_arguments(rest, scale_factor=tuple(numbers))


def _corners(draw: Draw, case: Case) -> Case:
    return with_arguments(case, align_corners=draw(st.booleans()))


def _antialias(draw: Draw, case: Case) -> Case:
    return with_arguments(case, antialias=True)


def _recompute(draw: Draw, case: Case) -> Case:
    return with_arguments(case, recompute_scale_factor=True)


def _unknown(draw: Draw, case: Case) -> Case:
    mode = draw(st.sampled_from(("cubic", "Nearest", "nearest_exact", "", "lanczos3")))
    return with_arguments(_without(case, "antialias", "align_corners"), mode=mode)


def _other_rank(draw: Draw, case: Case) -> Case:
    """A mode for another number of dimensions."""
    modes = {3: ("bilinear", "trilinear", "bicubic"), 4: ("linear", "trilinear"),
             5: ("linear", "bilinear", "bicubic")}  # fmt: skip
    mode = draw(st.sampled_from(modes[len(_shape(case))]))
    return with_arguments(_without(case, "antialias", "align_corners"), mode=mode)


def _rank(draw: Draw, case: Case) -> Case:
    shape = draw(st.sampled_from(((2,), (2, 3), (1, 1, 2, 2, 2, 2))))
    changed = with_inputs(case, {0: shape})
    return with_arguments(_without(changed, "size", "scale_factor", "antialias"), scale_factor=2)


def _empty(axis: int) -> Break:
    """The break of an empty axis: of the channels, or of a spatial one."""

    def apply(draw: Draw, case: Case) -> Case:
        (x,) = case.inputs
        assert x is not None
        place = 1 if axis == 1 else draw(st.integers(2, x.ndim - 1))
        taken = x.take([], axis=place)
        rest = _without(case, "scale_factor", "recompute_scale_factor", "size")
        return replace(with_arguments(rest, size=2), inputs=(taken,))

    name = "no channels" if axis == 1 else "no length"
    return Break(name, "input", apply, CUSTOMARY)


def _lanczos_alone(draw: Draw, case: Case) -> Case:
    return with_arguments(_without(case, "align_corners"), mode="lanczos", antialias=False)


def _lanczos_corners(draw: Draw, case: Case) -> Case:
    return with_arguments(case, mode="lanczos", antialias=True, align_corners=True)


def shared_breaks() -> tuple[Break, ...]:
    """The breaks of every layer of the family."""
    return (
        Break("both size and scale_factor", "size", _both),
        Break("neither size nor scale_factor", "size", _neither),
        Break("size or scale_factor of another length", "size", _count),
        Break(
            "size not positive", "size", _not_positive,
            applies=lambda case: _mode(case) != "area" and bool(min(_shape(case))),
        ),
        Break(
            "no output by scale_factor", "scale_factor", _too_small,
            applies=lambda case: _mode(case) != "area" and bool(min(_shape(case))),
        ),
        _empty(1),
        _empty(2),
    )  # fmt: skip


def interpolate_breaks(*, function: bool) -> tuple[Break, ...]:
    """The breaks of Upsample, or of `interpolate` (`function`), which has more arguments."""
    selecting = Break(
        "align_corners where there are none", "align_corners", _corners,
        applies=lambda case: _mode(case) in SELECTING,
    )  # fmt: skip
    found = (
        *shared_breaks(),
        selecting,
        Break(
            "scale_factor recomputed of a size", "recompute_scale_factor", _recompute,
            applies=lambda case: _given(case) == "size",
        ),
        Break("unknown mode", "mode", _unknown),
        Break("mode of another rank", "mode", _other_rank),
        Break("input of another rank", "input", _rank),
    )  # fmt: skip
    if not function:
        return found
    return (
        *found,
        Break(
            "antialias of a mode without", "antialias", _antialias,
            applies=lambda case: _mode(case) not in ("bilinear", "bicubic", "lanczos"),
        ),
        Break("lanczos without antialias", "antialias", _lanczos_alone, applies=_image),
        Break("lanczos with align_corners", "align_corners", _lanczos_corners, applies=_image),
    )  # fmt: skip
