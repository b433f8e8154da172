"""Find sizes at which an index or a length computed in floating point is off by one.

For most lengths L and numbers of outputs o, int(i * (L / o)) is ⌊i·L/o⌋. A kernel that
computes bounds in this way passes nearly every test. This tool computes such formulas in float32
and float64 for all small sizes, compares them with exact fractions, and chooses few sizes that
show each of the formulas wrong. It writes the tables of `strategies/rounded_sizes.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

TABLES = Path(__file__).parents[1] / "strategies" / "rounded_sizes.py"
FORMATS = (np.float32, np.float64)
Format = type[np.floating[Any]]
Sizes = TypeVar("Sizes", bound=tuple[Any, ...])

MULTIPLES: Mapping[str, Callable[[Any, Any, Any, Any], Any]] = {
    "i·(L/o)": lambda i, length, outputs, one: i * (length / outputs),
    "(i·L)·(1/o)": lambda i, length, outputs, one: (i * length) * (one / outputs),
    "(i/o)·L": lambda i, length, outputs, one: (i / outputs) * length,
}
"""Formulas of i·L/o for an array i, a length L, a number of outputs o, and 1."""
PRODUCTS: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "L·f": lambda length, factor, one: length * factor,
    "L/(1/f)": lambda length, factor, one: length / (one / factor),
}
"""Formulas of the product of a length L and a factor f."""
ENOUGH = 3
"""How many bounds of an axis are wrong; of one, the element that is missing may be no maximum."""
DECIMALS = tuple(Fraction(k, 20) for k in range(5, 61))


def wrong_bounds(length: int, outputs: int) -> frozenset[str]:
    """The formulas by which a region [⌊i·L/o⌋, ⌈(i + 1)·L/o⌉) of adaptive pooling is wrong."""
    index = np.arange(outputs + 1)
    starts, ends = index * length // outputs, -(-index * length // outputs)
    wrong = set()
    for number in FORMATS:
        for name, formula in MULTIPLES.items():
            bounds = formula(index.astype(number), number(length), number(outputs), number(1))
            if (np.floor(bounds) != starts)[:-1].sum() >= ENOUGH:
                wrong.add(f"start {name} {number.__name__}")
            # Kernels cut the last region off at the end of the input.
            if (np.minimum(np.ceil(bounds), length) != ends)[1:].sum() >= ENOUGH:
                wrong.add(f"end {name} {number.__name__}")
    return frozenset(wrong)


def wrong_starts(span: int, gaps: int) -> frozenset[str]:
    """The formulas by which ⌊i·(L − k)/(o − 1)⌋ is wrong where the quotient is a whole number.

    Elsewhere fractional pooling may begin a window at either of two elements.
    """
    index = np.arange(gaps + 1)
    exact = index * span % gaps == 0
    wrong = set()
    for number in FORMATS:
        for name, formula in MULTIPLES.items():
            starts = np.floor(formula(index.astype(number), number(span), number(gaps), number(1)))
            if ((starts != index * span // gaps) & exact)[:-1].sum() >= ENOUGH:
                wrong.add(f"start {name} {number.__name__}")
    return frozenset(wrong)


def wrong_products(length: int, factor: float) -> frozenset[str]:
    """The formulas by which ⌊L·f⌋ is wrong; none where float64 and exact arithmetic differ."""
    product = math.floor(Fraction(factor) * length)
    if product != math.floor(length * factor) or product < 1:
        return frozenset()
    wrong = set()
    for number in FORMATS:
        for name, formula in PRODUCTS.items():
            if math.floor(formula(number(length), number(factor), number(1))) != product:
                wrong.add(f"{name} {number.__name__}")
    if math.floor(length * float(np.float32(factor))) != product:
        wrong.add("L·f of a factor stored in float32")
    return frozenset(wrong)


def wrong_counts(length: int, aligned: bool) -> frozenset[str]:
    """The formats in which arange finds a wrong number of places in a row of a grid.

    Its end is a step after the last place. The places are 2/(n − 1) apart, from −1 to 1, where ±1
    are the centres of the corner pixels. Else they are 2/n apart, the outer ones 1/n within ±1.
    """
    wrong = set()
    for number in FORMATS:
        step = number(2) / number(length - 1 if aligned else length)
        first = number(-1) if aligned else step / number(2) - number(1)
        count = math.ceil((step - first - first) / step)
        if count != length:
            wrong.add(f"{'corners' if aligned else 'edges'} {number.__name__}")
    return frozenset(wrong)


def wrong_turns(span: int, turns: int) -> frozenset[str]:
    """The formats in which ⌊x·(1/span)⌋ is wrong for x = turns·span, where a reflection turns."""
    return frozenset(
        number.__name__
        for number in FORMATS
        if math.floor(number(turns * span) * (number(1) / number(span))) != turns
    )


def cover(candidates: Mapping[Sizes, frozenset[str]]) -> tuple[Sizes, ...]:
    """Few candidates that show every formula wrong that any of them does, the smallest first."""
    missing = set().union(*candidates.values())
    chosen: list[Sizes] = []
    while missing:
        best = max(
            candidates, key=lambda sizes: (len(candidates[sizes] & missing), -math.prod(sizes))
        )
        chosen.append(best)
        missing -= candidates[best]
    return tuple(sorted(chosen, key=math.prod))


def _pairs(limit: int) -> Iterator[tuple[int, int]]:
    return ((n, o) for n in range(2, limit + 1) for o in range(2, n))


def _factors() -> Iterator[float]:
    quotients = {Fraction(o, n) for n in range(2, 25) for o in range(1, 3 * n)}
    return (float(f) for f in sorted({*quotients, *DECIMALS}))


def tables() -> dict[str, tuple[Any, ...]]:
    """The tables by name."""
    lengths = range(3, 40)
    factors = [(n, f) for f in _factors() for n in lengths if 1 <= n * f <= 64 and f not in (1, 2)]
    grids = [(n, aligned) for n in range(3, 100) for aligned in (False, True)]
    return {
        "REGIONS": cover({pair: wrong_bounds(*pair) for pair in _pairs(200)}),
        "STEPS": cover({pair: wrong_starts(*pair) for pair in _pairs(96)}),
        "FACTORS": cover({pair: wrong_products(*pair) for pair in factors}),
        "RATIOS": cover({pair: wrong_products(*pair) for pair in factors if pair[1] < 1}),
        "COLUMNS": cover({pair: wrong_counts(*pair) for pair in grids}),
        "TURNS": cover({(n, k): wrong_turns(n, k) for n in range(2, 64) for k in (1, 2)}),
    }


def write_tables(text: str) -> str:
    """Put the tables into the text of their module."""
    for name, rows in tables().items():
        text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {rows!r}", text)
        if count != 1:
            raise ValueError(f"{TABLES.name} has {count} lines that begin with {name} =")
    return text


if __name__ == "__main__":
    TABLES.write_text(write_tables(TABLES.read_text(encoding="utf-8")), encoding="utf-8")
