"""Suggest the smallest change to a backend's `Numerics` with which a failing case would pass.

A number beyond its bound is a bug, or comes from arithmetic that the backend has not declared. Only
the author knows which. A few more runs show how much the backend would have to declare.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.model.case import STORED, ULP, Numerics
from conformance.model.formats import FORMATS

# Errors of an elementary function to try, in units in the last place. A larger error is not a
# matter of accuracy: 32 units are a fifth of all digits of float32.
ULP_LADDER = (3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)
_FUNCTION_GROUPS = (("tanh",), ("sigmoid",), ("tanh", "sigmoid"), tuple(ULP))
# The finest format comes first: float32, float16, bfloat16.
COARSER_FORMATS = sorted(set(FORMATS) - {"float64"}, key=lambda name: FORMATS[name].unit)


def suggest_declaration(
    passes: Callable[[Numerics], bool], declared: Numerics | None
) -> str | None:
    """Suggest a declaration with which a failing case would pass, in words.

    Takes about two dozen tries at most. For each kind of declaration, the loosest is tried first;
    if it passes, bisection finds the least.

    Args:
        passes: whether the case passes with a declaration and compares numbers.
        declared: the backend's declaration; None = nothing.

    Returns:
        `"within ulp = {'tanh': 6}"`; None if no declaration suffices.
    """
    base = replace(declared or Numerics(), grade="")
    for changes in _candidate_declarations(base):
        declaration = _first_passing(changes, lambda change: passes(replace(base, **change)))
        if declaration is not None:
            declaration = _drop_unneeded(declaration, base, passes)
            return "within " + " and ".join(
                f"{name} = {value!r}" for name, value in declaration.items()
            )
    return None


def _candidate_declarations(base: Numerics) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Looser declarations than `base`: one sequence for each kind, the least change first."""
    for names in _FUNCTION_GROUPS:
        # Start from the declared error of each function, or the default one.
        current_ulps = {name: base.ulp.get(name, ULP[name]) for name in names}
        lowest_ulp = (
            max(current_ulps.values()) if len(names) < len(ULP) else min(current_ulps.values())
        )
        yield [
            {"ulp": {**base.ulp, **{name: k for name in names if k > current_ulps[name]}}}
            for k in ULP_LADDER
            if k > lowest_ulp
        ]
    if not base.flush_to_zero:
        yield [{"flush_to_zero": True}]
    if set(STORED) - set(base.stored):
        yield [{"stored": tuple(STORED)}]
    if not base.stepwise:
        yield [{"stepwise": True}]
    # Accumulation in a wider format than the declared one, or the dtype, only tightens the bound.
    unit_roundoff = 0.0 if base.accumulation is None else FORMATS[base.accumulation].unit
    for name in COARSER_FORMATS:
        if FORMATS[name].unit > unit_roundoff:
            yield [{"accumulation": name}]


def _drop_unneeded(
    declaration: Mapping[str, Any], base: Numerics, passes: Callable[[Numerics], bool]
) -> Mapping[str, Any]:
    """Drop functions and stored results from a declaration while the case still passes."""
    if "stored" in declaration:
        names: tuple[str, ...] = declaration["stored"]
        for name in [name for name in names if name not in base.stored]:
            remaining = tuple(other_name for other_name in names if other_name != name)
            if passes(replace(base, stored=remaining)):
                names = remaining
        return {**declaration, "stored": names}
    ulp = declaration.get("ulp", {})
    if len(ulp) < 3:
        return declaration
    for name in [name for name in ulp if name not in base.ulp]:
        remaining_ulp = {other_name: k for other_name, k in ulp.items() if other_name != name}
        if remaining_ulp and passes(replace(base, ulp=remaining_ulp)):
            ulp = remaining_ulp
    return {**declaration, "ulp": ulp}


def _first_passing(
    changes: Sequence[Mapping[str, Any]],
    passes: Callable[[Mapping[str, Any]], bool],
) -> Mapping[str, Any] | None:
    """The first change that passes, by bisection; None if the last one fails.

    A change that is looser than a passing one also passes.
    """
    if not changes or not passes(changes[-1]):
        return None
    return changes[bisect_left(changes[:-1], True, key=passes)]
