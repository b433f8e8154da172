"""Ways to break a valid call of the cross entropy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    integer_input,
    resized,
    with_arguments,
    with_inputs,
    wrong_sizes,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.model.formats import round_to

_words = st.sampled_from(("average", "batchmean", "Mean", ""))
_too_large = st.sampled_from((1.5, 2.0, 1.25))
_below_zero = st.sampled_from((-0.5, -0.1, -1.0))
_indices_of_classes = st.sampled_from((0, 1, 255))


def _array(case: Case, place: int) -> np.ndarray:
    array = case.inputs[place]
    assert array is not None
    return array


def _classes(case: Case) -> int:
    shape = _array(case, 0).shape
    return int(shape[0 if len(shape) == 1 else 1])


def _of_indices(case: Case) -> bool:
    return _array(case, 1).dtype.kind == "i"


def _of_probabilities(case: Case) -> bool:
    return not _of_indices(case)


def _any_index(case: Case) -> bool:
    return _of_indices(case) and _array(case, 1).size > 0


def _batch_of_indices(case: Case) -> bool:
    return _of_indices(case) and _array(case, 1).ndim > 0


def _rows_of_indices(case: Case) -> bool:
    return _of_indices(case) and _array(case, 1).ndim == 1


def _with_target(case: Case, target: np.ndarray) -> Case:
    return replace(case, inputs=(case.inputs[0], target, *case.inputs[2:]))


def _beyond(draw: Draw, case: Case) -> Case:
    """One index that is no class: below 0, or from the number of classes on."""
    target, ignored = _array(case, 1).copy(), case.call.arguments.get("ignore_index", -100)
    outside = [k for k in (_classes(case), _classes(case) + 7, -1, -2) if k != ignored]
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = draw(st.sampled_from(outside))
    return _with_target(case, target)


def _batch_size(draw: Draw, case: Case) -> Case:
    shape = _array(case, 1).shape
    return with_inputs(case, {1: (draw(wrong_sizes(shape[0])), *shape[1:])})


def _column(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {1: (*_array(case, 1).shape, 1)})


def _real_indices(draw: Draw, case: Case) -> Case:
    return _with_target(case, _array(case, 1).astype(np.float64) % _classes(case))


def _probabilities_of_more(draw: Draw, case: Case) -> Case:
    shape = list(_array(case, 1).shape)
    shape[0 if len(shape) == 1 else 1] += draw(st.integers(1, 2))
    return with_inputs(case, {1: shape})


def _whole_probabilities(draw: Draw, case: Case) -> Case:
    return _with_target(case, np.rint(_array(case, 1)).astype(np.int64))


def _ignored_class(draw: Draw, case: Case) -> Case:
    return with_arguments(case, ignore_index=draw(_indices_of_classes))


def _weight_length(draw: Draw, case: Case) -> Case:
    """A weight too many or too few, where a constructor or a function takes it."""
    size = _classes(case)
    length = draw(st.sampled_from([n for n in (size + 1, size - 1, 2 * size) if n > 1]))
    given = case.inputs[2] if len(case.inputs) > 2 else case.call.state.get("weight")
    weight = round_to(resized(given, (length,)), case.call.dtype)
    if len(case.inputs) > 2:
        return replace(case, inputs=(*case.inputs[:2], weight))
    return replace(case, call=replace(case.call, state={"weight": weight}))


def cross_entropy_breaks() -> tuple[Break, ...]:
    """The breaks of the module and of the function."""
    of_indices, of_probabilities = _of_indices, _of_probabilities
    return (
        Break("unknown reduction", "reduction", argument("reduction", _words)),
        Break(
            "label_smoothing above 1", "label_smoothing", argument("label_smoothing", _too_large)
        ),
        Break(
            "label_smoothing negative", "label_smoothing", argument("label_smoothing", _below_zero)
        ),
        Break("class out of range", "target", _beyond, applies=_any_index, index=True),
        Break("target of another batch size", "target", _batch_size, applies=_batch_of_indices),
        Break("target with one axis more", "target", _column, applies=_rows_of_indices),
        Break("indices of another dtype", "target", _real_indices, applies=of_indices),
        Break(
            "probabilities of another number of classes",
            "target",
            _probabilities_of_more,
            applies=of_probabilities,
        ),
        Break(
            "probabilities of another dtype",
            "target",
            _whole_probabilities,
            applies=of_probabilities,
        ),
        Break(
            "ignored class of probabilities",
            "ignore_index",
            _ignored_class,
            applies=of_probabilities,
        ),
        Break("weight of another length", "weight", _weight_length, applies=of_indices),
        Break(
            "weight of another length with probabilities",
            "weight",
            _weight_length,
            required=CUSTOMARY,
            applies=of_probabilities,
        ),
        Break("input of another dtype", "input", integer_input()),
    )
