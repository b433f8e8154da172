"""Shapes and arguments of losses that are a number for each element."""

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
# Four of (x − y)², and room for a weight.
_PER_LOSS = 6
# In a square array axes that are taken for each other show in the values alone.
_SQUARE = st.sampled_from((False, False, True))
# Both of one shape; one number of an operand for a whole axis; fewer axes; a column and a row.
_SPREADS = st.sampled_from(("none",) * 9 + ("one", "fewer", "other", "column", "column"))
_LONGEST_COLUMN = 17


def shape(draw: Draw) -> tuple[int, ...]:
    """Of the losses: any number of axes."""
    rank: int = draw(_RANKS)
    if rank > 1 and draw(_SQUARE):
        count = draw(_COUNTS)
        return (count,) * rank
    return tuple(draw(_SIZES if rank < 3 else _FEW) for _ in range(rank))


def spread(draw: Draw, whole: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of input and target that broadcast to a whole, mostly both its own.

    A column and a row, (N, 1) and (N), broadcast to (N, N).
    """
    kind = draw(_SPREADS)
    if kind == "none" or not whole:
        return whole, whole
    if kind == "column":
        count = min(whole[0], _LONGEST_COLUMN)
        return (count, 1), (count,)
    if kind == "fewer":
        return whole, whole[draw(st.integers(1, len(whole))) :]
    axis = draw(st.integers(0, len(whole) - 1))
    single = (*whole[:axis], 1, *whole[axis + 1 :])
    return (single, whole) if kind == "other" else (whole, single)


def weights(filler: Filler, shape: tuple[int, ...]) -> np.ndarray:
    """Positive numbers; powers of two, with which whole numbers stay exact, where these are whole.

    Args:
        filler: of the case.
    """
    if filler.regime in ("ramp", "integers", "full"):
        return np.asarray(filler.generator.choice([1.0, 2.0, 0.5, 4.0], shape))
    return round_to(filler.generator.uniform(0.25, 4.0, shape), filler.dtype)


def terms(whole: tuple[int, ...]) -> int:
    """How many products of whole numbers a sum of squared differences comes to."""
    return _PER_LOSS * max(math.prod(whole), 1)


def called(
    layer: str,
    dtype: str,
    arguments: dict[str, Any],
    inputs: tuple[Any, ...],
    labels: Mapping[str, Any],
    seed: int,
    state: Mapping[str, Any] | None = None,
) -> Case:
    """The case of a loss.

    Args:
        arguments: those that are written out.
        inputs: the arrays.
        labels: names of the draws.
        seed: the drawn seed.
        state: what the constructor takes.
    """
    # NumPy's functions return what has no axis as a number.
    given = tuple(None if x is None else np.asarray(x) for x in inputs)
    tensors = {name: np.asarray(x) for name, x in (state or {}).items()}
    call = Call(layer, arguments, tensors, dtype, "cpu")
    return Case(call, given, labels=labels, seed=seed)
