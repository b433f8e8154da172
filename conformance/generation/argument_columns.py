"""Compact columns with the value of each argument in each case of an item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

from conformance.layers import CATALOGUE
from conformance.model.case import COLUMN_DIGITS, Case, Column

OTHER_VALUES = "other values"

# The largest number of cases to describe: further ones add size but no information.
MAX_DESCRIBED_CASES = 1000


def run_lengths(letters: Sequence[str]) -> str:
    """Run-length encoding: `["p", "p", "f"]` → `"2p1f"`."""
    return "".join(f"{len(list(run))}{letter}" for letter, run in groupby(letters))


# Neighbouring items are checks of the same layer and dtype, so two results suffice.
@lru_cache(maxsize=2)
def argument_columns(cases: Sequence[Case]) -> dict[str, Column]:
    """The arguments of cases, and other facts on which a failure may depend, as columns.

    Args:
        cases: cases of one layer and dtype.
    """
    texts_of_cases = [argument_texts(case) for case in islice(cases, MAX_DESCRIBED_CASES)]
    names = dict.fromkeys(name for texts in texts_of_cases for name in texts)
    result = {}
    for name in names:
        values = dict.fromkeys(texts.get(name, "–") for texts in texts_of_cases)
        if len(values) > len(COLUMN_DIGITS):
            listed_values = [*list(values)[: len(COLUMN_DIGITS) - 1], OTHER_VALUES]
        else:
            listed_values = list(values)
        digit_of_value = {value: COLUMN_DIGITS[index] for index, value in enumerate(listed_values)}
        text = "".join(
            digit_of_value.get(texts.get(name, "–"), COLUMN_DIGITS[-1]) for texts in texts_of_cases
        )
        result[name] = Column(tuple(listed_values), text)
    return result


def argument_texts(case: Case) -> dict[str, str]:
    """The arguments of a case including defaults, and the form of its inputs, as text."""
    call = case.call
    spec = CATALOGUE[call.layer]
    if "broken" in case.labels:
        return {"broken constraint": str(case.labels["broken"])}
    arguments: dict[str, Any] = dict(spec.signature.defaults)
    arguments |= {name: value for name, value in call.arguments.items() if name != "*"}
    optional = spec.signature.keyword_arguments & set(arguments)
    texts = {name: value_text(value) for name, value in arguments.items() if name not in optional}
    for name in sorted(optional | set(case.keywords)):
        texts[name] = "given" if case.keywords.get(name) is not None else "left out"
    for name, array in zip(spec.signature.input_names, case.inputs, strict=False):
        texts.setdefault(name, "left out" if array is None else f"{array.ndim}-d")
        if array is not None and array.size == 0:
            texts[name] = f"{array.ndim}-d, empty"
    for name in ("profile", "regime"):
        if name in case.labels:
            texts[name] = str(case.labels[name])
    return texts


def value_text(value: Any) -> str:
    """A short text of an argument's value; equal numbers for all dimensions become one number."""
    if isinstance(value, (tuple, list)) and value and all(isinstance(v, int) for v in value):
        all_equal = len(set(value)) == 1
        return str(value[0]) if all_equal else "mixed"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.3g}"
    return repr(value) if isinstance(value, str) else str(value)[:40]


def cover_values(cases: Sequence[Case], min_count: int) -> tuple[int, ...]:
    """Choose cases that reach each value of each argument at least once.

    Args:
        cases: the cases to choose from.
        min_count: the least number of cases to choose, even if fewer reach every value.

    Returns:
        Indices of the chosen cases, those that bring the most new values first.
    """
    # Sizes for blocks need not be reached: nearly every such case has different ones.
    values_of_cases = [
        set() if "tile" in case.labels else set(argument_texts(case).items()) for case in cases
    ]
    uncovered, order = set().union(*values_of_cases) if values_of_cases else set(), list[int]()
    while uncovered:
        best = max(
            range(len(values_of_cases)), key=lambda k: (len(values_of_cases[k] & uncovered), -k)
        )
        order.append(best)
        uncovered -= values_of_cases[best]
    chosen = set(order)
    order += [k for k in range(len(values_of_cases)) if k not in chosen][
        : max(min_count - len(order), 0)
    ]
    return tuple(order)
