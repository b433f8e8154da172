"""Ways to break a valid call of a normalisation of a sample by itself."""

from __future__ import annotations

import math
from dataclasses import replace

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    integer_input,
    with_arguments,
    with_inputs,
    wrong_sizes,
)
from conformance.strategies.invalid.normalization.batch_and_layer import (
    given,
    last_sizes,
    length,
    no_sizes,
    of_another_shape,
    shape_of,
    too_few_dimensions,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

_not_positive = st.sampled_from((0, -1))


def _channel_axis(case: Case) -> int:
    """Of a module's input, which may be one sample by itself."""
    shape = shape_of(case)
    return len(shape) - 1 - int(case.call.layer[-2])


def _own_statistics(case: Case) -> bool:
    found = case.call.arguments.get
    if is_function(case.call.layer):
        return bool(found("use_input_stats", True))
    usual = case.call.layer.startswith("Lazy")
    return case.call.training or not found("track_running_stats", usual)


def _channels(draw: Draw, case: Case) -> Case:
    shape = list(shape_of(case))
    axis = 1 if is_function(case.call.layer) else _channel_axis(case)
    shape[axis] = draw(wrong_sizes(shape[axis]).filter(bool))
    return with_inputs(case, {0: shape})


def _known_channels(case: Case) -> bool:
    """Whether there is anything that the number of channels could differ from."""
    found = case.call.arguments.get
    if is_function(case.call.layer):
        return any(x is not None for x in case.inputs[1:])
    return bool(found("affine", False) or found("track_running_stats", False))


def _one_place(draw: Draw, case: Case) -> Case:
    shape = shape_of(case)
    axis = 1 if is_function(case.call.layer) else _channel_axis(case)
    return with_inputs(case, {0: (*shape[: axis + 1], *(1 for _ in shape[axis + 1 :]))})


def _ranks(draw: Draw, case: Case) -> Case:
    dims, shape = int(case.call.layer[-2]), shape_of(case)
    size = case.call.arguments.get("num_features", shape[_channel_axis(case)])
    others = ((size,) * (dims > 1) + (2,) * max(dims - 1, 1), (1, size, *(2,) * (dims + 1)))
    return with_inputs(case, {0: draw(st.sampled_from(others))})


def _no_statistics(draw: Draw, case: Case) -> Case:
    return replace(case, inputs=(case.inputs[0], None, None, *case.inputs[3:]))


def instance_norm_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"InstanceNorm2d"`, `"LazyInstanceNorm1d"`, … or of the function."""
    found = [
        Break("one number a channel and sample", "input", _one_place, applies=_own_statistics),
        Break("input of another dtype", "input", integer_input()),
    ]
    channels = Break("another number of channels", "input", _channels, applies=_known_channels)
    if is_function(layer):
        names = ("running_mean", "running_var", "weight", "bias")
        found += [channels, *(length(k, name) for k, name in enumerate(names, 1))]
        found.append(
            Break(
                "no statistics to be used",
                "running_mean",
                _no_statistics,
                applies=lambda case: not _own_statistics(case),
            )
        )
        return tuple(found)
    found.append(Break("input of another rank", "input", _ranks))
    return tuple(found if layer.startswith("Lazy") else [channels, *found])


def _group_channels(draw: Draw, case: Case) -> Case:
    """As many groups as before in another number of channels, which they divide."""
    shape, groups = list(shape_of(case)), case.call.arguments["num_groups"]
    shape[1] = shape[1] + groups * draw(st.integers(1, 2))
    return with_inputs(case, {0: shape})


def _weighted(case: Case) -> bool:
    if is_function(case.call.layer):
        return any(x is not None for x in case.inputs[1:])
    return bool(case.call.arguments.get("affine", True))


def _indivisible(draw: Draw, case: Case) -> Case:
    channels = shape_of(case)[1]
    wrong = [n for n in range(2, channels + 2) if channels % n]
    return with_arguments(case, num_groups=draw(st.sampled_from(wrong)))


def _one_number(draw: Draw, case: Case) -> Case:
    """One sample, a group a channel, one place."""
    shape = shape_of(case)
    one = with_inputs(case, {0: (1, *shape[1:2], *(1 for _ in shape[2:]))})
    return with_arguments(one, num_groups=shape[1])


def _one_dimension(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: shape_of(case)[1:2]})


def group_norm_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"GroupNorm"` or `"functional.group_norm"`."""
    found = [
        Break("another number of channels", "input", _group_channels, applies=_weighted),
        Break("groups do not divide the channels", "num_groups", _indivisible),
        Break("one number a group", "input", _one_number),
        Break("input of one dimension", "input", _one_dimension, CUSTOMARY),
        Break("input of another dtype", "input", integer_input()),
    ]
    if is_function(layer):
        found += [length(1, "weight"), length(2, "bias")]
    return tuple(found)


def rms_norm_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"RMSNorm"` or `"functional.rms_norm"`."""
    found = [
        Break("another size than normalized_shape", "input", last_sizes),
        Break("fewer dimensions than normalized_shape", "input", too_few_dimensions),
        Break("normalized_shape empty", "normalized_shape", no_sizes),
        Break("input of another dtype", "input", integer_input()),
    ]
    if is_function(layer):
        found.append(replace(of_another_shape(1), applies=given(1)))
    return tuple(found)


def _two_dimensions(draw: Draw, case: Case) -> Case:
    return with_inputs(case, {0: shape_of(case)[: draw(st.sampled_from((2, 1)))]})


def _holds_numbers(case: Case) -> bool:
    return math.prod(shape_of(case)) > 0


def response_norm_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"LocalResponseNorm"` or its function."""
    return (
        Break("fewer than three dimensions", "input", _two_dimensions),
        Break(
            "size not positive",
            "size",
            argument("size", _not_positive),
            CUSTOMARY,
            applies=_holds_numbers,
        ),
    )


def _no_image(draw: Draw, case: Case) -> Case:
    shape = shape_of(case)
    others = (shape[1:], shape[:2], (*shape, 1), shape[:3])
    return with_inputs(case, {0: draw(st.sampled_from(others))})


def cross_map_breaks() -> tuple[Break, ...]:
    """The breaks of `"CrossMapLRN2d"`."""
    return (
        Break("no image", "input", _no_image),
        Break("no channels in a window", "size", argument("size", st.just(0)), CUSTOMARY),
    )
