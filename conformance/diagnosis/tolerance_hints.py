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
LADDER = (3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)
_FUNCTIONS = (("tanh",), ("sigmoid",), ("tanh", "sigmoid"), tuple(ULP))
# The finest format comes first: float32, float16, bfloat16.
COARSER = sorted(set(FORMATS) - {"float64"}, key=lambda name: FORMATS[name].unit)


def looser(tried: Callable[[Numerics], bool], declared: Numerics | None) -> str | None:
    """Suggest a declaration with which a failing case would pass, in words.

    Takes about two dozen tries at most. For each kind of declaration, the loosest is tried first;
    if it passes, bisection finds the least.

    Args:
        tried: whether the case passes with a declaration and compares numbers.
        declared: the backend's declaration; None = nothing.

    Returns:
        `"within ulp = {'tanh': 6}"`; None if no declaration suffices.
    """
    base = declared or Numerics()
    for changes in _kinds(base):
        found = _least(changes, lambda change: tried(replace(base, **change)))
        if found is not None:
            found = _fewer(found, base, tried)
            return "within " + " and ".join(f"{name} = {value!r}" for name, value in found.items())
    return None


def _kinds(base: Numerics) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Looser declarations than `base`: one sequence for each kind, the least change first."""
    for names in _FUNCTIONS:
        # Start from the declared error of each function, or the default one.
        have = {name: base.ulp.get(name, ULP[name]) for name in names}
        least = max(have.values()) if len(names) < len(ULP) else min(have.values())
        yield [
            {"ulp": {**base.ulp, **{name: k for name in names if k > have[name]}}}
            for k in LADDER
            if k > least
        ]
    if not base.flush_to_zero:
        yield [{"flush_to_zero": True}]
    if set(STORED) - set(base.stored):
        yield [{"stored": tuple(STORED)}]
    if not base.stepwise:
        yield [{"stepwise": True}]
    # Accumulation in a wider format than the declared one, or the dtype, only tightens the bound.
    unit = 0.0 if base.accumulation is None else FORMATS[base.accumulation].unit
    for name in COARSER:
        if FORMATS[name].unit > unit:
            yield [{"accumulation": name}]


def _fewer(
    found: Mapping[str, Any], base: Numerics, tried: Callable[[Numerics], bool]
) -> Mapping[str, Any]:
    """Drop functions and stored results from a declaration while the case still passes."""
    if "stored" in found:
        names: tuple[str, ...] = found["stored"]
        for name in [name for name in names if name not in base.stored]:
            without = tuple(other for other in names if other != name)
            if tried(replace(base, stored=without)):
                names = without
        return {**found, "stored": names}
    ulp = found.get("ulp", {})
    if len(ulp) < 3:
        return found
    for name in [name for name in ulp if name not in base.ulp]:
        less = {other: k for other, k in ulp.items() if other != name}
        if less and tried(replace(base, ulp=less)):
            ulp = less
    return {**found, "ulp": ulp}


def _least(
    changes: Sequence[Mapping[str, Any]],
    passes: Callable[[Mapping[str, Any]], bool],
) -> Mapping[str, Any] | None:
    """The first change that passes, by bisection; None if the last one fails.

    A change that is looser than a passing one also passes.
    """
    if not changes or not passes(changes[-1]):
        return None
    return changes[bisect_left(changes[:-1], True, key=passes)]
