"""Ways to break instance, group and response norms, besides those that follow from their shapes."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.invalid.normalization.batch_and_layer import (
    RANKS,
    channel_breaks,
    drop_statistics,
    input_shape,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_not_positive = st.sampled_from((0, -1))


def _channel_axis(case: Case) -> int:
    """Axis of the channels of a module's input, which may have no batch."""
    shape = input_shape(case)
    return len(shape) - 1 - int(case.call.layer[-2])


def _uses_input_statistics(case: Case) -> bool:
    argument_or_default = case.call.arguments.get
    if is_function(case.call.layer):
        return bool(argument_or_default("use_input_stats", True))
    tracks_by_default = case.call.layer.startswith("Lazy")
    return case.call.training or not argument_or_default("track_running_stats", tracks_by_default)


def _one_number_per_channel(draw: Draw, case: Case) -> Case:
    shape = input_shape(case)
    axis = 1 if is_function(case.call.layer) else _channel_axis(case)
    return resize_inputs(case, {0: (*shape[: axis + 1], *(1 for _ in shape[axis + 1 :]))})


_ONE_PLACE = Break(
    "one number a channel and sample",
    "input",
    _one_number_per_channel,
    applies=_uses_input_statistics,
)


def instance_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"InstanceNorm2d"`, `"LazyInstanceNorm1d"`, …"""
    return (*channel_breaks(signature, shapes), _ONE_PLACE)


def functional_instance_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the function."""
    no_statistics = Break(
        "no statistics to be used",
        "running_mean",
        drop_statistics,
        applies=lambda case: not _uses_input_statistics(case),
    )
    from_shapes = shape_breaks(signature, shapes, excluded=RANKS)
    return (*from_shapes, _ONE_PLACE, no_statistics)


def _indivisible_channels(draw: Draw, case: Case) -> Case:
    channels = input_shape(case)[1]
    wrong_groups = [n for n in range(2, channels + 2) if channels % n]
    return replace_arguments(case, num_groups=draw(st.sampled_from(wrong_groups)))


def _one_number_per_group(draw: Draw, case: Case) -> Case:
    """One sample, one channel per group, one position."""
    shape = input_shape(case)
    single_place = resize_inputs(case, {0: (1, *shape[1:2], *(1 for _ in shape[2:]))})
    return replace_arguments(single_place, num_groups=shape[1])


def group_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"GroupNorm"` or `"functional.group_norm"`."""
    return (
        *channel_breaks(signature, shapes),
        Break("groups do not divide the channels", "num_groups", _indivisible_channels),
        Break("one number a group", "input", _one_number_per_group),
    )


def _has_elements(case: Case) -> bool:
    return math.prod(input_shape(case)) > 0


# Integers have sums of squares, too.
_ANY_DTYPE = ("input of another dtype",)


def response_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"LocalResponseNorm"` or its function."""
    return (
        *shape_breaks(signature, shapes, excluded=_ANY_DTYPE),
        Break(
            "size not positive",
            "size",
            set_argument("size", _not_positive),
            applies=_has_elements,
        ),
    )


def cross_map_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"CrossMapLRN2d"`."""
    empty_window = Break("no channels in a window", "size", set_argument("size", st.just(0)))
    return (*shape_breaks(signature, shapes, excluded=_ANY_DTYPE), empty_window)
