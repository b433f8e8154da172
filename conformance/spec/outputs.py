"""The dtype of outputs that is not the call's."""

from __future__ import annotations

from conformance.model.case import Case


def input_dtype(case: Case) -> str:
    """The dtype of the input, whatever the call's is.

    Args:
        case: of a layer that takes whole numbers, too.
    """
    first = case.inputs[0]
    return "int64" if first is not None and first.dtype.kind == "i" else case.call.dtype
