"""Ways to break a valid call of dropout, besides those that follow from its shapes."""

from __future__ import annotations

import math

from conformance.strategies.invalid.breaks import Break, negative, set_argument
from hypothesis import strategies as st

_above = st.sampled_from((1.5, 2.0, 1.0000001, math.inf))
_below = st.sampled_from((-0.5, -1e-9, -math.inf)) | negative
_nan = st.just(math.nan)


def dropout_breaks() -> tuple[Break, ...]:
    """The breaks of `p`."""
    return (
        Break("p above 1", "p", set_argument("p", _above)),
        Break("p negative", "p", set_argument("p", _below)),
        Break("p not a number", "p", set_argument("p", _nan)),
    )
