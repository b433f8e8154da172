"""Ways to break a valid call of a function that pads or packs sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    with_arguments,
    with_inputs,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_SOME = st.integers(1, 3)
_SIDES = st.sampled_from(("centre", "Right", ""))
_NOT_POSITIVE = st.sampled_from((0, -1))


def _shapes(case: Case) -> list[tuple[int, ...]]:
    return [x.shape for x in case.inputs if x is not None]


def _several(case: Case) -> bool:
    return len(case.inputs) > 1


def _other_features(draw: Draw, case: Case) -> Case:
    """One sequence with another number of features, or with one axis more."""
    place = draw(st.integers(1, len(case.inputs) - 1))
    length, *rest = _shapes(case)[place]
    shape = (max(length, 1), *rest[:-1], rest[-1] + draw(_SOME)) if rest else (max(length, 1), 2)
    return with_inputs(case, {place: shape})


def _no_axis(draw: Draw, case: Case) -> Case:
    """Zero-dimensional tensors in place of sequences."""
    return with_inputs(case, dict.fromkeys(range(len(case.inputs)), ()))


def _none_at_all(draw: Draw, case: Case) -> Case:
    return replace(case, inputs=())


def _one_empty(draw: Draw, case: Case) -> Case:
    """The last sequence is empty."""
    return with_inputs(case, {len(case.inputs) - 1: (0, *_shapes(case)[-1][1:])})


def _ascending_list(draw: Draw, case: Case) -> Case:
    """The last sequence is the longest."""
    first = max(shape[0] for shape in _shapes(case))
    length = first + draw(_SOME)
    return with_inputs(case, {len(case.inputs) - 1: (length, *_shapes(case)[-1][1:])})


def _of_several(case: Case) -> bool:
    lengths = case.inputs[1] if len(case.inputs) > 1 else None
    listed = lengths is None or lengths.ndim != 1 or lengths.dtype.kind != "i"
    return _several(case) if listed or lengths is None else lengths.size > 1


def _list_to_sort(case: Case) -> bool:
    return bool(case.call.arguments.get("enforce_sorted", True)) and _several(case)


def list_breaks() -> tuple[Break, ...]:
    """The breaks of `pad_sequence`."""
    return (
        Break("padding_side that is none", "padding_side", argument("padding_side", _SIDES)),
        Break("sequences of other features", "sequence1", _other_features, applies=_several),
        Break("no sequence", "sequence0", _none_at_all),
        Break("sequences without a length", "sequence0", _no_axis, CUSTOMARY),
    )


def packed_list_breaks() -> tuple[Break, ...]:
    """The breaks of `pack_sequence`."""
    return (
        Break("lengths that grow", "sequence1", _ascending_list, applies=_list_to_sort),
        Break("sequences of other features", "sequence1", _other_features, applies=_several),
        Break("no sequence", "sequence0", _none_at_all),
        Break("an empty sequence", "sequence0", _one_empty),
    )


def _with_lengths(case: Case, lengths: np.ndarray) -> Case:
    return replace(case, inputs=(case.inputs[0], lengths))


def _lengths(case: Case) -> np.ndarray:
    found = case.inputs[1]
    assert found is not None
    return found.copy()


def _steps(case: Case) -> int:
    return _shapes(case)[0][1 if case.call.arguments.get("batch_first", False) else 0]


def _ascending(draw: Draw, case: Case) -> Case:
    """Valid lengths, the first less than the last."""
    lengths = _lengths(case)
    lengths[:] = 1
    lengths[-1] = _steps(case)
    return _with_lengths(case, lengths)


def _room_to_grow(case: Case) -> bool:
    enforced = bool(case.call.arguments.get("enforce_sorted", True))
    return enforced and _lengths(case).size > 1 and _steps(case) > 1


def _too_long(draw: Draw, case: Case) -> Case:
    """A length longer than the batch."""
    lengths = _lengths(case)
    lengths[0] = _steps(case) + draw(_SOME)
    return _with_lengths(case, lengths)


def _too_short(draw: Draw, case: Case) -> Case:
    lengths = _lengths(case)
    lengths[-1] = draw(_NOT_POSITIVE)
    return _with_lengths(case, lengths)


def padded_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `pack_padded_sequence`."""
    return (
        *shape_breaks(
            signature, shapes, without=("input of another dtype",),
            customary=("input of another rank",),
        ),
        Break("lengths that grow", "lengths", _ascending, applies=_room_to_grow),
        Break("a length beyond the input's", "lengths", _too_long),
        Break("a length that is not positive", "lengths", _too_short),
    )  # fmt: skip


def unpad_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `unpad_sequence`."""
    return shape_breaks(
        signature, shapes, without=("padded_sequences of another dtype", "lengths missing"),
        customary=("padded_sequences of another rank", "lengths of another rank"),
    )  # fmt: skip


def _cut_short(draw: Draw, case: Case) -> Case:
    """`total_length` less than the longest sequence."""
    steps = _shapes(case)[1][0]
    return with_arguments(case, total_length=max(steps - draw(_SOME), 0))


def _rows(surplus: int) -> Callable[[Draw, Case], Case]:
    """Break a case by data with more or fewer rows than the sequences have elements."""

    def apply(draw: Draw, case: Case) -> Case:
        rows, *rest = _shapes(case)[0]
        return with_inputs(case, {0: (rows + surplus, *rest)})

    return apply


# By the page of PackedSequence batch_sizes are the numbers of elements of each step.
_TOO_FEW = Break("data with a row too few", "data", _rows(-1))


def packed_breaks() -> tuple[Break, ...]:
    """The breaks of `pad_packed_sequence`."""
    return (
        Break("total_length below the longest", "total_length", _cut_short),
        _TOO_FEW,
    )


def unpack_breaks() -> tuple[Break, ...]:
    """The breaks of `unpack_sequence`."""
    return (_TOO_FEW,)
