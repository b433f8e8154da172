"""Parts shared by elementwise layers, which compute each output element from one number."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.model.case import Call, Case
from conformance.model.formats import every_number
from conformance.spec.axes import Axes
from conformance.spec.signature import REQUIRED, Argument


def every_axis(case: Case) -> tuple[Axes, ...]:
    """Each axis of the first input as a group of its own, for an elementwise layer."""
    first = case.inputs[0]
    return () if first is None else tuple(((0, axis),) for axis in range(first.ndim))


def whole(layer: str, arguments: Sequence[Argument], dtype: str) -> tuple[Case, ...]:
    """Cases that hold every finite number of a 16-bit dtype, for a stateless elementwise layer.

    Arguments without a default take their simplest value. An argument that is a word (the name of
    another formula) gets a case of its own. Other dtypes give no case.
    """
    if dtype not in ("float16", "bfloat16"):
        return ()
    plain = {a.name: a.plain for a in arguments if a.default is REQUIRED}
    words = [{a.name: a.other} for a in arguments if isinstance(a.other, str)]
    numbers, labels = every_number(dtype), {"profile": "every number"}
    calls = [Call(layer, {**plain, **word}, {}, dtype, "cpu") for word in ({}, *words)]
    return tuple(Case(call, (numbers,), labels=labels) for call in calls)
