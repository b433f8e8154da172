"""Shapes, weights and cases of elementwise losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from conformance.strategies.values import Filler
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import round_to

yes_no = st.booleans()
_RANKS = st.sampled_from((2, 1, 2, 0, 3, 4))
# Vector code reads 8, 16 or 32 numbers at a time.
_SIZES = st.sampled_from((1, 2, 3, 4, 5, 8, 17, 33, 65, 0))
_FEW = st.sampled_from((1, 2, 3, 4, 5, 8, 0))
_COUNTS = st.sampled_from((2, 3))
# (x − y)² has four products; rounded up to leave room for a weight.
_TERMS_PER_LOSS = 6
# With equal sizes, swapped axes keep the shape and show in the values only.
_SQUARE = st.sampled_from((False, False, True))
# Equal shapes; target or input of size 1 along an axis; fewer axes; a column and a row.
_SPREADS = st.sampled_from(("none",) * 9 + ("one", "fewer", "other", "column", "column"))
_LONGEST_COLUMN = 17


def draw_shape(draw: Draw) -> tuple[int, ...]:
    """Draw the shape of the losses, with any number of axes."""
    rank: int = draw(_RANKS)
    if rank > 1 and draw(_SQUARE):
        count = draw(_COUNTS)
        return (count,) * rank
    return tuple(draw(_SIZES if rank < 3 else _FEW) for _ in range(rank))


def draw_broadcast_shapes(
    draw: Draw, shape_: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Draw shapes of input and target that broadcast to `shape_`, mostly `shape_` itself.

    The exception is a column and a row, (N, 1) and (N), which broadcast to (N, N).
    """
    kind = draw(_SPREADS)
    if kind == "none" or not shape_:
        return shape_, shape_
    if kind == "column":
        count = min(shape_[0], _LONGEST_COLUMN)
        return (count, 1), (count,)
    if kind == "fewer":
        return shape_, shape_[draw(st.integers(1, len(shape_))) :]
    axis = draw(st.integers(0, len(shape_) - 1))
    single = (*shape_[:axis], 1, *shape_[axis + 1 :])
    return (single, shape_) if kind == "other" else (shape_, single)


def positive_weights(filler: Filler, shape: tuple[int, ...]) -> np.ndarray:
    """Fill a weight with positive numbers; in the exact regimes powers of two, which stay exact."""
    if filler.regime in ("ramp", "integers", "full"):
        return np.asarray(filler.generator.choice([1.0, 2.0, 0.5, 4.0], shape))
    return round_to(filler.generator.uniform(0.25, 4.0, shape), filler.dtype)


def count_terms(losses_shape: tuple[int, ...]) -> int:
    """Number of products in a sum of squared differences over the whole shape."""
    return _TERMS_PER_LOSS * max(math.prod(losses_shape), 1)


def build_case(
    layer: str,
    dtype: str,
    arguments: dict[str, Any],
    inputs: tuple[Any, ...],
    labels: Mapping[str, Any],
    seed: int,
    state: Mapping[str, Any] | None = None,
) -> Case:
    """Build the case of a loss.

    Args:
        arguments: arguments that the call writes out.
        state: tensors that the constructor takes.
    """
    # NumPy's functions return a zero-dimensional array as a number.
    arrays = tuple(None if x is None else np.asarray(x) for x in inputs)
    tensors = {name: np.asarray(x) for name, x in (state or {}).items()}
    call = Call(layer, arguments, tensors, dtype, "cpu")
    return Case(call, arrays, labels=labels, seed=seed)
