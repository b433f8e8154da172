"""Ways to break a valid call of a function that pads or packs sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_SURPLUS = st.integers(1, 3)
_UNKNOWN_SIDES = st.sampled_from(("centre", "Right", ""))
_NOT_POSITIVE = st.sampled_from((0, -1))


def _shapes(case: Case) -> list[tuple[int, ...]]:
    return [x.shape for x in case.inputs if x is not None]


def _has_several_sequences(case: Case) -> bool:
    return len(case.inputs) > 1


def _wrong_features(draw: Draw, case: Case) -> Case:
    """One sequence with another number of features, or with one axis more."""
    place = draw(st.integers(1, len(case.inputs) - 1))
    length, *features = _shapes(case)[place]
    shape = (
        (max(length, 1), *features[:-1], features[-1] + draw(_SURPLUS))
        if features
        else (max(length, 1), 2)
    )
    return resize_inputs(case, {place: shape})


def _scalars(draw: Draw, case: Case) -> Case:
    """Zero-dimensional tensors in place of sequences."""
    return resize_inputs(case, dict.fromkeys(range(len(case.inputs)), ()))


def _no_sequences(draw: Draw, case: Case) -> Case:
    return replace(case, inputs=())


def _empty_sequence(draw: Draw, case: Case) -> Case:
    """The last sequence is empty."""
    return resize_inputs(case, {len(case.inputs) - 1: (0, *_shapes(case)[-1][1:])})


def _ascending_list(draw: Draw, case: Case) -> Case:
    """The last sequence is the longest."""
    first = max(shape[0] for shape in _shapes(case))
    length = first + draw(_SURPLUS)
    return resize_inputs(case, {len(case.inputs) - 1: (length, *_shapes(case)[-1][1:])})


def _has_several_lengths(case: Case) -> bool:
    lengths = case.inputs[1] if len(case.inputs) > 1 else None
    listed = lengths is None or lengths.ndim != 1 or lengths.dtype.kind != "i"
    return _has_several_sequences(case) if listed or lengths is None else lengths.size > 1


def _must_be_sorted(case: Case) -> bool:
    return bool(case.call.arguments.get("enforce_sorted", True)) and _has_several_sequences(case)


def list_breaks() -> tuple[Break, ...]:
    """The breaks of `pad_sequence`."""
    return (
        Break(
            "padding_side that is none",
            "padding_side",
            set_argument("padding_side", _UNKNOWN_SIDES),
        ),
        Break(
            "sequences of other features",
            "sequence1",
            _wrong_features,
            applies=_has_several_sequences,
        ),
        Break("no sequence", "sequence0", _no_sequences),
        Break("sequences without a length", "sequence0", _scalars),
    )


def packed_list_breaks() -> tuple[Break, ...]:
    """The breaks of `pack_sequence`."""
    return (
        Break("lengths that grow", "sequence1", _ascending_list, applies=_must_be_sorted),
        Break(
            "sequences of other features",
            "sequence1",
            _wrong_features,
            applies=_has_several_sequences,
        ),
        Break("no sequence", "sequence0", _no_sequences),
        Break("an empty sequence", "sequence0", _empty_sequence),
    )


def _replace_lengths(case: Case, lengths: np.ndarray) -> Case:
    return replace(case, inputs=(case.inputs[0], lengths))


def _lengths(case: Case) -> np.ndarray:
    lengths = case.inputs[1]
    assert lengths is not None
    return lengths.copy()


def _steps(case: Case) -> int:
    return _shapes(case)[0][1 if case.call.arguments.get("batch_first", False) else 0]


def _ascending_lengths(draw: Draw, case: Case) -> Case:
    """Valid lengths, the first less than the last."""
    lengths = _lengths(case)
    lengths[:] = 1
    lengths[-1] = _steps(case)
    return _replace_lengths(case, lengths)


def _can_be_unsorted(case: Case) -> bool:
    enforced = bool(case.call.arguments.get("enforce_sorted", True))
    return enforced and _lengths(case).size > 1 and _steps(case) > 1


def _length_beyond_batch(draw: Draw, case: Case) -> Case:
    """A length longer than the batch."""
    lengths = _lengths(case)
    lengths[0] = _steps(case) + draw(_SURPLUS)
    return _replace_lengths(case, lengths)


def _length_not_positive(draw: Draw, case: Case) -> Case:
    lengths = _lengths(case)
    lengths[-1] = draw(_NOT_POSITIVE)
    return _replace_lengths(case, lengths)


def padded_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `pack_padded_sequence`."""
    return (
        *shape_breaks(
            signature, shapes, excluded=("input of another dtype",),
        ),
        Break("lengths that grow", "lengths", _ascending_lengths, applies=_can_be_unsorted),
        Break("a length beyond the input's", "lengths", _length_beyond_batch),
        Break("a length that is not positive", "lengths", _length_not_positive),
    )  # fmt: skip


def unpad_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of `unpad_sequence`."""
    return shape_breaks(
        signature, shapes, excluded=("padded_sequences of another dtype", "lengths missing"),
    )  # fmt: skip


def _short_total_length(draw: Draw, case: Case) -> Case:
    """`total_length` less than the longest sequence."""
    steps = _shapes(case)[1][0]
    return replace_arguments(case, total_length=max(steps - draw(_SURPLUS), 0))


def _wrong_row_count(surplus: int) -> Callable[[Draw, Case], Case]:
    """Break a case by data with more or fewer rows than the sequences have elements."""

    def apply(draw: Draw, case: Case) -> Case:
        rows, *features = _shapes(case)[0]
        return resize_inputs(case, {0: (rows + surplus, *features)})

    return apply


# By the page of PackedSequence batch_sizes are the numbers of elements of each step.
_ROW_MISSING = Break("data with a row too few", "data", _wrong_row_count(-1))


def packed_breaks() -> tuple[Break, ...]:
    """The breaks of `pad_packed_sequence`."""
    return (
        Break("total_length below the longest", "total_length", _short_total_length),
        _ROW_MISSING,
    )


def unpack_breaks() -> tuple[Break, ...]:
    """The breaks of `unpack_sequence`."""
    return (_ROW_MISSING,)
