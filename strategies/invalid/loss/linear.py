"""Ways to break a valid call of the cross entropy of a linear map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    integer_input,
    with_arguments,
    with_inputs,
    wrong_sizes,
)
from conformance.strategies.invalid.loss.cross_entropy import smoothing_breaks
from conformance.strategies.invalid.loss.parts import (
    array_of,
    more_features,
    unknown_word,
    with_input,
    with_weight,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function


def _function(case: Case) -> bool:
    return is_function(case.call.layer)


def _place(case: Case) -> int:
    """Position of the target among the inputs."""
    return 2 if _function(case) else 1


def _target(case: Case) -> np.ndarray:
    return array_of(case, _place(case))


def _count(case: Case) -> int:
    """Number of classes."""
    if _function(case):
        return len(array_of(case, 1))
    return int(case.call.arguments["num_classes"])


def _of_indices(case: Case) -> bool:
    return _target(case).dtype.kind == "i"


def _of_probabilities(case: Case) -> bool:
    return not _of_indices(case)


def _any_index(case: Case) -> bool:
    return _of_indices(case) and _target(case).size > 0


def _batch_of_indices(case: Case) -> bool:
    return _of_indices(case) and array_of(case, 0).ndim == 2


def _beyond(draw: Draw, case: Case) -> Case:
    target, ignored = _target(case).copy(), case.call.arguments.get("ignore_index")
    ignored = -100 if ignored is None else ignored
    outside = [k for k in (_count(case), _count(case) + 7, -1, -2) if k != ignored]
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = draw(st.sampled_from(outside))
    return with_input(case, _place(case), target)


def _batch_size(draw: Draw, case: Case) -> Case:
    shape = _target(case).shape
    return with_inputs(case, {_place(case): (draw(wrong_sizes(shape[0])), *shape[1:])})


def _three_axes(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: (1, *array_of(case, 0).shape)})


def _ignored_class(draw: Draw, case: Case) -> Case:
    return with_arguments(case, ignore_index=draw(st.sampled_from((0, 1, -100))))


def _bias_length(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {3: (array_of(case, 3).shape[0] + 1, *array_of(case, 3).shape[1:])})


def _weight_length(draw: Draw, case: Case) -> Case:
    size = _count(case)
    length = draw(st.sampled_from([n for n in (size + 1, size - 1, 2 * size) if n > 1]))
    return with_weight(case, 4, (length,))


def _without_batch(draw: Draw, case: Case) -> Case:
    """A K-dimensional loss of one sample without its batch axis."""
    inputs = list(case.inputs)
    for k in (0, _place(case)):
        inputs[k] = array_of(case, k)[0]
    return replace(case, inputs=tuple(inputs))


def _has_places(case: Case) -> bool:
    places = case.call.arguments.get("out_features", ())
    if _function(case):
        places = array_of(case, 1).shape[1:-1]
    return bool(places) and array_of(case, 0).size > 0


def _has_bias(case: Case) -> bool:
    return _function(case) and case.inputs[3] is not None


def linear_cross_entropy_breaks(function: bool) -> tuple[Break, ...]:
    """The breaks of the module, or of the function, whose bias is an input."""
    of_bias = Break("bias of another length", "linear_bias", _bias_length, applies=_has_bias)
    return (
        *((of_bias,) if function else ()),
        unknown_word,
        *smoothing_breaks(),
        Break("class out of range", "target", _beyond, applies=_any_index, index=True),
        Break("target of another batch size", "target", _batch_size, applies=_batch_of_indices),
        Break("wrong number of features", "input", more_features),
        Break("input with one axis more", "input", _three_axes),
        Break(
            "ignored class of probabilities",
            "ignore_index",
            _ignored_class,
            applies=_of_probabilities,
        ),
        Break("weight of another length", "weight", _weight_length, applies=_of_indices),
        Break("no batch of a K-dimensional loss", "input", _without_batch, applies=_has_places),
        Break("input of another dtype", "input", integer_input()),
    )
