"""What layers have in common that compute each element from one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.layers.axes import Axes
from conformance.model.case import Call, Case
from conformance.model.formats import every_number


def every_axis(case: Case) -> tuple[Axes, ...]:
    """Every axis of the first input, for an elementwise layer."""
    first = case.inputs[0]
    return () if first is None else tuple(((0, axis),) for axis in range(first.ndim))


def whole(layer: str, arguments: Mapping[str, Any], dtype: str) -> Case | None:
    """Every finite number of a dtype of 16 bits, for an elementwise layer without a state.

    Args:
        layer: its name.
        arguments: those that have no default, as plain as they get.
        dtype: torch's name of the dtype.
    """
    if dtype not in ("float16", "bfloat16"):
        return None
    call = Call(layer, arguments, {}, dtype, "cpu")
    return Case(call, (every_number(dtype),), labels={"profile": "every number"})
