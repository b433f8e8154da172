"""Ways to break a valid call of weight_norm or spectral_norm."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, argument, not_positive, with_arguments
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_names = st.sampled_from(("weights", "weight_g", "kernel"))
_beyond = st.integers(5, 7)


def _dim(draw: Draw, case: Case) -> Case:
    """An axis that no weight has."""
    dim = draw(_beyond)
    return with_arguments(case, dim=dim if draw(st.booleans()) else -dim - 1)


_NAME = Break("name of no parameter", "name", argument("name", _names))
_DIM = Break("dim out of range", "dim", _dim, index=True)
WEIGHT = (_NAME, _DIM)
SPECTRAL = (
    _NAME,
    _DIM,
    Break("n_power_iterations not positive", "n_power_iterations",
          argument("n_power_iterations", not_positive)),
)  # fmt: skip
