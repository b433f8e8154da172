"""Ways to break instance, group and response norms, besides those that follow from their shapes."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    with_arguments,
    with_inputs,
)
from conformance.strategies.invalid.normalization.batch_and_layer import (
    RANKS,
    channel_breaks,
    shape_of,
    without_statistics,
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
    shape = shape_of(case)
    return len(shape) - 1 - int(case.call.layer[-2])


def _own_statistics(case: Case) -> bool:
    found = case.call.arguments.get
    if is_function(case.call.layer):
        return bool(found("use_input_stats", True))
    usual = case.call.layer.startswith("Lazy")
    return case.call.training or not found("track_running_stats", usual)


def _one_place(draw: Draw, case: Case) -> Case:
    shape = shape_of(case)
    axis = 1 if is_function(case.call.layer) else _channel_axis(case)
    return with_inputs(case, {0: (*shape[: axis + 1], *(1 for _ in shape[axis + 1 :]))})


_ONE_PLACE = Break("one number a channel and sample", "input", _one_place, applies=_own_statistics)


def instance_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"InstanceNorm2d"`, `"LazyInstanceNorm1d"`, …"""
    return (*channel_breaks(signature, shapes), _ONE_PLACE)


def functional_instance_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the function."""
    none = Break(
        "no statistics to be used",
        "running_mean",
        without_statistics,
        applies=lambda case: not _own_statistics(case),
    )
    told = shape_breaks(signature, shapes, without=RANKS)
    return (*told, _ONE_PLACE, none)


def _indivisible(draw: Draw, case: Case) -> Case:
    channels = shape_of(case)[1]
    wrong = [n for n in range(2, channels + 2) if channels % n]
    return with_arguments(case, num_groups=draw(st.sampled_from(wrong)))


def _one_number(draw: Draw, case: Case) -> Case:
    """One sample, one channel per group, one position."""
    shape = shape_of(case)
    one = with_inputs(case, {0: (1, *shape[1:2], *(1 for _ in shape[2:]))})
    return with_arguments(one, num_groups=shape[1])


def group_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"GroupNorm"` or `"functional.group_norm"`."""
    return (
        *channel_breaks(signature, shapes, customary=("input of another rank",)),
        Break("groups do not divide the channels", "num_groups", _indivisible),
        Break("one number a group", "input", _one_number),
    )


def _holds_numbers(case: Case) -> bool:
    return math.prod(shape_of(case)) > 0


# Integers have sums of squares, too.
_SUMS = ("input of another dtype",)


def response_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"LocalResponseNorm"` or its function."""
    return (
        *shape_breaks(signature, shapes, without=_SUMS),
        Break(
            "size not positive",
            "size",
            argument("size", _not_positive),
            CUSTOMARY,
            applies=_holds_numbers,
        ),
    )


def cross_map_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"CrossMapLRN2d"`."""
    none = Break("no channels in a window", "size", argument("size", st.just(0)), CUSTOMARY)
    return (*shape_breaks(signature, shapes, without=_SUMS), none)
