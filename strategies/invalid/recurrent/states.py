"""Ways to break the hidden state that a recurrent layer or cell takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from conformance.strategies.invalid.breaks import Break, resized
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

quarters = st.integers(0, 3)


def is_cell(layer: str) -> bool:
    """Whether the name is that of a cell."""
    return layer.endswith("Cell")


def input_shape(case: Case) -> tuple[int, ...]:
    """The input's shape."""
    assert case.inputs[0] is not None
    return case.inputs[0].shape


def _has_batch(case: Case) -> bool:
    return len(input_shape(case)) == (2 if is_cell(case.call.layer) else 3)


def time_axis(case: Case) -> int:
    """The axis of time, counted from the end; an input without a batch ignores batch_first."""
    first = case.call.arguments.get("batch_first", False)
    return -2 if first or not _has_batch(case) else -3


def _batch_size(case: Case) -> int:
    """Size of the batch of an input that has one."""
    return input_shape(case)[-2 if is_cell(case.call.layer) else -5 - time_axis(case)]


def _drop_lengths(draw: Draw, case: Case) -> Case:
    """Drop `lengths` in most cases: a wrong size can broadcast in a padded batch only."""
    return case if draw(quarters) == 3 else replace(case, keywords={})


def _add_states(case: Case) -> Case:
    """The case with all hidden states; those it has are kept."""
    arguments, layer = case.call.arguments, case.call.layer
    hidden = arguments["hidden_size"]
    shape = input_shape(case)
    if is_cell(layer):
        leading = shape[:-1]
    else:
        slots = arguments.get("num_layers", 1) * (2 if arguments.get("bidirectional", False) else 1)
        leading = (slots, _batch_size(case)) if _has_batch(case) else (slots,)
    sizes = [arguments.get("proj_size", 0) or hidden, hidden][: len(case.inputs) - 1]
    states = [
        resized(array, (*leading, size)) for array, size in zip(case.inputs[1:], sizes, strict=True)
    ]
    return replace(case, inputs=(case.inputs[0], *states))


def _drop_half(missing: int) -> Callable[[Draw, Case], Case]:
    """Break a case by leaving out one of the state's two tensors."""

    def apply(draw: Draw, case: Case) -> Case:
        case = _add_states(_drop_lengths(draw, case))
        inputs = list(case.inputs)
        inputs[missing] = None
        return replace(case, inputs=tuple(inputs))

    return apply


def missing_half_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of an LSTM state with one of its two tensors left out."""
    if not layer.startswith("LSTM"):
        return ()
    names = ("hx", "cx") if is_cell(layer) else ("h_0", "c_0")
    return tuple(Break(f"{name} missing", name, _drop_half(k)) for k, name in enumerate(names, 1))
