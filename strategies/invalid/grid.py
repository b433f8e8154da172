"""Ways to break a valid call of affine_grid or grid_sample."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    not_positive,
    replace_arguments,
    resize_axis,
    resize_inputs,
    set_argument,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case


def _shape(case: Case, place: int = 0) -> tuple[int, ...]:
    x = case.inputs[place]
    assert x is not None
    return x.shape


def _has_elements(case: Case) -> bool:
    return all(x is not None and x.size > 0 for x in case.inputs)


def _size(case: Case) -> list[int]:
    return list(case.call.arguments["size"])


def _no_output(draw: Draw, case: Case) -> Case:
    size = _size(case)
    size[draw(st.integers(2, len(size) - 1))] = draw(not_positive)
    # With align_corners torch checks lengths of 1 only.
    return replace_arguments(case, size=tuple(size), align_corners=False)


def _wrong_batch(draw: Draw, case: Case) -> Case:
    batch, *lengths = _size(case)
    return replace_arguments(case, size=(batch + draw(st.integers(1, 2)), *lengths))


def _wrong_rank(draw: Draw, case: Case) -> Case:
    size = _size(case)
    wrong_sizes: list[Any] = [size[:3], [*size, 2, 2], size[:2]]
    return replace_arguments(case, size=tuple(draw(st.sampled_from(wrong_sizes))))


def _wrong_dimensions(draw: Draw, case: Case) -> Case:
    """A size of two dimensions for a matrix of three, or vice versa."""
    size = _size(case)
    return replace_arguments(case, size=tuple(size[:4] if len(size) == 5 else [*size, 2]))


def _wrong_matrix(draw: Draw, case: Case) -> Case:
    batch, rows, columns = _shape(case)
    wrong_shapes = [
        (batch, rows, rows),
        (batch, columns, columns),
        (rows, columns),
        (batch, columns),
    ]
    return resize_inputs(case, {0: draw(st.sampled_from(wrong_shapes))})


def affine_breaks() -> tuple[Break, ...]:
    """The breaks of affine_grid."""
    return (
        Break("output not positive", "size", _no_output),
        Break("size of another batch", "size", _wrong_batch),
        Break("size of another rank", "size", _wrong_rank),
        Break("size of other dimensions", "size", _wrong_dimensions),
        Break("matrix of another shape", "theta", _wrong_matrix),
        Break("matrix of whole numbers", "theta", integer_input()),
    )


def _grid_vector_length(draw: Draw, case: Case) -> Case:
    size = _shape(case, 1)[-1]
    return resize_axis(case, 1, -1)(draw(st.sampled_from([n for n in (1, 2, 3, 4) if n != size])))


def _grid_rank(draw: Draw, case: Case) -> Case:
    shape = _shape(case, 1)
    return resize_inputs(case, {1: draw(st.sampled_from([(*shape[:1], 1, *shape[1:]), shape[1:]]))})


def _input_rank(draw: Draw, case: Case) -> Case:
    shape, grid = _shape(case), _shape(case, 1)
    if draw(st.booleans()):
        return resize_inputs(case, {0: shape[:3], 1: (*grid[:2], 1)})
    return resize_inputs(case, {0: (*shape[:2], 1, 1, *shape[2:])[:6]})


def _cubic_volume(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, mode="bicubic")


def _empty_length(draw: Draw, case: Case) -> Case:
    x, grid = case.inputs
    assert x is not None
    axis = draw(st.integers(2, x.ndim - 1))
    return replace(case, inputs=(x.take([], axis=axis), grid))


def sample_breaks() -> tuple[Break, ...]:
    """The breaks of grid_sample."""
    modes = st.sampled_from(("linear", "trilinear", "Nearest", "", "nearest-exact"))
    paddings = st.sampled_from(("reflect", "zero", "replicate", "", "Border"))
    return (
        Break("unknown mode", "mode", set_argument("mode", modes)),
        Break("unknown padding_mode", "padding_mode", set_argument("padding_mode", paddings)),
        Break(
            "bicubic of a volume", "mode", _cubic_volume,
            applies=lambda case: len(_shape(case)) == 5 and _has_elements(case),
        ),
        Break(
            "grid of vectors of another length", "grid", _grid_vector_length,
            applies=_has_elements,
        ),
        Break("grid of another rank", "grid", _grid_rank, applies=_has_elements),
        Break("input of another rank", "input", _input_rank, applies=_has_elements),
        Break("no length", "input", _empty_length, applies=_has_elements),
    )  # fmt: skip
