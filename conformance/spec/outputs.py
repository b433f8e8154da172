"""The dtype of outputs where it differs from the call's dtype."""

from __future__ import annotations

from conformance.model.case import Case


def input_dtype(case: Case) -> str:
    """The dtype of the first input: int64 for integers, which some layers also take."""
    first = case.inputs[0]
    return "int64" if first is not None and first.dtype.kind == "i" else case.call.dtype
