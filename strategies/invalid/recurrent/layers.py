"""Ways to break a valid call of a recurrent layer or cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    not_positive,
    replace_arguments,
    resize_axis,
    set_argument,
)
from conformance.strategies.invalid.recurrent.states import (
    is_cell,
    missing_half_breaks,
    time_axis,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

unknown_nonlinearities = st.sampled_from(("sigmoid", "TANH", "", "identity"))
not_probabilities = st.sampled_from((-0.25, 1.5, 2.0, -1.0))


def _drop_states(apply: Callable[[Draw, Case], Case]) -> Callable[[Draw, Case], Case]:
    def apply_without_states(draw: Draw, case: Case) -> Case:
        none = (None,) * (len(case.inputs) - 1)
        return apply(draw, replace(case, inputs=(case.inputs[0], *none)))

    return apply_without_states


def _no_steps(draw: Draw, case: Case) -> Case:
    return replace(resize_axis(case, 0, time_axis(case))(0), keywords={})


def _zero_size(name: str) -> Callable[[Draw, Case], Case]:
    """Break a case by a size of zero; the input's features follow."""

    def apply(draw: Draw, case: Case) -> Case:
        if name == "input_size":
            case = resize_axis(case, 0, -1)(0)
        return replace_arguments(case, **{name: 0})

    return _drop_states(apply)


def _large_projection(draw: Draw, case: Case) -> Case:
    size = case.call.arguments["hidden_size"] + draw(st.integers(0, 2))
    return replace_arguments(case, proj_size=size)


def _bad_hidden_size(values: st.SearchStrategy[int]) -> Callable[[Draw, Case], Case]:
    """Break a case by its hidden_size, without proj_size, which would have to be smaller."""

    def apply(draw: Draw, case: Case) -> Case:
        arguments = {k: v for k, v in case.call.arguments.items() if k != "proj_size"}
        case = replace(case, call=replace(case.call, arguments=arguments))
        return replace_arguments(case, hidden_size=draw(values))

    return _drop_states(apply)


def _size_breaks(layer: str) -> list[Break]:
    """The breaks of sizes; torch documents no refusal of a cell without features."""
    wrong_sizes = negative if is_cell(layer) else not_positive
    adjective = "negative" if is_cell(layer) else "not positive"
    input_size = _drop_states(set_argument("input_size", wrong_sizes))
    size_breaks = [
        Break(f"input_size {adjective}", "input_size", input_size),
        Break(f"hidden_size {adjective}", "hidden_size", _bad_hidden_size(wrong_sizes)),
    ]
    if is_cell(layer):
        size_breaks += [
            Break(f"{name} zero", name, _zero_size(name)) for name in ("input_size", "hidden_size")
        ]
    return size_breaks


def _layer_breaks(layer: str) -> list[Break]:
    """The breaks that cells do not have."""
    no_layers = _drop_states(set_argument("num_layers", not_positive))
    layer_breaks = [
        Break("sequence of no steps", "input", _no_steps),
        Break("num_layers not positive", "num_layers", no_layers),
        Break("dropout not a probability", "dropout", set_argument("dropout", not_probabilities)),
    ]
    if layer != "LSTM":
        sizes = set_argument("proj_size", st.integers(0, 2))
        return [*layer_breaks, Break("proj_size, which only an LSTM has", "proj_size", sizes)]
    negative_projection = _drop_states(set_argument("proj_size", negative))
    return [
        *layer_breaks,
        Break("proj_size not below hidden_size", "proj_size", _drop_states(_large_projection)),
        Break("negative proj_size", "proj_size", negative_projection),
    ]


def breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of a layer, besides those that follow from its shapes.

    Args:
        layer: `"RNN"`, `"LSTM"`, `"GRU"`, or one of their cells.
    """
    common_breaks = [
        *missing_half_breaks(layer),
        *_size_breaks(layer),
    ]
    if layer in ("RNN", "RNNCell"):
        unknown = set_argument("nonlinearity", unknown_nonlinearities)
        common_breaks.append(Break("unknown nonlinearity", "nonlinearity", unknown))
    return tuple(common_breaks if is_cell(layer) else common_breaks + _layer_breaks(layer))
