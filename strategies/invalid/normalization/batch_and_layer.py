"""Ways to break a valid call of a normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from conformance.strategies.invalid.breaks import (
    Break,
    argument,
    integer_input,
    with_arguments,
    with_inputs,
    wrong_sizes,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

_below = st.sampled_from((-1e-5, -1.0))
none_or_negative = st.sampled_from((0.0, -1e-5, -1.0))


def shape_of(case: Case, position: int = 0) -> tuple[int, ...]:
    array = case.inputs[position]
    assert array is not None
    return array.shape


def _sizes(case: Case) -> tuple[int, ...]:
    given = case.call.arguments["normalized_shape"]
    return (given,) if isinstance(given, int) else tuple(given)


def last_sizes(draw: Draw, case: Case) -> Case:
    """One of the sizes that are normalised is another, in the input only."""
    shape, count = list(shape_of(case)), len(_sizes(case))
    axis = len(shape) - 1 - draw(st.integers(0, count - 1))
    shape[axis] = draw(wrong_sizes(shape[axis]))
    return with_inputs(case, {0: shape})


def too_few_dimensions(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: _sizes(case)[1:]})


def no_sizes(draw: Draw, case: Case) -> Case:
    bare = replace(case, inputs=(case.inputs[0], *(None for _ in case.inputs[1:])))
    return with_arguments(bare, normalized_shape=())


def of_another_shape(position: int) -> Break:
    name = ("input", "weight", "bias")[position]

    def apply(draw: Draw, case: Case) -> Case:
        sizes = _sizes(case)
        longer = (*sizes[:-1], sizes[-1] + 1)
        others = [longer, (1, *sizes)] + ([(1,) * len(sizes)] if math.prod(sizes) != 1 else [])
        return with_inputs(case, {position: draw(st.sampled_from(others))})

    return Break(f"{name} of another shape", name, apply, applies=given(position))


def given(position: int) -> Callable[[Case], bool]:
    return lambda case: case.inputs[position] is not None


def layer_norm_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"LayerNorm"` or `"functional.layer_norm"`."""
    found = [
        Break("another size than normalized_shape", "input", last_sizes),
        Break("fewer dimensions than normalized_shape", "input", too_few_dimensions),
        Break("normalized_shape empty", "normalized_shape", no_sizes),
        Break("input of another dtype", "input", integer_input()),
    ]
    if is_function(layer):
        found += [of_another_shape(1), of_another_shape(2)]
    return tuple(found)


def _channels(draw: Draw, case: Case) -> Case:
    shape = list(shape_of(case))
    # Of no channels there would be nothing to normalise.
    shape[1] = draw(wrong_sizes(shape[1]).filter(bool))
    return with_inputs(case, {0: shape})


def _known_channels(case: Case) -> bool:
    """Whether there is anything that the number of channels could differ from."""
    if is_function(case.call.layer):
        return any(x is not None for x in case.inputs[1:])
    given = case.call.arguments.get
    return bool(given("affine", True) or given("track_running_stats", True))


def _batch_statistics(case: Case) -> bool:
    given = case.call.arguments.get
    if is_function(case.call.layer):
        return bool(given("training", False))
    return case.call.training or not given("track_running_stats", True)


def _ranks(draw: Draw, case: Case) -> Case:
    shape, digit = shape_of(case), case.call.layer[-2]
    if not digit.isdigit():  # any number of them but none
        return with_inputs(case, {0: shape[1:2]})
    dims = int(digit)
    shorter = [shape[:rank] for rank in (2, 3, 4) if rank < dims + 2]
    others = [shape[1:2]] if dims == 1 else shorter
    others.append((1, *shape, *(1,) * (dims + 2 - len(shape))))
    return with_inputs(case, {0: draw(st.sampled_from(others))})


def _one_number(draw: Draw, case: Case) -> Case:
    shape = shape_of(case)
    return with_inputs(case, {0: (1, shape[1], *(1 for _ in shape[2:]))})


def length(position: int, name: str) -> Break:
    def apply(draw: Draw, case: Case) -> Case:
        (size,) = shape_of(case, position)
        return with_inputs(case, {position: (draw(wrong_sizes(size)),)})

    return Break(f"{name} of another length", name, apply, applies=given(position))


def _no_statistics(draw: Draw, case: Case) -> Case:
    return replace(case, inputs=(case.inputs[0], None, None, *case.inputs[3:]))


def _evaluates(case: Case) -> bool:
    return not _batch_statistics(case)


_OTHER_CHANNELS = Break("another number of channels", "input", _channels, applies=_known_channels)


def batch_norm_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"BatchNorm2d"`, `"LazyBatchNorm1d"`, … or `"functional.batch_norm"`."""
    found = [
        Break("one number a channel in training", "input", _one_number, applies=_batch_statistics),
        Break(
            "eps not positive in training",
            "eps",
            argument("eps", none_or_negative),
            applies=_batch_statistics,
        ),
        Break("eps negative", "eps", argument("eps", _below), applies=_evaluates),
        Break("input of another dtype", "input", integer_input()),
    ]
    if is_function(layer):
        found.insert(0, _OTHER_CHANNELS)
        names = ("running_mean", "running_var", "weight", "bias")
        found += [length(k, name) for k, name in enumerate(names, 1)]
        found.append(
            Break("no statistics in evaluation", "running_mean", _no_statistics, applies=_evaluates)
        )
        return tuple(found)
    found.append(Break("input of another rank", "input", _ranks))
    return tuple(found if layer.startswith("Lazy") else [_OTHER_CHANNELS, *found])
