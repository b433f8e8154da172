"""Ways to break a valid call of an embedding."""

from __future__ import annotations

from dataclasses import replace

from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def _wrong_padding(draw: Draw, case: Case) -> Case:
    weight = case.inputs[1] if len(case.inputs) > 1 else None
    count = case.call.arguments["num_embeddings"] if weight is None else len(weight)
    value = draw(st.sampled_from((count, count + 1, -count - 1, -count - 2)))
    return replace_arguments(case, padding_idx=value)


def _drop_padding_idx(case: Case) -> Case:
    """Drop padding_idx: with another number of rows it could be a second mistake."""
    arguments = {k: v for k, v in case.call.arguments.items() if k != "padding_idx"}
    return replace(case, call=replace(case.call, arguments=arguments))


def _weight_rank(draw: Draw, case: Case) -> Case:
    case = _drop_padding_idx(case)
    weight = case.inputs[1]
    assert weight is not None
    wrong_shapes: list[tuple[int, ...]] = [(*weight.shape, 1), (1, *weight.shape), weight.shape[:1]]
    return resize_inputs(case, {1: draw(st.sampled_from(wrong_shapes))})


_ALLOWED = ("input of another rank",)
weight_rank = Break("weight of another rank", "weight", _weight_rank)


def negative_size(name: str) -> Break:
    """The break of a negative number of rows or of columns."""
    apply = set_argument(name, negative)
    return Break(f"{name} negative", name, lambda draw, case: apply(draw, _drop_padding_idx(case)))


def embedding_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """All breaks of the module or the function."""
    padding = Break("padding_idx of no row", "padding_idx", _wrong_padding)
    if "weight" not in signature.input_names:
        sizes = map(negative_size, ("num_embeddings", "embedding_dim"))
        return (*shape_breaks(signature, shapes, excluded=_ALLOWED), padding, *sizes)
    # An integer weight has rows, too; for a missing one backends raise different kinds of errors.
    excluded = (*_ALLOWED, "weight of another dtype", "weight missing", weight_rank.name)
    return (*shape_breaks(signature, shapes, excluded=excluded), padding, weight_rank)
