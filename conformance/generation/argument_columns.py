"""Compact columns with the value of each argument in each case of an item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

from conformance.layers import CATALOGUE
from conformance.model.case import DIGITS, Case, Column

OTHER = "other values"

# The largest number of cases to describe: further ones add size but no information.
DESCRIBED = 1000


def run_lengths(letters: Sequence[str]) -> str:
    """Run-length encoding: `["p", "p", "f"]` → `"2p1f"`."""
    return "".join(f"{len(list(same))}{letter}" for letter, same in groupby(letters))


# Neighbouring items are checks of the same layer and dtype, so two results suffice.
@lru_cache(maxsize=2)
def columns(cases: Sequence[Case]) -> dict[str, Column]:
    """The arguments of cases, and other facts on which a failure may depend, as columns.

    Args:
        cases: cases of one layer and dtype.
    """
    rows = [argument_texts(case) for case in islice(cases, DESCRIBED)]
    names = dict.fromkeys(name for row in rows for name in row)
    found = {}
    for name in names:
        values = dict.fromkeys(row.get(name, "–") for row in rows)
        if len(values) > len(DIGITS):
            kept = [*list(values)[: len(DIGITS) - 1], OTHER]
        else:
            kept = list(values)
        places = {value: DIGITS[place] for place, value in enumerate(kept)}
        text = "".join(places.get(row.get(name, "–"), DIGITS[-1]) for row in rows)
        found[name] = Column(tuple(kept), text)
    return found


def argument_texts(case: Case) -> dict[str, str]:
    """The arguments of a case including defaults, and the form of its inputs, as text."""
    call = case.call
    row = CATALOGUE[call.layer]
    if "broken" in case.labels:
        return {"broken constraint": str(case.labels["broken"])}
    arguments: dict[str, Any] = dict(row.signature.defaults)
    arguments |= {name: value for name, value in call.arguments.items() if name != "*"}
    optional = row.signature.keywords & set(arguments)
    found = {name: text_of(value) for name, value in arguments.items() if name not in optional}
    for name in sorted(optional | set(case.keywords)):
        found[name] = "given" if case.keywords.get(name) is not None else "left out"
    for name, array in zip(row.signature.input_names, case.inputs, strict=False):
        found.setdefault(name, "left out" if array is None else f"{array.ndim}-d")
        if array is not None and array.size == 0:
            found[name] = f"{array.ndim}-d, empty"
    for name in ("profile", "regime"):
        if name in case.labels:
            found[name] = str(case.labels[name])
    return found


def text_of(value: Any) -> str:
    """A short text of an argument's value; equal numbers for all dimensions become one number."""
    if isinstance(value, (tuple, list)) and value and all(isinstance(v, int) for v in value):
        same = len(set(value)) == 1
        return str(value[0]) if same else "mixed"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.3g}"
    return repr(value) if isinstance(value, str) else str(value)[:40]


def covering(cases: Sequence[Case], least: int) -> tuple[int, ...]:
    """Choose cases that reach each value of each argument at least once.

    Args:
        cases: the cases to choose from.
        least: the least number of cases to choose, even if fewer reach every value.

    Returns:
        Indices of the chosen cases, those that bring the most new values first.
    """
    # Sizes for blocks need not be reached: nearly every such case has different ones.
    pairs = [
        set() if "tile" in case.labels else set(argument_texts(case).items()) for case in cases
    ]
    left, order = set().union(*pairs) if pairs else set(), list[int]()
    while left:
        best = max(range(len(pairs)), key=lambda k: (len(pairs[k] & left), -k))
        order.append(best)
        left -= pairs[best]
    chosen = set(order)
    order += [k for k in range(len(pairs)) if k not in chosen][: max(least - len(order), 0)]
    return tuple(order)
