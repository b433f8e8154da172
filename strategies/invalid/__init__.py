"""Invalid cases: a valid one of a layer, with exactly one constraint broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from conformance.strategies.invalid import convolution as invalid_convolutions
from conformance.strategies.invalid import linear as invalid_linears
from conformance.strategies.invalid import recurrent as invalid_recurrents
from conformance.strategies.invalid.breaks import Break
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

Cases = Callable[[str], st.SearchStrategy[Case]]


@st.composite
def broken_cases(draw: Draw, cases: Cases, breaks: tuple[Break, ...], dtype: str) -> Case:
    """Cases that must be refused, their state empty: what is refused is no state_dict.

    Args:
        cases: dtype → strategy of valid cases.
        breaks: ways to break them.
        dtype: torch's name of the dtype.
    """
    # Drawn first, and of all breaks, so that it stays the same while the case shrinks.
    first = draw(st.integers(0, len(breaks) - 1))
    case: Case = draw(cases(dtype))
    if any(x is not None and not x.size for x in case.inputs):
        # An empty batch hides whether anything else is checked: a second draw makes it seldom.
        case = draw(cases(dtype))
    broken = next(b for b in (*breaks[first:], *breaks[:first]) if b.applies(case))
    labels = {"broken": broken.name, "required": broken.required, "argument": broken.argument}
    unbroken = replace(case, call=replace(case.call, state={}))
    case = broken.apply(draw, case)
    return replace(
        case,
        call=replace(case.call, state={}),
        labels={**case.labels, **labels},
        unbroken=unbroken,
    )


def breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of a layer.

    Args:
        layer: its name in the catalogue.
    """
    if "onv" in layer:
        return invalid_convolutions.breaks(layer)
    if "ilinear" in layer:
        return invalid_linears.bilinear_breaks(layer)
    if "inear" in layer:
        return invalid_linears.linear_breaks(layer)
    if layer == "Identity":
        return ()
    return invalid_recurrents.breaks(layer)


def invalid(layer: str, cases: Cases) -> Cases | None:
    """dtype → strategy of invalid cases; None where no call is invalid.

    Args:
        layer: its name in the catalogue.
        cases: dtype → strategy of its valid cases.
    """
    found = breaks(layer)
    return partial(broken_cases, cases, found) if found else None
