"""Find conditions that hold for some cases and for no others, least or most restrictive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

MAX_TERMS = 4  # most terms of a conjunction
MAX_RULES = 3  # most rules of a disjunction
MAX_GROUP_CASES = 200  # most cases from which a rule of a disjunction is made


@dataclass(frozen=True, eq=False)
class Term:
    """One condition on one feature, and the cases that meet it.

    Args:
        feature: its name.
        relation: how the feature compares with the value: `"="`, `"≠"`, `"≥"` or `"≤"`.
        value: the value to compare with.
        met: one bool for each case: whether it meets the condition.
    """

    feature: str
    relation: str
    value: Any
    met: np.ndarray

    def __str__(self) -> str:
        if isinstance(self.value, bool) and self.relation == "=" and " " in self.feature:
            return self.feature if self.value else f"not: {self.feature}"
        return f"{self.feature} {self.relation} {self.value!r}"


Conjunction = tuple[Term, ...]


def format_rules(rules: Sequence[Conjunction], max_terms: int = 8) -> str:
    """Rules in words; the empty conjunction is "always".

    Args:
        rules: alternatives, of which one must hold.
        max_terms: largest number of terms to show of one rule.
    """
    return " or ".join(_format_rule(rule, max_terms) for rule in rules)


def _format_rule(rule: Conjunction, max_terms: int) -> str:
    texts = [str(term) for term in rule[:max_terms]]
    if len(rule) > max_terms:
        texts.append(f"{len(rule) - max_terms} more")
    return " and ".join(texts) or "always"


class FeatureTable:
    """A table with one row of features for each case.

    Args:
        rows: the features of each case.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows
        self.count = len(rows)

    @cached_property
    def _columns(self) -> dict[str, tuple[list[Any], np.ndarray]]:
        """Feature → its values (None if absent), and the same as numbers (NaN if not a number)."""
        columns = {}
        for name in dict.fromkeys(name for row in self.rows for name in row):
            values = [row.get(name) for row in self.rows]
            numbers = [np.nan if (n := _as_number(v)) is None else n for v in values]
            columns[name] = (values, np.array(numbers))
        return columns

    def common_terms(self, is_chosen: np.ndarray) -> Conjunction:
        """The terms that all chosen cases meet, without those that every case meets.

        Args:
            is_chosen: one bool for each case; at least one is true.
        """
        terms = (
            term
            for name, (values, numbers) in self._columns.items()
            for term in self._terms_of_feature(name, values, numbers, is_chosen)
        )
        return tuple(term for term in terms if not term.met.all())

    def _terms_of_feature(
        self, name: str, values: list[Any], numbers: np.ndarray, chosen: np.ndarray
    ) -> Iterator[Term]:
        chosen_values = [values[k] for k in np.flatnonzero(chosen)]
        first = chosen_values[0]
        if all(_equal_with_type(v, first) for v in chosen_values) and first is not None:
            yield Term(name, "=", first, np.array([_equal_with_type(v, first) for v in values]))
        chosen_numbers = numbers[chosen]
        if not np.isnan(chosen_numbers).any():
            for relation, bound in (("≥", chosen_numbers.min()), ("≤", chosen_numbers.max())):
                met = numbers >= bound if relation == "≥" else numbers <= bound
                yield Term(name, relation, _as_int_if_whole(bound), met)
            return
        for other_value in sorted({v for v in values if isinstance(v, str)}):
            if other_value not in chosen_values:
                yield Term(name, "≠", other_value, np.array([v != other_value for v in values]))

    def find_least_restrictive(
        self, chosen: np.ndarray, excluded: np.ndarray, mentioned: Sequence[str] = ()
    ) -> Sequence[Conjunction] | None:
        """Find the least restrictive rules that hold for all chosen cases and for no other case.

        Args:
            chosen: one bool for each case: the rules must hold.
            excluded: one bool for each case: no rule may hold. Cases in neither do not matter.
            mentioned: names that a condition should preferably use.

        Returns:
            One conjunction if it suffices, else several alternatives. None if more than `MAX_RULES`
            would be needed, or more than one for every two cases.
        """
        if not excluded.any():
            return ((),)
        rule = self._find_rule(chosen, excluded, mentioned)
        if rule is not None:
            return (rule,)
        uncovered = chosen.copy()
        rules: list[Conjunction] = []
        while uncovered.any():
            if len(rules) == MAX_RULES:
                return None
            group = self._group_with_common_terms(uncovered, excluded)
            rule = None if group is None else self._find_rule(group, excluded, mentioned)
            if group is None or rule is None:
                return None
            rules.append(rule)
            uncovered &= ~self._matching_cases(rule)
        return rules if 2 * len(rules) <= chosen.sum() else None

    def _group_with_common_terms(
        self, uncovered: np.ndarray, excluded: np.ndarray
    ) -> np.ndarray | None:
        """Collect cases, from the first, while they share terms that no other case meets."""
        group = np.zeros(self.count, dtype=bool)
        for k in np.flatnonzero(uncovered)[:MAX_GROUP_CASES]:
            extended = group.copy()
            extended[k] = True
            if self._matching_cases(self.common_terms(extended))[excluded].any():
                continue
            group = extended
        return group if group.any() else None

    def _find_rule(
        self, chosen: np.ndarray, excluded: np.ndarray, mentioned: Sequence[str]
    ) -> Conjunction | None:
        terms = self.common_terms(chosen)
        if self._matching_cases(terms)[excluded].any():
            return None

        def rank(term: Term) -> tuple[bool, int, bool]:
            is_mentioned = any(name in term.feature for name in mentioned)
            return is_mentioned, int(term.met.sum()), term.relation == "="

        sufficient = [term for term in terms if not term.met[excluded].any()]
        if sufficient:
            return (max(sufficient, key=rank),)
        rule: list[Term] = []
        remaining = excluded.copy()
        while remaining.any() and len(rule) < MAX_TERMS:
            best = max(terms, key=lambda t: (int((remaining & ~t.met).sum()), *rank(t)))
            rule.append(best)
            remaining &= best.met
        if remaining.any():
            return None
        for term in tuple(rule):
            without_term = [t for t in rule if t is not term]
            if not self._matching_cases(without_term)[excluded].any():
                rule = without_term
        return tuple(rule)

    def _matching_cases(self, terms: Sequence[Term]) -> np.ndarray:
        """One bool for each case: whether it meets all terms."""
        met = np.ones(self.count, dtype=bool)
        for term in terms:
            met &= term.met
        return met


def simplify_terms(terms: Conjunction) -> Conjunction:
    """Drop bounds that an equality implies; the terms that fewest cases meet come first."""
    features_with_equality = {term.feature for term in terms if term.relation == "="}
    needed_terms = [
        t for t in terms if t.relation == "=" or t.feature not in features_with_equality
    ]
    return tuple(sorted(needed_terms, key=lambda term: int(term.met.sum())))


def _as_number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None


def _equal_with_type(a: Any, b: Any) -> bool:
    """Whether values and types are equal, so that True differs from 1."""
    return type(a) is type(b) and bool(a == b)


def _as_int_if_whole(number: float) -> float | int:
    return int(number) if float(number).is_integer() else float(number)
