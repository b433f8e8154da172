"""Ways to break a valid call of an activation."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    replace_arguments,
    resize_inputs,
    set_argument,
    surplus,
    wrong_sizes,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.activations import activation_of, require_known
from conformance.model.case import Case, is_function

_negative = st.sampled_from((-0.5, -1e-6, -2.0))
_unknown_forms = st.sampled_from(("erf", "Tanh", "", "sigmoid"))


def _exchanged_ends(low: str, high: str) -> Break:
    """The break of a range whose lower end is above its upper end."""

    def apply(draw: Draw, case: Case) -> Case:
        end = float(draw(st.integers(-2, 2)))
        return replace_arguments(case, **{low: end + draw(surplus), high: end})

    return Break(f"{low} above {high}", low, apply)


def _has_channels(case: Case) -> bool:
    x = case.inputs[0]
    return x is not None and x.ndim > 1 and x.size > 0


def _wrong_slope_count(draw: Draw, case: Case) -> Case:
    """A number of slopes other than that of the channels, and other than 1, which is valid."""
    x = case.inputs[0]
    assert x is not None
    return resize_inputs(case, {1: (draw(wrong_sizes(x.shape[1]).filter(lambda size: size != 1)),)})


def _matrix_of_slopes(draw: Draw, case: Case) -> Case:
    weight = case.inputs[1]
    assert weight is not None
    return resize_inputs(case, {1: (1, weight.size)})


_BREAKS: Mapping[str, tuple[Break, ...]] = {
    "Softshrink": (Break("lambd negative", "lambd", set_argument("lambd", _negative)),),
    "CELU": (Break("alpha zero", "alpha", set_argument("alpha", st.just(0.0))),),
    "GELU": (Break("no such form", "approximate", set_argument("approximate", _unknown_forms)),),
}
require_known(_BREAKS, "conformance/strategies/invalid/activation.py")


def activation_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of an activation, by its name in the catalogue; none where all calls are valid."""
    activation = activation_of(layer)
    ends = (_exchanged_ends(*activation.ordering.split()[::2]),) if activation.ordering else ()
    return (*ends, *_BREAKS.get(activation.module, ()))


def prelu_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of PReLU or its function that do not follow from its shapes."""
    if not is_function(layer):
        number = set_argument("num_parameters", negative)
        return (Break("num_parameters negative", "num_parameters", number),)
    return (
        Break("no slope for each channel", "weight", _wrong_slope_count, applies=_has_channels),
        Break("weight of two dimensions", "weight", _matrix_of_slopes),
    )
