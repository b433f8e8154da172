"""Ways to break the hidden state that a recurrent layer or cell is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from conformance.strategies.invalid.breaks import Break, axis_of, resized, with_inputs, wrong_sizes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

quarters = st.integers(0, 3)


def is_cell(layer: str) -> bool:
    """Whether a layer is a cell, by its name."""
    return layer.endswith("Cell")


def shape_of(case: Case) -> tuple[int, ...]:
    """The input's shape."""
    assert case.inputs[0] is not None
    return case.inputs[0].shape


def _batched(case: Case) -> bool:
    return len(shape_of(case)) == (2 if is_cell(case.call.layer) else 3)


def time_axis(case: Case) -> int:
    """From the last; unbatched input has no batch dimension to come first."""
    first = case.call.arguments.get("batch_first", False)
    return -2 if first or not _batched(case) else -3


def _batch(case: Case) -> int:
    """The size of a batched input's batch."""
    return shape_of(case)[-2 if is_cell(case.call.layer) else -5 - time_axis(case)]


def _unpacked(draw: Draw, case: Case) -> Case:
    """The case without `lengths`, mostly: a batch is where sizes are broadcast."""
    return case if draw(quarters) == 3 else replace(case, keywords={})


def _with_states(case: Case) -> Case:
    """The case with the hidden states that fit; those it has stay."""
    given, layer = case.call.arguments, case.call.layer
    hidden = given["hidden_size"]
    shape = shape_of(case)
    if is_cell(layer):
        leading = shape[:-1]
    else:
        slots = given.get("num_layers", 1) * (2 if given.get("bidirectional", False) else 1)
        leading = (slots, _batch(case)) if _batched(case) else (slots,)
    sizes = [given.get("proj_size", 0) or hidden, hidden][: len(case.inputs) - 1]
    states = [
        resized(array, (*leading, size)) for array, size in zip(case.inputs[1:], sizes, strict=True)
    ]
    return replace(case, inputs=(case.inputs[0], *states))


def _state_axis(position: int, axis: int) -> Callable[[Draw, Case], Case]:
    """Breaks a case by a hidden state with one axis of another size."""

    def apply(draw: Draw, case: Case) -> Case:
        case = _with_states(_unpacked(draw, case))
        array = case.inputs[position]
        assert array is not None
        sizes = wrong_sizes(array.shape[axis])
        return axis_of(case, position, axis)(draw(sizes))

    return apply


def _state_rank(position: int) -> Callable[[Draw, Case], Case]:
    """Breaks a case by a hidden state with a dimension more or less."""

    def apply(draw: Draw, case: Case) -> Case:
        case = _with_states(_unpacked(draw, case))
        array = case.inputs[position]
        assert array is not None
        shapes = [array.shape[1:], (*array.shape[:-1], 1, array.shape[-1])]
        return with_inputs(case, {position: draw(st.sampled_from(shapes))})

    return apply


def _half(missing: int) -> Callable[[Draw, Case], Case]:
    """Breaks a case by leaving out one half of the state."""

    def apply(draw: Draw, case: Case) -> Case:
        case = _with_states(_unpacked(draw, case))
        inputs = list(case.inputs)
        inputs[missing] = None
        return replace(case, inputs=tuple(inputs))

    return apply


def _one_sample(position: int) -> Callable[[Draw, Case], Case]:
    """Breaks a case by a hidden state for one sample only."""

    def apply(draw: Draw, case: Case) -> Case:
        return axis_of(_with_states(replace(case, keywords={})), position, -2)(1)

    return apply


def _layers(position: int) -> Callable[[Draw, Case], Case]:
    """Breaks a case by a hidden state for another number of layers or directions."""
    return lambda draw, case: _state_axis(position, -3 if _batched(case) else -2)(draw, case)


def _several(case: Case) -> bool:
    return _batched(case) and _batch(case) > 1


def state_breaks(layer: str) -> list[Break]:
    """The breaks of a layer's hidden state.

    Args:
        layer: its name in the catalogue.
    """
    states = 2 if layer.startswith("LSTM") else 1
    names = (("hx", "cx") if is_cell(layer) else ("h_0", "c_0"))[:states]
    found: list[Break] = []
    for k, name in enumerate(names, 1):
        found += [
            Break(f"{name} of another width", name, _state_axis(k, -1)),
            Break(f"{name} of another batch", name, _state_axis(k, -2), applies=_batched),
            Break(f"{name} of one sample", name, _one_sample(k), applies=_several),
            Break(f"{name} of another rank", name, _state_rank(k)),
        ]
        if not is_cell(layer):
            found.append(Break(f"{name} for another number of layers", name, _layers(k)))
        if states == 2:
            found.append(Break(f"{name} missing", name, _half(k)))
    return found
