"""Find conditions that hold for some cases and for no others, least or most restrictive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

TERMS = 4  # most terms of a conjunction
RULES = 3  # most rules of a disjunction
TRIED = 200  # most cases from which a rule of a disjunction is made


@dataclass(frozen=True, eq=False)
class Term:
    """One condition on one feature, and the cases that meet it.

    Args:
        feature: its name.
        relation: `"="`, `"≠"`, `"≥"` or `"≤"`.
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


def format_rules(rules: Sequence[Conjunction], most: int = 8) -> str:
    """Rules in words; the empty conjunction is "always".

    Args:
        rules: alternatives, of which one must hold.
        most: largest number of terms to show of one rule.
    """
    return " or ".join(_conjunction(rule, most) for rule in rules)


def _conjunction(rule: Conjunction, most: int) -> str:
    shown = [str(term) for term in rule[:most]]
    if len(rule) > most:
        shown.append(f"{len(rule) - most} more")
    return " and ".join(shown) or "always"


class Table:
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
            numbers = [np.nan if (n := _number(v)) is None else n for v in values]
            columns[name] = (values, np.array(numbers))
        return columns

    def common(self, chosen: np.ndarray) -> Conjunction:
        """The terms that all chosen cases meet, without those that every case meets.

        Args:
            chosen: one bool for each case; at least one is true.
        """
        terms = (
            term
            for name, (values, numbers) in self._columns.items()
            for term in self._terms(name, values, numbers, chosen)
        )
        return tuple(term for term in terms if not term.met.all())

    def _terms(
        self, name: str, values: list[Any], numbers: np.ndarray, chosen: np.ndarray
    ) -> Iterator[Term]:
        inside = [values[k] for k in np.flatnonzero(chosen)]
        first = inside[0]
        if all(_same(v, first) for v in inside) and first is not None:
            yield Term(name, "=", first, np.array([_same(v, first) for v in values]))
        here = numbers[chosen]
        if not np.isnan(here).any():
            for relation, bound in (("≥", here.min()), ("≤", here.max())):
                met = numbers >= bound if relation == "≥" else numbers <= bound
                yield Term(name, relation, _plain(bound), met)
            return
        for other in sorted({v for v in values if isinstance(v, str)}):
            if other not in inside:
                yield Term(name, "≠", other, np.array([v != other for v in values]))

    def least(
        self, chosen: np.ndarray, others: np.ndarray, mentioned: Sequence[str] = ()
    ) -> Sequence[Conjunction] | None:
        """Find the least restrictive rules that hold for all chosen cases and for no other case.

        Args:
            chosen: one bool for each case: the rules must hold.
            others: one bool for each case: no rule may hold. Cases in neither do not matter.
            mentioned: names that a condition should preferably use.

        Returns:
            One conjunction if it suffices, else several alternatives. None if more than `RULES`
            would be needed, or more than one for every two cases.
        """
        if not others.any():
            return ((),)
        rule = self._rule(chosen, others, mentioned)
        if rule is not None:
            return (rule,)
        left = chosen.copy()
        rules: list[Conjunction] = []
        while left.any():
            if len(rules) == RULES:
                return None
            group = self._together(left, others)
            rule = None if group is None else self._rule(group, others, mentioned)
            if group is None or rule is None:
                return None
            rules.append(rule)
            left &= ~self._all(rule)
        return rules if 2 * len(rules) <= chosen.sum() else None

    def _together(self, left: np.ndarray, others: np.ndarray) -> np.ndarray | None:
        """Collect cases, from the first, while they share terms that no other case meets."""
        group = np.zeros(self.count, dtype=bool)
        for k in np.flatnonzero(left)[:TRIED]:
            wider = group.copy()
            wider[k] = True
            if self._all(self.common(wider))[others].any():
                continue
            group = wider
        return group if group.any() else None

    def _rule(
        self, chosen: np.ndarray, others: np.ndarray, mentioned: Sequence[str]
    ) -> Conjunction | None:
        terms = self.common(chosen)
        if self._all(terms)[others].any():
            return None

        def rank(term: Term) -> tuple[bool, int, bool]:
            named = any(name in term.feature for name in mentioned)
            return named, int(term.met.sum()), term.relation == "="

        alone = [term for term in terms if not term.met[others].any()]
        if alone:
            return (max(alone, key=rank),)
        rule: list[Term] = []
        left = others.copy()
        while left.any() and len(rule) < TERMS:
            best = max(terms, key=lambda t: (int((left & ~t.met).sum()), *rank(t)))
            rule.append(best)
            left &= best.met
        if left.any():
            return None
        for term in tuple(rule):
            fewer = [t for t in rule if t is not term]
            if not self._all(fewer)[others].any():
                rule = fewer
        return tuple(rule)

    def _all(self, terms: Sequence[Term]) -> np.ndarray:
        """One bool for each case: whether it meets all terms."""
        met = np.ones(self.count, dtype=bool)
        for term in terms:
            met &= term.met
        return met


def tightest(terms: Conjunction) -> Conjunction:
    """Drop bounds that an equality implies; the terms that fewest cases meet come first."""
    equal = {term.feature for term in terms if term.relation == "="}
    kept = [t for t in terms if t.relation == "=" or t.feature not in equal]
    return tuple(sorted(kept, key=lambda term: int(term.met.sum())))


def _number(value: Any) -> float | None:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain else None


def _same(a: Any, b: Any) -> bool:
    """Whether values and types are equal, so that True differs from 1."""
    return type(a) is type(b) and bool(a == b)


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else float(number)
