"""Parts shared by elementwise layers, which compute each output element from one number."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.model.case import Call, Case
from conformance.model.formats import all_finite_numbers
from conformance.spec.axes import Axes
from conformance.spec.signature import REQUIRED, Argument


def every_axis(case: Case) -> tuple[Axes, ...]:
    """Each axis of the first input as a group of its own, for an elementwise layer."""
    first = case.inputs[0]
    return () if first is None else tuple(((0, axis),) for axis in range(first.ndim))


def exhaustive_cases(layer: str, arguments: Sequence[Argument], dtype: str) -> tuple[Case, ...]:
    """Cases that hold every finite number of a 16-bit dtype, for a stateless elementwise layer.

    Arguments without a default take their simplest value. An argument that is a word (the name of
    another formula) gets a case of its own. Other dtypes give no case.
    """
    if dtype not in ("float16", "bfloat16"):
        return ()
    simplest = {a.name: a.simplest for a in arguments if a.default is REQUIRED}
    word_arguments = [{a.name: a.alternative} for a in arguments if isinstance(a.alternative, str)]
    numbers, labels = all_finite_numbers(dtype), {"profile": "every number"}
    calls = [Call(layer, {**simplest, **word}, {}, dtype, "cpu") for word in ({}, *word_arguments)]
    return tuple(Case(call, (numbers,), labels=labels) for call in calls)
