"""Ways to break a valid call of the connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    replace_arguments,
    resize_inputs,
)
from conformance.strategies.invalid.loss.parts import present_input, unknown_batchmean
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_INPUTS, _TARGETS = ("input_lengths", "target_lengths")
_below_zero = st.sampled_from((-1, -2))
_surplus = st.sampled_from((1, 2, 7))


def _lengths(case: Case, name: str) -> np.ndarray:
    """The lengths as an array, passed as a tensor or as a tuple."""
    if name in case.keywords:
        return np.array(case.keywords[name], np.int64)
    return present_input(case, 2 if name == _INPUTS else 3)


def _replace_lengths(case: Case, name: str, lengths: np.ndarray) -> Case:
    if name in case.keywords:
        numbers = tuple(map(int, np.atleast_1d(lengths)))
        return replace(case, keywords={**case.keywords, name: numbers})
    inputs = list(case.inputs)
    inputs[2 if name == _INPUTS else 3] = np.asarray(lengths, np.int64)
    return replace(case, inputs=tuple(inputs))


def _change_length(draw: Draw, case: Case, name: str, number: int) -> Case:
    """The case with one of the lengths replaced."""
    lengths = _lengths(case, name).copy()
    lengths.reshape(-1)[draw(st.integers(0, lengths.size - 1))] = number
    return _replace_lengths(case, name, lengths)


def _input_length_beyond_steps(draw: Draw, case: Case) -> Case:
    return _change_length(draw, case, _INPUTS, len(present_input(case, 0)) + draw(_surplus))


def _target_length_beyond_targets(draw: Draw, case: Case) -> Case:
    return _change_length(draw, case, _TARGETS, present_input(case, 1).shape[-1] + draw(_surplus))


def _negative_length(name: str) -> Callable[[Draw, Case], Case]:
    return lambda draw, case: _change_length(draw, case, name, draw(_below_zero))


def _append_length(name: str) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        lengths = np.atleast_1d(_lengths(case, name))
        return _replace_lengths(case, name, np.append(lengths, lengths[:1]))

    return apply


def _float_lengths(draw: Draw, case: Case) -> Case:
    inputs = list(case.inputs)
    inputs[2] = present_input(case, 2).astype(np.float64)
    return replace(case, inputs=tuple(inputs))


def _float_targets(draw: Draw, case: Case) -> Case:
    inputs = list(case.inputs)
    inputs[1] = present_input(case, 1).astype(np.float64)
    return replace(case, inputs=tuple(inputs))


def _blank_out_of_range(draw: Draw, case: Case) -> Case:
    size = present_input(case, 0).shape[-1]
    return replace_arguments(case, blank=draw(st.sampled_from((size, size + 3, -1))))


def _label_positions(case: Case) -> np.ndarray:
    """Flat positions of the targets that are within their length."""
    targets = present_input(case, 1)
    if targets.ndim == 1:
        return np.arange(targets.size)
    lengths = _lengths(case, _TARGETS)
    return np.flatnonzero(np.arange(targets.shape[1]) < lengths[:, np.newaxis])


def _has_labels(case: Case) -> bool:
    return bool(_label_positions(case).size) and present_input(case, 0).shape[-1] > 1


def _set_label(draw: Draw, case: Case, label: int) -> Case:
    targets, places = present_input(case, 1).copy(), _label_positions(case)
    targets.reshape(-1)[places[draw(st.integers(0, places.size - 1))]] = label
    return replace(case, inputs=(case.inputs[0], targets, *case.inputs[2:]))


def _label_out_of_range(draw: Draw, case: Case) -> Case:
    size = present_input(case, 0).shape[-1]
    return _set_label(draw, case, draw(st.sampled_from((size, -1))))


def _blank_label(draw: Draw, case: Case) -> Case:
    return _set_label(draw, case, case.call.arguments.get("blank", 0))


def _wrong_target_count(draw: Draw, case: Case) -> Case:
    """More concatenated targets than the sum of the lengths."""
    targets = present_input(case, 1)
    return resize_inputs(case, {1: (targets.size + draw(_surplus),)})


def _extra_axis(draw: Draw, case: Case) -> Case:
    return resize_inputs(case, {0: (1, *present_input(case, 0).shape)})


def _has_tensor_lengths(case: Case) -> bool:
    return len(case.inputs) > 2


def _is_batched(case: Case) -> bool:
    return present_input(case, 0).ndim == 3


def _has_padded_targets(case: Case) -> bool:
    return present_input(case, 1).ndim == 2


def _has_concatenated_targets(case: Case) -> bool:
    return (
        _is_batched(case) and present_input(case, 1).ndim == 1 and present_input(case, 1).size > 0
    )


def ctc_breaks() -> tuple[Break, ...]:
    """The breaks of the module and of the function."""
    return (
        unknown_batchmean,
        Break("input length beyond the steps", _INPUTS, _input_length_beyond_steps),
        Break(
            "target length beyond the targets",
            _TARGETS,
            _target_length_beyond_targets,
            applies=_has_padded_targets,
        ),
        Break("input length negative", _INPUTS, _negative_length(_INPUTS)),
        Break(
            "target length negative",
            _TARGETS,
            _negative_length(_TARGETS),
            applies=_has_padded_targets,
        ),
        Break("an input length more", _INPUTS, _append_length(_INPUTS), applies=_is_batched),
        Break(
            "a target length more", _TARGETS, _append_length(_TARGETS), applies=_has_padded_targets
        ),
        Break(
            "input lengths of another dtype", _INPUTS, _float_lengths, applies=_has_tensor_lengths
        ),
        Break("targets of another dtype", "targets", _float_targets),
        Break("blank that is no class", "blank", _blank_out_of_range),
        Break(
            "label that is no class",
            "targets",
            _label_out_of_range,
            applies=_has_labels,
        ),
        Break("label that is the blank", "targets", _blank_label, applies=_has_labels),
        Break(
            "concatenated targets of another length",
            "targets",
            _wrong_target_count,
            applies=_has_concatenated_targets,
        ),
        Break("log_probs with one axis more", "log_probs", _extra_axis, applies=_is_batched),
        Break("log_probs of another dtype", "log_probs", integer_input()),
    )
