"""Ways to break a valid call of a function that folds a batch norm into weights."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, set_argument
from conformance.strategies.invalid.shapes import shape_breaks
from hypothesis import strategies as st

from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_NOT_NUMBERS = st.sampled_from(("1e-5", None, ()))


def breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a function. Dtypes are promoted, and one number may serve all outputs."""
    from_shapes = (
        b for b in shape_breaks(signature, shapes) if not b.name.endswith(("dtype", "rank"))
    )
    return (
        Break("bn_eps that is no number", "bn_eps", set_argument("bn_eps", _NOT_NUMBERS)),
        *from_shapes,
    )
