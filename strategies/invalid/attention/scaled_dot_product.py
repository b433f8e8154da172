"""Ways to break a valid call of scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    argument,
    axis_of,
    integer_input,
    resized,
    with_arguments,
    with_inputs,
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


def _filled(case: Case) -> bool:
    """Whether every input has elements: an empty one hides other mistakes."""
    return all(x is None or x.size > 0 for x in case.inputs)


def _axis(place: int, axis: int) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        return axis_of(case, place, axis)(draw(wrong_sizes(_shape(case, place)[axis])))

    return apply


def _length(draw: Draw, case: Case) -> Case:
    size = _shape(case, VALUE)[-2]
    return axis_of(case, VALUE, -2)(draw(st.sampled_from((size + 1, 2 * size))))


def _headed(case: Case) -> bool:
    return _filled(case) and len(_shape(case, QUERY)) > 2


def _several(case: Case) -> bool:
    """Whether a wrong number of heads cannot broadcast."""
    return _headed(case) and _heads(case) > 1


def _heads(case: Case) -> int:
    return _shape(case, QUERY)[-3]


def _with_key_heads(draw: Draw, case: Case) -> Case:
    """Keys and values with more heads than the query."""
    count = _heads(case) + draw(st.integers(1, 2))
    plain = [list(_shape(case, k)) for k in (KEY, VALUE)]
    for shape in plain:
        shape[-3] = count
    return with_inputs(case, {KEY: plain[0], VALUE: plain[1]})


def _ungrouped(draw: Draw, case: Case) -> Case:
    return with_arguments(_with_key_heads(draw, case), enable_gqa=False)


def _undivided(draw: Draw, case: Case) -> Case:
    return with_arguments(_with_key_heads(draw, case), enable_gqa=True)


def _apart(draw: Draw, case: Case) -> Case:
    """Values with more heads than the keys."""
    shape = list(_shape(case, VALUE))
    shape[-3] = 2 * shape[-3]
    query = list(_shape(case, QUERY))
    query[-3] = 2 * _shape(case, KEY)[-3]
    wide = with_inputs(case, {QUERY: query, VALUE: shape})
    return with_arguments(_unmasked(wide), enable_gqa=True)


def _unmasked(case: Case) -> Case:
    return replace(case, inputs=(*case.inputs[:MASK], None))


def _scores(case: Case) -> tuple[int, ...]:
    return (*_shape(case, QUERY)[:-1], _shape(case, KEY)[-2])


def _with_mask(case: Case, shape: tuple[int, ...], *, causal: bool = False) -> Case:
    given = case.inputs[MASK]
    mask = np.zeros(shape) if given is None or given.dtype != bool else resized(given, shape) > 0
    masked = replace(case, inputs=(*case.inputs[:MASK], mask))
    return with_arguments(masked, is_causal=causal)


def _mask_columns(draw: Draw, case: Case) -> Case:
    rows, columns = _scores(case)[-2:]
    return _with_mask(case, (rows, columns + draw(st.integers(1, 2))))


def _mask_rows(draw: Draw, case: Case) -> Case:
    rows, columns = _scores(case)[-2:]
    return _with_mask(case, (rows + draw(st.integers(1, 2)), columns))


def _mask_leading(draw: Draw, case: Case) -> Case:
    *leading, rows, columns = _scores(case)
    return _with_mask(case, (*leading[:-1], leading[-1] + draw(st.integers(1, 2)), rows, columns))


def _mask_integer(draw: Draw, case: Case) -> Case:
    case = _with_mask(case, _scores(case)[-2:])
    whole = np.ones(_scores(case)[-2:], np.int64)
    return replace(case, inputs=(*case.inputs[:MASK], whole))


def _mask_and_causal(draw: Draw, case: Case) -> Case:
    return _with_mask(case, _scores(case)[-2:], causal=True)


def _plural(case: Case) -> bool:
    """Whether a wrong number of rows or columns of a mask cannot broadcast."""
    return _filled(case) and min(_scores(case)[-2:]) > 1


def _vector(draw: Draw, case: Case) -> Case:
    return with_inputs(_unmasked(case), {QUERY: _shape(case, QUERY)[-1:]})


BREAKS = (
    Break("query of one dimension", "query", _vector),
    Break("key of another width", "key", _axis(KEY, -1), applies=_filled),
    Break("value of another length", "value", _length, applies=_filled),
    Break("other heads without enable_gqa", "key", _ungrouped, applies=_several),
    Break("heads that do not divide", "key", _undivided, applies=_headed),
    Break("values of other heads than keys", "value", _apart, applies=_headed),
    Break("key of another dtype", "key", integer_input(KEY), applies=_filled),
    Break("mask of too many columns", "attn_mask", _mask_columns, applies=_plural),
    Break("mask of too many rows", "attn_mask", _mask_rows, applies=_plural),
    Break("mask of other heads", "attn_mask", _mask_leading, applies=_several),
    Break("mask of whole numbers", "attn_mask", _mask_integer, applies=_filled),
    Break("mask and is_causal", "attn_mask", _mask_and_causal, applies=_filled),
    Break("dropout_p above 1", "dropout_p", argument("dropout_p", st.sampled_from((1.5, 2.0))),
          applies=_filled),
)  # fmt: skip
