"""Ways to break a valid call of MultiheadAttention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    not_positive,
    replace_arguments,
    set_argument,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

QUERY, KEY, VALUE, PADDING, MASK = range(5)
surpluses = st.sampled_from((1, 2, 3))


def _shape(case: Case, place: int) -> tuple[int, ...]:
    array = case.inputs[place]
    assert array is not None
    return array.shape


def _has_elements(case: Case) -> bool:
    return all(x is None or x.size > 0 for x in case.inputs)


def _batch_and_position_axes(case: Case) -> tuple[int, int]:
    """The axis of the batch, -1 without one, and the axis of the positions."""
    if len(_shape(case, QUERY)) == 2:
        return -1, 0
    return (0, 1) if case.call.arguments.get("batch_first", False) else (1, 0)


def _sizes(case: Case) -> tuple[int | None, int, int]:
    batch, position = _batch_and_position_axes(case)
    count = _shape(case, QUERY)[batch] if batch >= 0 else None
    return count, _shape(case, QUERY)[position], _shape(case, KEY)[position]


def _set_only_mask(case: Case, place: int, mask: np.ndarray) -> Case:
    """The case with one mask and no other."""
    inputs: list[np.ndarray | None] = [*case.inputs[:PADDING], None, None]
    inputs[place] = mask
    keywords = {k: v for k, v in case.keywords.items() if k != "is_causal"}
    return replace(case, inputs=tuple(inputs), keywords=keywords)


def _padding_integer(draw: Draw, case: Case) -> Case:
    batch, _, columns = _sizes(case)
    return _set_only_mask(
        case, PADDING, np.zeros((columns,) if batch is None else (batch, columns), int)
    )


def _mask_columns(draw: Draw, case: Case) -> Case:
    _, rows, columns = _sizes(case)
    return _set_only_mask(case, MASK, np.zeros((rows, columns + draw(surpluses)), bool))


def _mask_rows(draw: Draw, case: Case) -> Case:
    _, rows, columns = _sizes(case)
    return _set_only_mask(case, MASK, np.zeros((rows + draw(surpluses), columns), bool))


def _mask_count(draw: Draw, case: Case) -> Case:
    batch, rows, columns = _sizes(case)
    count = (batch or 1) * case.call.arguments["num_heads"] + draw(surpluses)
    return _set_only_mask(case, MASK, np.zeros((count, rows, columns), bool))


def _mask_integer(draw: Draw, case: Case) -> Case:
    _, rows, columns = _sizes(case)
    return _set_only_mask(case, MASK, np.zeros((rows, columns), int))


def _causal_without_mask(draw: Draw, case: Case) -> Case:
    inputs = (*case.inputs[:PADDING], None, None)
    return replace(case, inputs=inputs, keywords={**case.keywords, "is_causal": True})


def _indivisible(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, num_heads=case.call.arguments["embed_dim"] + draw(surpluses))


_BREAKS = (
    Break("num_heads negative", "num_heads", set_argument("num_heads", negative)),
    Break("num_heads zero", "num_heads", set_argument("num_heads", st.just(0))),
    Break("embed_dim not positive", "embed_dim", set_argument("embed_dim", not_positive)),
    Break("embed_dim that num_heads does not divide", "num_heads", _indivisible),
    Break("padding of whole numbers", "key_padding_mask", _padding_integer, applies=_has_elements),
    Break("mask of too many columns", "attn_mask", _mask_columns, applies=_has_elements),
    Break("mask of too many rows", "attn_mask", _mask_rows, applies=_has_elements),
    Break("masks of another number", "attn_mask", _mask_count, applies=_has_elements),
    Break("mask of whole numbers", "attn_mask", _mask_integer, applies=_has_elements),
    Break("is_causal without a mask", "is_causal", _causal_without_mask, applies=_has_elements),
)


def multihead_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """All breaks of MultiheadAttention."""
    mask_count = shapes.tensors["attn_mask"].axes[0].size.text
    # torch refuses a wrong mask for each head by an assertion.
    mask_breaks = (f"attn_mask of another {x}" for x in (mask_count, "queries", "keys"))
    excluded = ("key missing", "value missing", *mask_breaks)
    return (*shape_breaks(signature, shapes, excluded=excluded), *_BREAKS)
