"""Write numbers, texts and arrays as Python source."""

from __future__ import annotations

import math
import pprint
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.diagnosis.transcript import Ref
from conformance.layers.describe import value_text


def escape_for_docstring(text: str) -> str:
    """Escape a text for use in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def number_list_literal(array: np.ndarray) -> str:
    """The elements of an array as a flat list; whole numbers are written without a point."""
    data = array.reshape(-1).tolist()
    has_whole_numbers = (
        array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.rint(array)).all()
    )
    negative_zero = array.dtype.kind == "f" and bool(np.signbit(array[array == 0]).any())
    if has_whole_numbers and not negative_zero and max(map(abs, data), default=0) < 2**53:
        data = [int(value) for value in data]
    text = pprint.pformat(data, width=96, compact=True) if len(data) > 12 else repr(data)
    return text.replace("nan", 'float("nan")').replace("inf", 'float("inf")')


def array_literal(value: np.ndarray) -> str:
    """A NumPy array with its dtype and shape."""
    dtype_name = {"i": "np.int64", "b": "bool", "c": "complex"}.get(value.dtype.kind, "float")
    return f"np.array({number_list_literal(value)}, {dtype_name}).reshape({value.shape})"


def literal(value: Any) -> str:
    """A value of a step or a proof: numbers, texts, arrays, natives, and containers of these."""
    if isinstance(value, Ref):
        return value.text
    if isinstance(value, np.ndarray):
        return array_literal(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        return f"complex({literal(value.real)}, {literal(value.imag)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {literal(x)}" for key, x in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(literal, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return value_text(value)
