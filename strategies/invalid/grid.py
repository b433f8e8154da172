"""Ways to break a valid call of affine_grid or grid_sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conformance.strategies.invalid.breaks import (
    Break,
    argument,
    axis_of,
    integer_input,
    not_positive,
    with_arguments,
    with_inputs,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case


def _shape(case: Case, place: int = 0) -> tuple[int, ...]:
    x = case.inputs[place]
    assert x is not None
    return x.shape


def _filled(case: Case) -> bool:
    return all(x is not None and x.size > 0 for x in case.inputs)


def _size(case: Case) -> list[int]:
    return list(case.call.arguments["size"])


def _no_output(draw: Draw, case: Case) -> Case:
    size = _size(case)
    size[draw(st.integers(2, len(size) - 1))] = draw(not_positive)
    # With align_corners torch checks lengths of 1 only.
    return with_arguments(case, size=tuple(size), align_corners=False)


def _other_batch(draw: Draw, case: Case) -> Case:
    batch, *rest = _size(case)
    return with_arguments(case, size=(batch + draw(st.integers(1, 2)), *rest))


def _other_rank(draw: Draw, case: Case) -> Case:
    size = _size(case)
    other: list[Any] = [size[:3], [*size, 2, 2], size[:2]]
    return with_arguments(case, size=tuple(draw(st.sampled_from(other))))


def _other_dimensions(draw: Draw, case: Case) -> Case:
    """A size of two dimensions for a matrix of three, or vice versa."""
    size = _size(case)
    return with_arguments(case, size=tuple(size[:4] if len(size) == 5 else [*size, 2]))


def _matrix(draw: Draw, case: Case) -> Case:
    batch, rows, columns = _shape(case)
    wrong = [(batch, rows, rows), (batch, columns, columns), (rows, columns), (batch, columns)]
    return with_inputs(case, {0: draw(st.sampled_from(wrong))})


def affine_breaks() -> tuple[Break, ...]:
    """The breaks of affine_grid."""
    return (
        Break("output not positive", "size", _no_output),
        Break("size of another batch", "size", _other_batch),
        Break("size of another rank", "size", _other_rank),
        Break("size of other dimensions", "size", _other_dimensions),
        Break("matrix of another shape", "theta", _matrix),
        Break("matrix of whole numbers", "theta", integer_input()),
    )


def _grid_last(draw: Draw, case: Case) -> Case:
    size = _shape(case, 1)[-1]
    return axis_of(case, 1, -1)(draw(st.sampled_from([n for n in (1, 2, 3, 4) if n != size])))


def _grid_rank(draw: Draw, case: Case) -> Case:
    shape = _shape(case, 1)
    return with_inputs(case, {1: draw(st.sampled_from([(*shape[:1], 1, *shape[1:]), shape[1:]]))})


def _input_rank(draw: Draw, case: Case) -> Case:
    shape, grid = _shape(case), _shape(case, 1)
    if draw(st.booleans()):
        return with_inputs(case, {0: shape[:3], 1: (*grid[:2], 1)})
    return with_inputs(case, {0: (*shape[:2], 1, 1, *shape[2:])[:6]})


def _cubic_volume(draw: Draw, case: Case) -> Case:
    return with_arguments(case, mode="bicubic")


def _empty(draw: Draw, case: Case) -> Case:
    x, grid = case.inputs
    assert x is not None
    place = draw(st.integers(2, x.ndim - 1))
    return replace(case, inputs=(x.take([], axis=place), grid))


def sample_breaks() -> tuple[Break, ...]:
    """The breaks of grid_sample."""
    modes = st.sampled_from(("linear", "trilinear", "Nearest", "", "nearest-exact"))
    paddings = st.sampled_from(("reflect", "zero", "replicate", "", "Border"))
    return (
        Break("unknown mode", "mode", argument("mode", modes)),
        Break("unknown padding_mode", "padding_mode", argument("padding_mode", paddings)),
        Break(
            "bicubic of a volume", "mode", _cubic_volume,
            applies=lambda case: len(_shape(case)) == 5 and _filled(case),
        ),
        Break("grid of vectors of another length", "grid", _grid_last, applies=_filled),
        Break("grid of another rank", "grid", _grid_rank, applies=_filled),
        Break("input of another rank", "input", _input_rank, applies=_filled),
        Break("no length", "input", _empty, applies=_filled),
    )  # fmt: skip
