"""Ways to break a valid call of the connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    integer_input,
    with_arguments,
    with_inputs,
)
from conformance.strategies.invalid.loss.parts import array_of, unknown_word
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_INPUTS, _TARGETS = ("input_lengths", "target_lengths")
_below_zero = st.sampled_from((-1, -2))
_more = st.sampled_from((1, 2, 7))


def _lengths(case: Case, name: str) -> np.ndarray:
    """The lengths as an array, passed as a tensor or as a tuple."""
    if name in case.keywords:
        return np.array(case.keywords[name], np.int64)
    return array_of(case, 2 if name == _INPUTS else 3)


def _with_lengths(case: Case, name: str, lengths: np.ndarray) -> Case:
    if name in case.keywords:
        numbers = tuple(map(int, np.atleast_1d(lengths)))
        return replace(case, keywords={**case.keywords, name: numbers})
    inputs = list(case.inputs)
    inputs[2 if name == _INPUTS else 3] = np.asarray(lengths, np.int64)
    return replace(case, inputs=tuple(inputs))


def _changed(draw: Draw, case: Case, name: str, number: int) -> Case:
    """The case with one of the lengths replaced."""
    lengths = _lengths(case, name).copy()
    lengths.reshape(-1)[draw(st.integers(0, lengths.size - 1))] = number
    return _with_lengths(case, name, lengths)


def _beyond_steps(draw: Draw, case: Case) -> Case:
    return _changed(draw, case, _INPUTS, len(array_of(case, 0)) + draw(_more))


def _beyond_labels(draw: Draw, case: Case) -> Case:
    return _changed(draw, case, _TARGETS, array_of(case, 1).shape[-1] + draw(_more))


def _negative(name: str) -> Callable[[Draw, Case], Case]:
    return lambda draw, case: _changed(draw, case, name, draw(_below_zero))


def _one_more(name: str) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        lengths = np.atleast_1d(_lengths(case, name))
        return _with_lengths(case, name, np.append(lengths, lengths[:1]))

    return apply


def _real(draw: Draw, case: Case) -> Case:
    inputs = list(case.inputs)
    inputs[2] = array_of(case, 2).astype(np.float64)
    return replace(case, inputs=tuple(inputs))


def _real_targets(draw: Draw, case: Case) -> Case:
    inputs = list(case.inputs)
    inputs[1] = array_of(case, 1).astype(np.float64)
    return replace(case, inputs=tuple(inputs))


def _blank(draw: Draw, case: Case) -> Case:
    size = array_of(case, 0).shape[-1]
    return with_arguments(case, blank=draw(st.sampled_from((size, size + 3, -1))))


def _labelled(case: Case) -> np.ndarray:
    """Flat positions of the targets that are within their length."""
    targets = array_of(case, 1)
    if targets.ndim == 1:
        return np.arange(targets.size)
    lengths = _lengths(case, _TARGETS)
    return np.flatnonzero(np.arange(targets.shape[1]) < lengths[:, np.newaxis])


def _has_labels(case: Case) -> bool:
    return bool(_labelled(case).size) and array_of(case, 0).shape[-1] > 1


def _with_label(draw: Draw, case: Case, label: int) -> Case:
    targets, places = array_of(case, 1).copy(), _labelled(case)
    targets.reshape(-1)[places[draw(st.integers(0, places.size - 1))]] = label
    return replace(case, inputs=(case.inputs[0], targets, *case.inputs[2:]))


def _no_class(draw: Draw, case: Case) -> Case:
    size = array_of(case, 0).shape[-1]
    return _with_label(draw, case, draw(st.sampled_from((size, -1))))


def _blank_label(draw: Draw, case: Case) -> Case:
    return _with_label(draw, case, case.call.arguments.get("blank", 0))


def _too_many(draw: Draw, case: Case) -> Case:
    """More concatenated targets than the sum of the lengths."""
    targets = array_of(case, 1)
    return with_inputs(case, {1: (targets.size + draw(_more),)})


def _one_axis_more(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: (1, *array_of(case, 0).shape)})


def _tensors(case: Case) -> bool:
    return len(case.inputs) > 2


def _batched(case: Case) -> bool:
    return array_of(case, 0).ndim == 3


def _padded(case: Case) -> bool:
    return array_of(case, 1).ndim == 2


def _concatenated(case: Case) -> bool:
    return _batched(case) and array_of(case, 1).ndim == 1 and array_of(case, 1).size > 0


def ctc_breaks() -> tuple[Break, ...]:
    """The breaks of the module and of the function."""
    return (
        unknown_word,
        Break("input length beyond the steps", _INPUTS, _beyond_steps),
        Break("target length beyond the targets", _TARGETS, _beyond_labels, applies=_padded),
        Break("input length negative", _INPUTS, _negative(_INPUTS)),
        Break("target length negative", _TARGETS, _negative(_TARGETS), applies=_padded),
        Break("an input length more", _INPUTS, _one_more(_INPUTS), applies=_batched),
        Break("a target length more", _TARGETS, _one_more(_TARGETS), applies=_padded),
        Break("input lengths of another dtype", _INPUTS, _real, applies=_tensors),
        Break("targets of another dtype", "targets", _real_targets, CUSTOMARY),
        Break("blank that is no class", "blank", _blank),
        Break("label that is no class", "targets", _no_class, applies=_has_labels, index=True),
        Break("label that is the blank", "targets", _blank_label, applies=_has_labels, index=True),
        Break(
            "concatenated targets of another length", "targets", _too_many, applies=_concatenated
        ),
        Break("log_probs with one axis more", "log_probs", _one_axis_more, applies=_batched),
        Break("log_probs of another dtype", "log_probs", integer_input()),
    )
