"""The least looser declaration of `Numerics` that a failure would pass within.

A number beyond its bound is a bug, or comes from arithmetic that the backend has not declared. Only
the author knows which; a few more runs show how much would have to be declared.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.model.case import STORED, ULP, Numerics
from conformance.model.formats import FORMATS

# Units in the last place that an activation may err. What is further off is no matter of accuracy:
# 32 are a fifth of all digits of float32.
LADDER = (3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)
_FUNCTIONS = (("tanh",), ("sigmoid",), ("tanh", "sigmoid"), tuple(ULP))
# From the finest on: float32, float16, bfloat16.
COARSER = sorted(set(FORMATS) - {"float64"}, key=lambda name: FORMATS[name].unit)


def looser(tried: Callable[[Numerics], bool], declared: Numerics | None) -> str | None:
    """What would have to be declared for a failing case to pass, in words.

    At most some two dozen tries: of a kind of declaration the loosest first, the least by
    bisection where that passes.

    Args:
        tried: whether the case passes with a declaration, numbers having been compared.
        declared: what the backend declares; None = nothing.

    Returns:
        `"within ulp = {'tanh': 6}"`; None where no declaration would do.
    """
    base = declared or Numerics()
    for changes in _kinds(base):
        found = _least(changes, lambda change: tried(replace(base, **change)))
        if found is not None:
            found = _fewer(found, base, tried)
            return "within " + " and ".join(f"{name} = {value!r}" for name, value in found.items())
    return None


def _kinds(base: Numerics) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Looser declarations than the one given: one kind after the other, the least first."""
    for names in _FUNCTIONS:
        # Of each function what is declared or usual, where that is more.
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
    # A sum in a wider format than is declared, or than the dtype, only makes the bound smaller.
    unit = 0.0 if base.accumulation is None else FORMATS[base.accumulation].unit
    for name in COARSER:
        if FORMATS[name].unit > unit:
            yield [{"accumulation": name}]


def _fewer(
    found: Mapping[str, Any], base: Numerics, tried: Callable[[Numerics], bool]
) -> Mapping[str, Any]:
    """The declaration without functions and stored results that it can do without."""
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
    """The first that passes; each passes that is looser than one that does."""
    if not changes or not passes(changes[-1]):
        return None
    return changes[bisect_left(changes[:-1], True, key=passes)]
