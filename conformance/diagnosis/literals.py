"""Write numbers, texts and arrays as Python source."""

from __future__ import annotations

import math
import pprint
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.diagnosis.transcript import Ref
from conformance.layers.describe import typed


def safe(text: str) -> str:
    """Escape a text for use in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")


def numbers(array: np.ndarray) -> str:
    """The elements of an array as a flat list; whole numbers are written without a point."""
    data = array.reshape(-1).tolist()
    whole = array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.rint(array)).all()
    negative_zero = array.dtype.kind == "f" and bool(np.signbit(array[array == 0]).any())
    if whole and not negative_zero and (np.abs(array) < 2**53).all():
        data = [int(value) for value in data]
    text = pprint.pformat(data, width=96, compact=True) if len(data) > 12 else repr(data)
    return text.replace("nan", 'float("nan")').replace("inf", 'float("inf")')


def array(value: np.ndarray) -> str:
    """A NumPy array with its dtype and shape."""
    kind = {"i": "np.int64", "b": "bool", "c": "complex"}.get(value.dtype.kind, "float")
    return f"np.array({numbers(value)}, {kind}).reshape({value.shape})"


def literal(value: Any) -> str:
    """A value of a step or a proof: numbers, texts, arrays, natives, and containers of these."""
    if isinstance(value, Ref):
        return value.text
    if isinstance(value, np.ndarray):
        return array(value)
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
    return typed(value)
