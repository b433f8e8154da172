"""Conditions that the failing cases of a cause share, and how many passing cases meet them."""

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
"""The largest accepted probability that a condition separates the cases by chance alone."""


def shared(
    needs: Sequence[Need],
    needed: Sequence[Change],
    number: Change | None,
    minimal: Case,
    failing: Sequence[Case],
    others: Sequence[Case],
    passing: Sequence[Case],
) -> tuple[tuple[Need, ...], Share]:
    """Find the conditions that all cases of a cause share, and count the cases that meet them.

    Args:
        needs, needed: the needs of the minimal case, as stored and as changes.
        number: the change of a number that makes the minimal case pass; None if there is none.
        minimal: the cause's minimal case.
        failing: its failing cases.
        others: failing cases of other causes.
        passing: the item's passing cases.
    """
    # A case with an empty operand compares nothing, so that it passes proves nothing.
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
    """Features of a case: its structure, equal sizes, and the range of each input's numbers."""
    found, row = Facts(case), Facts(case).row
    names = [f"{name}.{end}" for name in row.signature.input_names for end in ("min", "max")]
    sizes = [argument.name for argument in row.signature.arguments if argument.size]
    names += [EQUALS.join(pair) for pair in itertools.combinations(sizes, 2)]
    return {**features(case), **{name: found.get(name) for name in names}}


def _further(failing: Sequence[Mapping[str, Any]], same: Sequence[Mapping[str, Any]]) -> str | None:
    """Find one condition that all failing cases meet and no passing case meets.

    If cases failed at random, a threshold on one feature would separate them with a probability of
    2 ÷ (ways to choose the failing cases). Each feature is one more chance.
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
    """A condition in words; its threshold is the shortest number between failing and passing."""
    numbers = [x for x in passing if type(x) is float]
    if type(term.value) is not float and not (numbers and type(term.value) is int):
        return str(term)
    if term.relation == "≥" and numbers:
        return f"{term.feature} > {_plain(max(numbers), float(term.value))}"
    if term.relation == "≤" and numbers:
        return f"{term.feature} < {_plain(min(numbers), float(term.value))}"
    return str(term)


def _plain(passing: float, failing: float) -> str:
    """The number with the fewest digits between a passing and a failing one, never the latter."""
    for digits in range(1, 17):
        for number in (passing, failing, (passing + failing) / 2):
            text = f"{number:.{digits}g}"
            low, high = sorted((passing, failing))
            inside = low <= float(text) <= high and float(text) != failing
            if inside:
                return text
    return repr(passing)
