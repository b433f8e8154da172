"""What the failing cases of one cause have in common, and how many passing cases have it, too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.mutations import Change
from conformance.diagnosis.necessary_arguments import explains, need_of
from conformance.matching.facts import EQUALS, Facts
from conformance.matching.features import features
from conformance.matching.rule_search import Table, Term
from conformance.model.case import Case
from conformance.model.cause import Need, Share

COINCIDENCE = 0.01
"""Chance at most that some condition would tell failing from passing cases that have no reason."""


def shared(
    needs: Sequence[Need],
    needed: Sequence[Change],
    number: Change | None,
    minimal: Case,
    failing: Sequence[Case],
    others: Sequence[Case],
    passing: Sequence[Case],
) -> tuple[tuple[Need, ...], Share]:
    """What the cases of a cause need, and how many others have that.

    Args:
        needs, needed: what the minimal case of the cause needs, as it is recorded and as changes.
        number: how large a number has to be in the minimal case.
        others: failing cases of other causes.
        passing: the item's passing cases.
    """
    # Where there is nothing to compare a case says nothing by passing.
    passing = [case for case in passing if not Facts(case).get("empty")]
    same = [case for case in passing if explains(needed, case)]
    if number is not None and all(explains((number,), case) for case in failing):
        fewer = [case for case in same if explains((number,), case)]
        if len(fewer) < len(same):
            needs, same = (*needs, need_of(number)), fewer
    terms = tuple(need.words for need in needs if not need.fails)
    if same:
        further = _further([*map(_described, (minimal, *failing))], [*map(_described, same)])
        if further is not None:
            terms, same = (*terms, further), []
    failed = len(failing) + len(others)
    return tuple(needs), Share(terms, len(failing), failed, len(same), len(passing))


def _described(case: Case) -> dict[str, Any]:
    """The structure of a case, which sizes are the same, and the range of each input's numbers."""
    found, row = Facts(case), Facts(case).row
    names = [f"{name}.{end}" for name in row.signature.input_names for end in ("min", "max")]
    sizes = [argument.name for argument in row.signature.arguments if argument.size]
    names += [EQUALS.join(pair) for pair in itertools.combinations(sizes, 2)]
    return {**features(case), **{name: found.get(name) for name in names}}


def _further(failing: Sequence[Mapping[str, Any]], same: Sequence[Mapping[str, Any]]) -> str | None:
    """One condition that all failing cases meet and none of the passing ones.

    Among cases in no order a given number would tell them apart with a chance of two in all the
    ways to choose the failing ones; there are as many numbers as features.
    """
    count = len({name for row in (*failing, *same) for name in row})
    if 2 * count > COINCIDENCE * math.comb(len(failing) + len(same), len(same)):
        return None
    rows = [*failing, *same]
    chosen = np.arange(len(rows)) < len(failing)
    rules = Table(rows).least(chosen, ~chosen)
    if rules is None or len(rules) != 1 or len(rules[0]) != 1:
        return None
    return _words(rules[0][0], [row.get(rules[0][0].feature) for row in same])


def _words(term: Term, passing: Sequence[Any]) -> str:
    """A condition, between numbers that fail and numbers that pass the one with fewest digits."""
    numbers = [x for x in passing if type(x) is float]
    if type(term.value) is not float and not (numbers and type(term.value) is int):
        return str(term)
    if term.relation == "≥" and numbers:
        return f"{term.feature} > {_plain(max(numbers), float(term.value))}"
    if term.relation == "≤" and numbers:
        return f"{term.feature} < {_plain(min(numbers), float(term.value))}"
    return str(term)


def _plain(passing: float, failing: float) -> str:
    """The number of fewest digits from one that passes up to one that fails, that one left out."""
    for digits in range(1, 17):
        for number in (passing, failing, (passing + failing) / 2):
            text = f"{number:.{digits}g}"
            low, high = sorted((passing, failing))
            inside = low <= float(text) <= high and float(text) != failing
            if inside:
                return text
    return repr(passing)
