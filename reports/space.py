"""The space that a run covered: argument values of its cases, and their outcomes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from conformance.reports.results import Run
from conformance.reports.statuses import verdicts

from conformance.model.case import Column, Verdict

# Checks that are given invalid calls; their cases are others.
INVALID = ("errors",)
LONGEST_RUN = 100_000
BROKEN = "broken constraint"
"""The column of an invalid call; it stands alone, and meets no other."""


@dataclass(frozen=True)
class ArgumentValue:
    """One value of an argument.

    Args:
        text: the value.
        cases: how many cases had it.
        failed: of these, how many failed in at least one check.
        declined: how many the backend declined, in every check that came to them.
    """

    text: str
    cases: int
    failed: int
    declined: int


@dataclass(frozen=True)
class ArgumentSpace:
    """One argument of a layer, or another fact of its cases.

    Args:
        name: of the argument.
        values: drawn, the most frequent first.
        never: not drawn here, but for another layer, or by their nature possible.
    """

    name: str
    values: tuple[ArgumentValue, ...]
    never: tuple[str, ...]


@dataclass(frozen=True)
class Space:
    """What was drawn for a layer, over all dtypes; a case is the same on all devices.

    Args:
        layer: its name.
        cases: number of cases.
        failed: of these, how many failed in at least one check.
        declined: how many were declined.
        arguments: the arguments.
        pairs: two arguments and a value of each → cases and failed ones; absent = never drawn.
    """

    layer: str
    cases: int
    failed: int
    declined: int
    arguments: tuple[ArgumentSpace, ...]
    pairs: Mapping[tuple[str, str, str, str], tuple[int, int]]

    @property
    def possible(self) -> int:
        """Number of pairs of values that were drawn, though perhaps not together."""
        counts = [len(a.values) for a in self.arguments if a.name != BROKEN]
        return sum(a * b for a, b in combinations(counts, 2))

    @property
    def met(self) -> int:
        """Number of pairs of values that met in a case."""
        return len(self.pairs)


def spaces(run: Run) -> tuple[Space, ...]:
    """The space of each layer whose cases are recorded, in the order of the run."""
    found: dict[str, list[tuple[dict[str, Column], list[str]]]] = {}
    held: dict[tuple[str, str, bool], list[Verdict]] = {}
    for verdict in verdicts(run):
        key = (verdict.layer, verdict.dtype, verdict.check in INVALID)
        held.setdefault(key, []).append(verdict)
    for (layer, _, _), members in held.items():
        drawn = next((dict(v.drawn) for v in members if v.drawn), None)
        if drawn:
            found.setdefault(layer, []).append((drawn, outcomes(members, drawn)))
    # What a layer of the same arguments had could have been drawn here, too.
    known: dict[frozenset[str], dict[str, dict[str, None]]] = {}
    for parts in found.values():
        values = known.setdefault(_names(parts), {})
        for drawn, _ in parts:
            for name, column in drawn.items():
                values.setdefault(name, {}).update(dict.fromkeys(column.values))
    order = [name.split("-", 1)[0] for name in run.identity.items]
    layers = [layer for layer in dict.fromkeys((*order, *found)) if layer in found]
    return tuple(_space(layer, found[layer], known[_names(found[layer])]) for layer in layers)


def _names(parts: Sequence[tuple[dict[str, Column], list[str]]]) -> frozenset[str]:
    return frozenset(name for drawn, _ in parts for name in drawn)


def outcomes(members: Sequence[Verdict], drawn: Mapping[str, Column]) -> list[str]:
    """Outcome of each case over all checks: f, p, d, or a blank for none.

    Args:
        members: verdicts on the same cases.
        drawn: the cases' arguments.
    """
    count = max(len(column.cases) for column in drawn.values())
    every = [expanded(v.outcomes).ljust(count)[:count] for v in members if v.outcomes]
    found = []
    for letters in zip(*every, strict=True):
        found.append(next((letter for letter in "fpd" if letter in letters), " "))
    return found or [" "] * count


def expanded(text: str) -> str:
    """`"2p1f"` as `"ppf"`; what is no such text is cut off."""
    parts = re.findall(r"(\d{1,6})([a-z])", text[:LONGEST_RUN])
    return "".join(letter * min(int(number), LONGEST_RUN) for number, letter in parts)[:LONGEST_RUN]


def _space(
    layer: str,
    parts: Sequence[tuple[dict[str, Column], list[str]]],
    known: Mapping[str, Mapping[str, None]],
) -> Space:
    totals: Counter[str] = Counter()
    values: dict[str, Counter[tuple[str, str]]] = {}
    pairs: Counter[tuple[str, str, str, str, str]] = Counter()
    for drawn, letters in parts:
        texts = {name: column.texts(len(letters)) for name, column in drawn.items()}
        totals.update(letters)
        for name, column in texts.items():
            values.setdefault(name, Counter()).update(zip(column, letters, strict=True))
        for one, other in combinations(texts, 2):
            pairs.update(
                (one, other, a, b, letter)
                for a, b, letter in zip(texts[one], texts[other], letters, strict=True)
            )
    joined: dict[tuple[str, str, str, str], tuple[int, int]] = {}
    for (one, other, a, b, letter), number in pairs.items():
        cases, failed = joined.get((one, other, a, b), (0, 0))
        joined[one, other, a, b] = cases + number, failed + number * (letter == "f")
    return Space(
        layer,
        sum(totals.values()),
        totals["f"],
        totals["d"],
        tuple(_argument(layer, name, counts, known[name]) for name, counts in values.items()),
        joined,
    )


def _argument(
    layer: str, name: str, counts: Mapping[tuple[str, str], int], known: Mapping[str, None]
) -> ArgumentSpace:
    texts = dict.fromkeys(text for text, _ in counts)
    values = [
        ArgumentValue(
            text,
            sum(number for (t, _), number in counts.items() if t == text),
            counts.get((text, "f"), 0),
            counts.get((text, "d"), 0),
        )
        for text in texts
    ]
    possible = dict(known)
    if possible.keys() & {"True", "False"}:
        possible |= dict.fromkeys(("True", "False"))
    impossible = re.compile(r"\d+-d.*|mixed" if layer.endswith("1d") else r"\d+-d.*")
    never = tuple(t for t in possible if t not in texts and not impossible.fullmatch(t))
    return ArgumentSpace(name, tuple(sorted(values, key=lambda v: -v.cases)), never)
