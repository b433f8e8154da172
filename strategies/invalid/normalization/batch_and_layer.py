"""Ways to break a batch or layer norm, besides those that follow from its shapes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from conformance.strategies.invalid.breaks import Break, argument, with_arguments, with_inputs
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_below = st.sampled_from((-1e-5, -1.0))
# The functions check the number of elements of a weight and of a statistic, not their rank.
RANKS = tuple(f"{x} of another rank" for x in ("running_mean", "running_var", "weight", "bias"))
none_or_negative = st.sampled_from((0.0, -1e-5, -1.0))


def shape_of(case: Case) -> tuple[int, ...]:
    """The input's shape."""
    array = case.inputs[0]
    assert array is not None
    return array.shape


def no_sizes(draw: Draw, case: Case) -> Case:
    bare = replace(case, inputs=(case.inputs[0], *(None for _ in case.inputs[1:])))
    return with_arguments(bare, normalized_shape=())


def row_breaks(
    signature: Signature, shapes: Shapes, without: Collection[str] = ()
) -> tuple[Break, ...]:
    """The breaks of a normalisation over the last dimensions."""
    empty = Break("normalized_shape empty", "normalized_shape", no_sizes)
    return (*shape_breaks(signature, shapes, without=without), empty)


def channel_breaks(
    signature: Signature, shapes: Shapes, customary: Collection[str] = ()
) -> tuple[Break, ...]:
    """The breaks that follow from a module's shapes.

    A module without state accepts any number of channels.
    """
    sizes = {f"input of another {name}" for name in ("num_features", "num_channels")}
    told = shape_breaks(signature, shapes, customary=customary)
    return tuple(
        replace(b, applies=lambda case: bool(case.call.state)) if b.name in sizes else b
        for b in told
    )


def _batch_statistics(case: Case) -> bool:
    given = case.call.arguments.get
    if is_function(case.call.layer):
        return bool(given("training", False))
    return case.call.training or not given("track_running_stats", True)


def _one_number(draw: Draw, case: Case) -> Case:
    shape = shape_of(case)
    return with_inputs(case, {0: (1, shape[1], *(1 for _ in shape[2:]))})


def without_statistics(draw: Draw, case: Case) -> Case:
    return replace(case, inputs=(case.inputs[0], None, None, *case.inputs[3:]))


def _evaluates(case: Case) -> bool:
    return not _batch_statistics(case)


_BATCH = (
    Break("one number a channel in training", "input", _one_number, applies=_batch_statistics),
    Break(
        "eps not positive in training",
        "eps",
        argument("eps", none_or_negative),
        applies=_batch_statistics,
    ),
    Break("eps negative", "eps", argument("eps", _below), applies=_evaluates),
)


def batch_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `"BatchNorm2d"`, `"LazyBatchNorm1d"`, …"""
    return (*channel_breaks(signature, shapes), *_BATCH)


def functional_batch_norm_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the function, whose statistics may be None in training."""
    missing = ("running_mean missing", "running_var missing")
    none = Break(
        "no statistics in evaluation", "running_mean", without_statistics, applies=_evaluates
    )
    return (*shape_breaks(signature, shapes, without=(*missing, *RANKS)), *_BATCH, none)
