"""Ways to break a batch or layer norm, besides those that follow from its shapes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_below = st.sampled_from((-1e-5, -1.0))
# The functions check the number of elements of a weight and of a statistic, not their rank.
RANKS = tuple(f"{x} of another rank" for x in ("running_mean", "running_var", "weight", "bias"))
zero_or_negative = st.sampled_from((0.0, -1e-5, -1.0))


def input_shape(case: Case) -> tuple[int, ...]:
    """The input's shape."""
    array = case.inputs[0]
    assert array is not None
    return array.shape


def empty_normalized_shape(draw: Draw, case: Case) -> Case:
    input_only = replace(case, inputs=(case.inputs[0], *(None for _ in case.inputs[1:])))
    return replace_arguments(input_only, normalized_shape=())


def row_breaks(
    signature: Signature, shapes: Shapes, excluded: Collection[str] = ()
) -> tuple[Break, ...]:
    """The breaks of a normalisation over the last dimensions."""
    empty = Break("normalized_shape empty", "normalized_shape", empty_normalized_shape)
    return (*shape_breaks(signature, shapes, excluded=excluded), empty)


def channel_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks that follow from a module's shapes.

    A module without state accepts any number of channels.
    """
    sizes = {f"input of another {name}" for name in ("num_features", "num_channels")}
    from_shapes = shape_breaks(signature, shapes)
    return tuple(
        replace(b, applies=lambda case: bool(case.call.state)) if b.name in sizes else b
        for b in from_shapes
    )


def _uses_batch_statistics(case: Case) -> bool:
    argument_or_default = case.call.arguments.get
    if is_function(case.call.layer):
        return bool(argument_or_default("training", False))
    return case.call.training or not argument_or_default("track_running_stats", True)


def _one_number_per_channel(draw: Draw, case: Case) -> Case:
    shape = input_shape(case)
    return resize_inputs(case, {0: (1, shape[1], *(1 for _ in shape[2:]))})


def drop_statistics(draw: Draw, case: Case) -> Case:
    return replace(case, inputs=(case.inputs[0], None, None, *case.inputs[3:]))


def _uses_running_statistics(case: Case) -> bool:
    return not _uses_batch_statistics(case)


_BATCH = (
    Break(
        "one number a channel in training",
        "input",
        _one_number_per_channel,
        applies=_uses_batch_statistics,
    ),
    Break(
        "eps not positive in training",
        "eps",
        set_argument("eps", zero_or_negative),
        applies=_uses_batch_statistics,
    ),
    Break("eps negative", "eps", set_argument("eps", _below), applies=_uses_running_statistics),
)


def batch_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"BatchNorm2d"`, `"LazyBatchNorm1d"`, …"""
    return (*channel_breaks(signature, shapes), *_BATCH)


def functional_batch_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the function, whose statistics may be None in training."""
    missing = ("running_mean missing", "running_var missing")
    no_statistics = Break(
        "no statistics in evaluation",
        "running_mean",
        drop_statistics,
        applies=_uses_running_statistics,
    )
    return (*shape_breaks(signature, shapes, excluded=(*missing, *RANKS)), *_BATCH, no_statistics)
