"""Ways to break a valid call of scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    replace_arguments,
    resize_axis,
    resize_inputs,
    resized,
    set_argument,
    wrong_sizes,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

QUERY, KEY, VALUE, MASK = range(4)


def _shape(case: Case, place: int) -> tuple[int, ...]:
    array = case.inputs[place]
    assert array is not None
    return array.shape


def _has_elements(case: Case) -> bool:
    """Whether every input has elements: an empty one hides other mistakes."""
    return all(x is None or x.size > 0 for x in case.inputs)


def _resize_axis(place: int, axis: int) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        return resize_axis(case, place, axis)(draw(wrong_sizes(_shape(case, place)[axis])))

    return apply


def _value_length(draw: Draw, case: Case) -> Case:
    size = _shape(case, VALUE)[-2]
    return resize_axis(case, VALUE, -2)(draw(st.sampled_from((size + 1, 2 * size))))


def _has_heads(case: Case) -> bool:
    return _has_elements(case) and len(_shape(case, QUERY)) > 2


def _has_several_heads(case: Case) -> bool:
    """Whether a wrong number of heads cannot broadcast."""
    return _has_heads(case) and _head_count(case) > 1


def _head_count(case: Case) -> int:
    return _shape(case, QUERY)[-3]


def _change_key_heads(draw: Draw, case: Case) -> Case:
    """Keys and values with more heads than the query."""
    count = _head_count(case) + draw(st.integers(1, 2))
    shapes = [list(_shape(case, k)) for k in (KEY, VALUE)]
    for shape in shapes:
        shape[-3] = count
    return resize_inputs(case, {KEY: shapes[0], VALUE: shapes[1]})


def _ungrouped_heads(draw: Draw, case: Case) -> Case:
    return replace_arguments(_change_key_heads(draw, case), enable_gqa=False)


def _indivisible_heads(draw: Draw, case: Case) -> Case:
    return replace_arguments(_change_key_heads(draw, case), enable_gqa=True)


def _more_value_heads(draw: Draw, case: Case) -> Case:
    """Values with more heads than the keys."""
    shape = list(_shape(case, VALUE))
    shape[-3] = 2 * shape[-3]
    query = list(_shape(case, QUERY))
    query[-3] = 2 * _shape(case, KEY)[-3]
    wide = resize_inputs(case, {QUERY: query, VALUE: shape})
    return replace_arguments(_remove_mask(wide), enable_gqa=True)


def _remove_mask(case: Case) -> Case:
    return replace(case, inputs=(*case.inputs[:MASK], None))


def _score_shape(case: Case) -> tuple[int, ...]:
    return (*_shape(case, QUERY)[:-1], _shape(case, KEY)[-2])


def _set_mask(case: Case, shape: tuple[int, ...], *, causal: bool = False) -> Case:
    old_mask = case.inputs[MASK]
    mask = (
        np.zeros(shape)
        if old_mask is None or old_mask.dtype != bool
        else resized(old_mask, shape) > 0
    )
    masked = replace(case, inputs=(*case.inputs[:MASK], mask))
    return replace_arguments(masked, is_causal=causal)


def _mask_columns(draw: Draw, case: Case) -> Case:
    rows, columns = _score_shape(case)[-2:]
    return _set_mask(case, (rows, columns + draw(st.integers(1, 2))))


def _mask_rows(draw: Draw, case: Case) -> Case:
    rows, columns = _score_shape(case)[-2:]
    return _set_mask(case, (rows + draw(st.integers(1, 2)), columns))


def _mask_leading(draw: Draw, case: Case) -> Case:
    *leading, rows, columns = _score_shape(case)
    return _set_mask(case, (*leading[:-1], leading[-1] + draw(st.integers(1, 2)), rows, columns))


def _mask_integer(draw: Draw, case: Case) -> Case:
    case = _set_mask(case, _score_shape(case)[-2:])
    integer_mask = np.ones(_score_shape(case)[-2:], np.int64)
    return replace(case, inputs=(*case.inputs[:MASK], integer_mask))


def _mask_and_causal(draw: Draw, case: Case) -> Case:
    return _set_mask(case, _score_shape(case)[-2:], causal=True)


def _has_several_scores(case: Case) -> bool:
    """Whether a wrong number of rows or columns of a mask cannot broadcast."""
    return _has_elements(case) and min(_score_shape(case)[-2:]) > 1


def _query_vector(draw: Draw, case: Case) -> Case:
    return resize_inputs(_remove_mask(case), {QUERY: _shape(case, QUERY)[-1:]})


BREAKS = (
    Break("query of one dimension", "query", _query_vector),
    Break("key of another width", "key", _resize_axis(KEY, -1), applies=_has_elements),
    Break("value of another length", "value", _value_length, applies=_has_elements),
    Break("other heads without enable_gqa", "key", _ungrouped_heads, applies=_has_several_heads),
    Break("heads that do not divide", "key", _indivisible_heads, applies=_has_heads),
    Break("values of other heads than keys", "value", _more_value_heads, applies=_has_heads),
    Break("key of another dtype", "key", integer_input(KEY), applies=_has_elements),
    Break("mask of too many columns", "attn_mask", _mask_columns, applies=_has_several_scores),
    Break("mask of too many rows", "attn_mask", _mask_rows, applies=_has_several_scores),
    Break("mask of other heads", "attn_mask", _mask_leading, applies=_has_several_heads),
    Break("mask of whole numbers", "attn_mask", _mask_integer, applies=_has_elements),
    Break("mask and is_causal", "attn_mask", _mask_and_causal, applies=_has_elements),
    Break("dropout_p above 1", "dropout_p", set_argument("dropout_p", st.sampled_from((1.5, 2.0))),
          applies=_has_elements),
)  # fmt: skip
