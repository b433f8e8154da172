"""Conditions that the failing cases of a cause share, and how many passing cases meet them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.mutations import Change
from conformance.diagnosis.necessary_arguments import as_need, has_all_needs
from conformance.matching.facts import EQUALITY_SIGN, Facts
from conformance.matching.features import features
from conformance.matching.rule_search import FeatureTable, Term
from conformance.model.case import Case
from conformance.model.cause import EMPTY_BATCH, MAX_COINCIDENCE, Need, Share

EMPTY = "empty = True"
"""The condition, by the fact's name, that an operand has no elements."""


def describe_shared_conditions(
    needs: Sequence[Need],
    passing_changes: Sequence[Change],
    number_change: Change | None,
    minimal: Case,
    failing: Sequence[Case],
    other_failures: Sequence[Case],
    passing: Sequence[Case],
) -> tuple[tuple[Need, ...], Share]:
    """Find the conditions that all cases of a cause share, and count the cases that meet them.

    Args:
        needs, passing_changes: the needs of the minimal case, as stored and as changes.
        number_change: the change of a number that makes the minimal case pass; None if there is
            none.
        minimal: the cause's minimal case.
        failing: its failing cases.
        other_failures: failing cases of other causes.
        passing: the item's passing cases.
    """
    # A case with an empty operand compares nothing, so that it passes proves nothing.
    passing = [case for case in passing if not Facts(case).get("empty")]
    passing_with_needs = [case for case in passing if has_all_needs(passing_changes, case)]
    if number_change is not None and all(has_all_needs((number_change,), case) for case in failing):
        passing_with_number = [
            case for case in passing_with_needs if has_all_needs((number_change,), case)
        ]
        if len(passing_with_number) < len(passing_with_needs):
            needs, passing_with_needs = (*needs, as_need(number_change)), passing_with_number
    terms = tuple(need.phrase for need in needs if not need.fails)
    # Calls shrink to one element before none, so a minimal case without elements needs that.
    if _are_empty((minimal, *failing)) and EMPTY_BATCH not in terms:
        terms, passing_with_needs = (*terms, EMPTY), []
    if passing_with_needs:
        separating = _find_separating_condition(
            [*map(_case_features, (minimal, *failing))], [*map(_case_features, passing_with_needs)]
        )
        if separating is not None:
            terms, passing_with_needs = (*terms, separating), []
    failing_count = len(failing) + len(other_failures)
    return tuple(needs), Share(
        terms, len(failing), failing_count, len(passing_with_needs), len(passing)
    )


def _are_empty(cases: Sequence[Case]) -> bool:
    """Whether each case has an operand without elements."""
    return all(Facts(case).get("empty") for case in cases)


def _case_features(case: Case) -> dict[str, Any]:
    """Features of a case: its structure, equal sizes, and the range of each input's numbers."""
    facts, spec = Facts(case), Facts(case).spec
    names = [f"{name}.{end}" for name in spec.signature.input_names for end in ("min", "max")]
    sizes = [argument.name for argument in spec.signature.arguments if argument.size]
    names += [EQUALITY_SIGN.join(pair) for pair in itertools.combinations(sizes, 2)]
    return {**features(case), **{name: facts.get(name) for name in names}}


def _find_separating_condition(
    failing: Sequence[Mapping[str, Any]], passing: Sequence[Mapping[str, Any]]
) -> str | None:
    """Find one condition that all failing cases meet and no passing case meets.

    If cases failed at random, a threshold on one feature would separate them with a probability of
    2 ÷ (ways to choose the failing cases). Each feature is one more chance.
    """
    feature_count = len({name for row in (*failing, *passing) for name in row})
    if 2 * feature_count > MAX_COINCIDENCE * math.comb(len(failing) + len(passing), len(passing)):
        return None
    rows = [*failing, *passing]
    is_failing = np.arange(len(rows)) < len(failing)
    rules = FeatureTable(rows).find_least_restrictive(is_failing, ~is_failing)
    if rules is None or len(rules) != 1 or len(rules[0]) != 1:
        return None
    return _condition_text(rules[0][0], [row.get(rules[0][0].feature) for row in passing])


def _condition_text(term: Term, passing: Sequence[Any]) -> str:
    """A condition in words; its threshold is the shortest number between failing and passing."""
    numbers = [x for x in passing if type(x) is float]
    if type(term.value) is not float and not (numbers and type(term.value) is int):
        return str(term)
    if term.relation == "≥" and numbers:
        return f"{term.feature} > {_shortest_number_between(max(numbers), float(term.value))}"
    if term.relation == "≤" and numbers:
        return f"{term.feature} < {_shortest_number_between(min(numbers), float(term.value))}"
    return str(term)


def _shortest_number_between(passing: float, failing: float) -> str:
    """The number with the fewest digits between a passing and a failing one, never the latter."""
    for digits in range(1, 17):
        for number in (passing, failing, (passing + failing) / 2):
            text = f"{number:.{digits}g}"
            low, high = sorted((passing, failing))
            is_between = low <= float(text) <= high and float(text) != failing
            if is_between:
                return text
    return repr(passing)
