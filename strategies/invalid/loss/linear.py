"""Ways to break a valid call of the cross entropy of a linear map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    replace_arguments,
    resize_inputs,
    wrong_sizes,
)
from conformance.strategies.invalid.loss.cross_entropy import smoothing_breaks
from conformance.strategies.invalid.loss.parts import (
    add_features,
    present_input,
    replace_input,
    resize_weight,
    unknown_batchmean,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function


def _is_function(case: Case) -> bool:
    return is_function(case.call.layer)


def _target_position(case: Case) -> int:
    """Position of the target among the inputs."""
    return 2 if _is_function(case) else 1


def _target(case: Case) -> np.ndarray:
    return present_input(case, _target_position(case))


def _class_count(case: Case) -> int:
    """Number of classes."""
    if _is_function(case):
        return len(present_input(case, 1))
    return int(case.call.arguments["num_classes"])


def _has_indices(case: Case) -> bool:
    return _target(case).dtype.kind == "i"


def _has_probabilities(case: Case) -> bool:
    return not _has_indices(case)


def _has_any_index(case: Case) -> bool:
    return _has_indices(case) and _target(case).size > 0


def _has_index_batch(case: Case) -> bool:
    return _has_indices(case) and present_input(case, 0).ndim == 2


def _class_out_of_range(draw: Draw, case: Case) -> Case:
    target, ignored = _target(case).copy(), case.call.arguments.get("ignore_index")
    ignored = -100 if ignored is None else ignored
    wrong_classes = [
        k for k in (_class_count(case), _class_count(case) + 7, -1, -2) if k != ignored
    ]
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = draw(st.sampled_from(wrong_classes))
    return replace_input(case, _target_position(case), target)


def _wrong_batch_size(draw: Draw, case: Case) -> Case:
    shape = _target(case).shape
    return resize_inputs(case, {_target_position(case): (draw(wrong_sizes(shape[0])), *shape[1:])})


def _extra_axis(draw: Draw, case: Case) -> Case:
    return resize_inputs(case, {0: (1, *present_input(case, 0).shape)})


def _ignored_class(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, ignore_index=draw(st.sampled_from((0, 1, -100))))


def _bias_length(draw: Draw, case: Case) -> Case:
    return resize_inputs(
        case, {3: (present_input(case, 3).shape[0] + 1, *present_input(case, 3).shape[1:])}
    )


def _weight_length(draw: Draw, case: Case) -> Case:
    size = _class_count(case)
    length = draw(st.sampled_from([n for n in (size + 1, size - 1, 2 * size) if n > 1]))
    return resize_weight(case, 4, (length,))


def _drop_batch(draw: Draw, case: Case) -> Case:
    """A K-dimensional loss of one sample without its batch axis."""
    inputs = list(case.inputs)
    for k in (0, _target_position(case)):
        inputs[k] = present_input(case, k)[0]
    return replace(case, inputs=tuple(inputs))


def _has_positions(case: Case) -> bool:
    positions = case.call.arguments.get("out_features", ())
    if _is_function(case):
        positions = present_input(case, 1).shape[1:-1]
    return bool(positions) and present_input(case, 0).size > 0


def _has_bias(case: Case) -> bool:
    return _is_function(case) and case.inputs[3] is not None


def linear_cross_entropy_breaks(function: bool) -> tuple[Break, ...]:
    """The breaks of the module, or of the function, whose bias is an input."""
    bias_break = Break("bias of another length", "linear_bias", _bias_length, applies=_has_bias)
    return (
        *((bias_break,) if function else ()),
        unknown_batchmean,
        *smoothing_breaks(),
        Break("class out of range", "target", _class_out_of_range, applies=_has_any_index),
        Break(
            "target of another batch size", "target", _wrong_batch_size, applies=_has_index_batch
        ),
        Break("wrong number of features", "input", add_features),
        Break("input with one axis more", "input", _extra_axis),
        Break(
            "ignored class of probabilities",
            "ignore_index",
            _ignored_class,
            applies=_has_probabilities,
        ),
        Break("weight of another length", "weight", _weight_length, applies=_has_indices),
        Break("no batch of a K-dimensional loss", "input", _drop_batch, applies=_has_positions),
        Break("input of another dtype", "input", integer_input()),
    )
