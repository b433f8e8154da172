"""Ways to break a valid call of a function that measures or clips gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import Break, argument, with_arguments
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_LOST = st.sampled_from((math.nan, math.inf, -math.inf))
_NO_NUMBERS = st.sampled_from(("largest", None, ""))
_NAMES = ("max_norm", "clip_value", "norm_type")


def _not_finite(draw: Draw, case: Case) -> Case:
    """NaN or an infinity among the gradients, which the call has to report."""
    place = next(k for k, x in enumerate(case.inputs) if x is not None and x.size)
    array = case.inputs[place]
    assert array is not None
    spoiled = np.array(array)
    spoiled.reshape(-1)[-1] = draw(_LOST)
    inputs = (*case.inputs[:place], spoiled, *case.inputs[place + 1 :])
    return with_arguments(replace(case, inputs=inputs), error_if_nonfinite=True)


def breaks(names: tuple[str, ...]) -> tuple[Break, ...]:
    """The breaks of a function that has these arguments."""
    return tuple(_each(names))


def _each(names: tuple[str, ...]) -> Iterator[Break]:
    for name in _NAMES:
        if name in names:
            yield Break(f"{name} that is no number", name, argument(name, _NO_NUMBERS))
    if "error_if_nonfinite" in names:
        yield Break("a norm that is not finite", "error_if_nonfinite", _not_finite)
