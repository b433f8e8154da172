"""Ways to break a valid call of a binary cross entropy."""

from __future__ import annotations

from dataclasses import replace

from conformance.strategies.invalid.breaks import Break, resize_inputs, resized
from conformance.strategies.invalid.loss.pointwise import has_axes, input_shape, unknown_reduction
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_surplus = st.integers(1, 2)
_not_probabilities = st.sampled_from((1.5, -0.5, 2.0, -1.0))


def _has_elements(case: Case) -> bool:
    return all(x is None or x.size > 0 for x in case.inputs[:2])


def _outside_unit_interval(place: int, name: str) -> Break:
    """The break of an element that is not a probability."""

    def apply(draw: Draw, case: Case) -> Case:
        inputs = list(case.inputs)
        array = inputs[place]
        assert array is not None
        array = array.copy()
        array.reshape(-1)[draw(st.integers(0, array.size - 1))] = draw(_not_probabilities)
        inputs[place] = array
        return replace(case, inputs=tuple(inputs))

    return Break(f"{name} outside 0 to 1", name, apply, applies=_has_elements)


def _wrong_target_shape(draw: Draw, case: Case) -> Case:
    """A target of size 1 along an axis, which would broadcast, or longer than the input."""
    shape = list(input_shape(case, 0))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = 1 if shape[axis] > 1 and draw(st.booleans()) else shape[axis] + draw(_surplus)
    return resize_inputs(case, {1: shape})


def _wrong_weight(name: str) -> Break:
    """The break of a weight longer than the last axis, in a module's state or as an input."""

    def apply(draw: Draw, case: Case) -> Case:
        shape = input_shape(case, 0)
        length = (max(shape[-1], 2) + draw(_surplus),)
        if len(case.inputs) > 2:
            place = 3 if name == "pos_weight" else 2
            return replace(
                case,
                inputs=tuple(
                    resized(x, length) if k == place else x for k, x in enumerate(case.inputs)
                ),
            )
        weight = resized(case.call.state.get(name), length)
        call = replace(case.call, state={**case.call.state, name: weight})
        return replace(case, call=call)

    return Break(f"{name} of another length", name, apply, applies=_has_long_last_axis)


def _has_long_last_axis(case: Case) -> bool:
    """Whether the last axis has several elements: a longer weight then cannot broadcast."""
    shape = input_shape(case, 0)
    return bool(shape) and shape[-1] > 1 and _has_elements(case)


def binary_breaks() -> tuple[Break, ...]:
    """The breaks of the binary cross entropy of probabilities."""
    return (
        unknown_reduction("batchmean"),
        Break("target of another shape", "target", _wrong_target_shape, applies=has_axes),
        _outside_unit_interval(0, "input"),
        _outside_unit_interval(1, "target"),
        _wrong_weight("weight"),
    )


def logits_breaks() -> tuple[Break, ...]:
    """The breaks of the binary cross entropy of logits."""
    return (
        unknown_reduction("batchmean"),
        Break("target of another shape", "target", _wrong_target_shape, applies=has_axes),
        _wrong_weight("weight"),
        _wrong_weight("pos_weight"),
    )
