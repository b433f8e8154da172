"""Ways to break a valid call of weight_norm or spectral_norm."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    Break,
    not_positive,
    replace_arguments,
    set_argument,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_unknown_names = st.sampled_from(("weights", "weight_g", "kernel"))
_axes_beyond = st.integers(5, 7)


def _dim_out_of_range(draw: Draw, case: Case) -> Case:
    """An axis that no weight has."""
    dim = draw(_axes_beyond)
    return replace_arguments(case, dim=dim if draw(st.booleans()) else -dim - 1)


_NAME = Break("name of no parameter", "name", set_argument("name", _unknown_names))
_DIM = Break("dim out of range", "dim", _dim_out_of_range)
WEIGHT = (_NAME, _DIM)
SPECTRAL = (
    _NAME,
    _DIM,
    Break("n_power_iterations not positive", "n_power_iterations",
          set_argument("n_power_iterations", not_positive)),
)  # fmt: skip
