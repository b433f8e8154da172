"""The structure of what a module returns: containers, and the values beside the tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from conformance.bounding.operands import is_array

FLOAT_ERROR = 2.0**-50
"""Relative error of a float of Python that is computed otherwise: eight roundings of 2⁻⁵³."""


def form_of(value: Any) -> Any:
    """The structure of a result: containers of `"tensor"`, for any array, and of plain values."""
    if torch.is_tensor(value) or is_array(value):
        return "tensor"
    if isinstance(value, Mapping):
        return {str(name): form_of(x) for name, x in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(map(form_of, value))
    if isinstance(value, str):
        return repr(value)
    plain = (bool, int, float, type(None))
    return value if isinstance(value, plain) else type(value).__name__


def _is_same_form(got: Any, wanted: Any) -> bool:
    """Whether two structures are the same; a float may be computed in another order."""
    if isinstance(got, tuple) and isinstance(wanted, tuple):
        return len(got) == len(wanted) and all(map(_is_same_form, got, wanted))
    if isinstance(got, dict) and isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(_is_same_form(got[k], wanted[k]) for k in got)
    if isinstance(got, float) and isinstance(wanted, float):
        is_nan = math.isnan(got) and math.isnan(wanted)
        return is_nan or math.isclose(got, wanted, rel_tol=FLOAT_ERROR)
    return type(got) is type(wanted) and bool(got == wanted)


def tensors_in(value: Any, form: Any) -> Iterator[Any]:
    """The tensors of a result of a form, in the order of the form."""
    if form == "tensor":
        yield value
    elif isinstance(form, Mapping):
        parts = {str(name): x for name, x in value.items()}
        for name, part in form.items():
            yield from tensors_in(parts[name], part)
    elif isinstance(form, tuple):
        for x, part in zip(value, form, strict=True):
            yield from tensors_in(x, part)


def form_fault(got: Any, wanted: Any) -> str:
    """How the structure of an answer differs; empty if it does not."""
    form = form_of(got)
    return "" if _is_same_form(form, wanted) else f"it returns {form}, wanted {wanted}"
