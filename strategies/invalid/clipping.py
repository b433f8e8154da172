"""Ways to break a valid call of a function that measures or clips gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import Break, replace_arguments, set_argument
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_NONFINITE = st.sampled_from((math.nan, math.inf, -math.inf))
_NOT_NUMBERS = st.sampled_from(("largest", None, ""))
_NAMES = ("max_norm", "clip_value", "norm_type")


def _nonfinite_gradient(draw: Draw, case: Case) -> Case:
    """NaN or an infinity among the gradients, which the call has to report."""
    place = next(k for k, x in enumerate(case.inputs) if x is not None and x.size)
    array = case.inputs[place]
    assert array is not None
    spoiled = np.array(array)
    spoiled.reshape(-1)[-1] = draw(_NONFINITE)
    inputs = (*case.inputs[:place], spoiled, *case.inputs[place + 1 :])
    return replace_arguments(replace(case, inputs=inputs), error_if_nonfinite=True)


def breaks(names: tuple[str, ...]) -> tuple[Break, ...]:
    """The breaks of a function that has these arguments."""
    return tuple(_function_breaks(names))


def _function_breaks(names: tuple[str, ...]) -> Iterator[Break]:
    for name in _NAMES:
        if name in names:
            yield Break(f"{name} that is no number", name, set_argument(name, _NOT_NUMBERS))
    if "error_if_nonfinite" in names:
        yield Break("a norm that is not finite", "error_if_nonfinite", _nonfinite_gradient)
