"""Ways to break a valid call of an embedding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import Break, argument, negative, with_inputs
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

surplus = st.integers(0, 2)


def _index(case: Case) -> np.ndarray:
    index = case.inputs[0]
    assert index is not None
    return index


def _count(case: Case) -> int:
    """Rows of the weight."""
    if len(case.inputs) > 1 and case.inputs[1] is not None:
        return len(case.inputs[1])
    return int(case.call.arguments["num_embeddings"])


def _out_of_range(below: bool) -> Break:
    """One index that names no row."""

    def apply(draw: Draw, case: Case) -> Case:
        index = _index(case).copy()
        beyond = -1 - draw(surplus) if below else _count(case) + draw(surplus)
        index.reshape(-1)[draw(st.integers(0, index.size - 1))] = beyond
        return replace(case, inputs=(index, *case.inputs[1:]))

    name = "negative index" if below else "index of no row"
    return Break(name, "input", apply, applies=lambda case: _index(case).size > 0)


def _padding(draw: Draw, case: Case) -> Case:
    count = _count(case)
    value = draw(st.sampled_from((count, count + 1, -count - 1, -count - 2)))
    call = replace(case.call, arguments={**case.call.arguments, "padding_idx": value})
    return replace(case, call=call)


def _numbers(draw: Draw, case: Case) -> Case:
    """Numbers that are no indices."""
    return replace(case, inputs=(_index(case).astype(float), *case.inputs[1:]))


def _without_padding(case: Case) -> Case:
    """Of another number of rows a padding_idx would be one more break."""
    arguments = {k: v for k, v in case.call.arguments.items() if k != "padding_idx"}
    return replace(case, call=replace(case.call, arguments=arguments))


def _negative(name: str) -> Break:
    apply = argument(name, negative)
    return Break(f"{name} negative", name, lambda draw, case: apply(draw, _without_padding(case)))


def _weight_rank(draw: Draw, case: Case) -> Case:
    case = _without_padding(case)
    weight = case.inputs[1]
    assert weight is not None
    other: list[tuple[int, ...]] = [(*weight.shape, 1), (1, *weight.shape), weight.shape[:1]]
    return with_inputs(case, {1: draw(st.sampled_from(other))})


def embedding_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"Embedding"` or `"functional.embedding"`."""
    found = (
        _out_of_range(below=False),
        _out_of_range(below=True),
        Break("padding_idx of no row", "padding_idx", _padding),
        Break("indices that are no whole numbers", "input", _numbers),
    )
    if is_function(layer):
        return (*found, Break("weight of another rank", "weight", _weight_rank))
    sizes = ("num_embeddings", "embedding_dim")
    return (*found, *map(_negative, sizes))
