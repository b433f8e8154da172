"""Ways to break a valid call of a recurrent layer or cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    axis_of,
    negative,
    not_positive,
    with_arguments,
)
from conformance.strategies.invalid.recurrent.states import (
    is_cell,
    missing_half,
    time_axis,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

unknown_nonlinearities = st.sampled_from(("sigmoid", "TANH", "", "identity"))
not_probabilities = st.sampled_from((-0.25, 1.5, 2.0, -1.0))


def _without_states(apply: Callable[[Draw, Case], Case]) -> Callable[[Draw, Case], Case]:
    def broken(draw: Draw, case: Case) -> Case:
        none = (None,) * (len(case.inputs) - 1)
        return apply(draw, replace(case, inputs=(case.inputs[0], *none)))

    return broken


def _no_steps(draw: Draw, case: Case) -> Case:
    return replace(axis_of(case, 0, time_axis(case))(0), keywords={})


def _zero_size(name: str) -> Callable[[Draw, Case], Case]:
    """Break a case by a size of zero; the input's features follow."""

    def apply(draw: Draw, case: Case) -> Case:
        if name == "input_size":
            case = axis_of(case, 0, -1)(0)
        return with_arguments(case, **{name: 0})

    return _without_states(apply)


def _large_projection(draw: Draw, case: Case) -> Case:
    size = case.call.arguments["hidden_size"] + draw(st.integers(0, 2))
    return with_arguments(case, proj_size=size)


def _bad_hidden_size(values: st.SearchStrategy[int]) -> Callable[[Draw, Case], Case]:
    """Break a case by its hidden_size, without proj_size, which would have to be smaller."""

    def apply(draw: Draw, case: Case) -> Case:
        given = {k: v for k, v in case.call.arguments.items() if k != "proj_size"}
        case = replace(case, call=replace(case.call, arguments=given))
        return with_arguments(case, hidden_size=draw(values))

    return _without_states(apply)


def _sizes(layer: str) -> list[Break]:
    """The breaks of sizes; torch documents no refusal of a cell without features."""
    wrong = negative if is_cell(layer) else not_positive
    how = "negative" if is_cell(layer) else "not positive"
    inputs = _without_states(argument("input_size", wrong))
    found = [
        Break(f"input_size {how}", "input_size", inputs),
        Break(f"hidden_size {how}", "hidden_size", _bad_hidden_size(wrong)),
    ]
    if is_cell(layer):
        found += [
            Break(f"{name} zero", name, _zero_size(name), CUSTOMARY)
            for name in ("input_size", "hidden_size")
        ]
    return found


def _of_layers(layer: str) -> list[Break]:
    """The breaks that cells do not have."""
    no_layers = _without_states(argument("num_layers", not_positive))
    found = [
        Break("sequence of no steps", "input", _no_steps),
        Break("num_layers not positive", "num_layers", no_layers),
        Break("dropout not a probability", "dropout", argument("dropout", not_probabilities)),
    ]
    if layer != "LSTM":
        sizes = argument("proj_size", st.integers(0, 2))
        return [*found, Break("proj_size, which only an LSTM has", "proj_size", sizes)]
    below = _without_states(argument("proj_size", negative))
    return [
        *found,
        Break("proj_size not below hidden_size", "proj_size", _without_states(_large_projection)),
        Break("negative proj_size", "proj_size", below),
    ]


def breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of a layer, besides those that follow from its shapes.

    Args:
        layer: `"RNN"`, `"LSTM"`, `"GRU"`, or one of their cells.
    """
    found = [
        *missing_half(layer),
        *_sizes(layer),
    ]
    if layer in ("RNN", "RNNCell"):
        unknown = argument("nonlinearity", unknown_nonlinearities)
        found.append(Break("unknown nonlinearity", "nonlinearity", unknown))
    return tuple(found if is_cell(layer) else found + _of_layers(layer))
