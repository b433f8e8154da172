"""The space that a run covered: argument values of its cases, and their outcomes."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from conformance.reports.results import Run
from conformance.reports.statuses import verdicts

from conformance.model.case import DIGITS, Column, Verdict
from conformance.model.checks import facts_of

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
        bits: a bit for each case of the layer, set where it had the value.
    """

    text: str
    cases: int
    failed: int
    declined: int
    bits: int


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
        failing: a bit for each case, set where it failed.
    """

    layer: str
    cases: int
    failed: int
    declined: int
    arguments: tuple[ArgumentSpace, ...]
    failing: int

    @property
    def possible(self) -> int:
        """Number of pairs of values that were drawn, though perhaps not together."""
        counts = [len(a.values) for a in self.arguments if a.name != BROKEN]
        return sum(a * b for a, b in combinations(counts, 2))

    @property
    def met(self) -> int:
        """Number of pairs of values that met in a case."""
        values = [[value.bits for value in argument.values] for argument in self.arguments]
        return sum(
            sum(a & b != 0 for a in one for b in other) for one, other in combinations(values, 2)
        )

    def pair(self, one: ArgumentValue, other: ArgumentValue) -> tuple[int, int]:
        """The cases that had both values, and how many of them failed."""
        both = one.bits & other.bits
        return both.bit_count(), (both & self.failing).bit_count()


def spaces(run: Run) -> tuple[Space, ...]:
    """The space of each layer whose cases are recorded, in the order of the run."""
    found: dict[str, list[_Part]] = {}
    held: dict[tuple[str, str, bool], list[Verdict]] = {}
    for verdict in verdicts(run):
        # The cases of checks that are given invalid calls are others.
        key = (verdict.layer, verdict.dtype, facts_of(verdict.check).invalid)
        held.setdefault(key, []).append(verdict)
    for (layer, _, _), members in held.items():
        drawn = next((dict(v.drawn) for v in members if v.drawn), None)
        if drawn:
            found.setdefault(layer, []).append(_part(drawn, members))
    # What a layer of the same arguments had could have been drawn here, too.
    known: dict[frozenset[str], dict[str, dict[str, None]]] = {}
    for parts in found.values():
        values = known.setdefault(_names(parts), {})
        for part in parts:
            for name, column in part.drawn.items():
                values.setdefault(name, {}).update(dict.fromkeys(column.values))
    order = [name.split("-", 1)[0] for name in run.identity.items]
    layers = [layer for layer in dict.fromkeys((*order, *found)) if layer in found]
    return tuple(_space(layer, found[layer], known[_names(found[layer])]) for layer in layers)


@dataclass(frozen=True)
class _Part:
    """The cases of a layer in one dtype, and a bit for each of them by outcome."""

    drawn: Mapping[str, Column]
    count: int
    failing: int
    declined: int


def _names(parts: Sequence[_Part]) -> frozenset[str]:
    return frozenset(name for part in parts for name in part.drawn)


def _part(drawn: Mapping[str, Column], members: Sequence[Verdict]) -> _Part:
    """The outcome of each case over all checks: failed in any, else passed in any, else declined.

    Args:
        drawn: the cases' arguments.
        members: verdicts on these cases.
    """
    count = max(len(column.cases) for column in drawn.values())
    failing = passing = declined = 0
    for verdict in members:
        letters = expanded(verdict.outcomes).ljust(count)[:count].encode()
        failing |= _bits(letters, b"f")
        passing |= _bits(letters, b"p")
        declined |= _bits(letters, b"d")
    return _Part(drawn, count, failing, declined & ~failing & ~passing)


def _bits(text: bytes, character: bytes) -> int:
    """A bit for each character of a text, set where it is that one."""
    return int(b"0" + text.translate(_table(character)), 2)


@functools.cache
def _table(character: bytes) -> bytes:
    return b"".join(b"1" if code == ord(character) else b"0" for code in range(256))


def expanded(text: str) -> str:
    """`"2p1f"` as `"ppf"`; what is no such text is cut off."""
    parts = re.findall(r"(\d{1,6})([a-z])", text[:LONGEST_RUN])
    return "".join(letter * min(int(number), LONGEST_RUN) for number, letter in parts)[:LONGEST_RUN]


def _space(layer: str, parts: Sequence[_Part], known: Mapping[str, Mapping[str, None]]) -> Space:
    values: dict[str, dict[str, int]] = {}
    cases = failing = declined = 0
    for part in parts:
        failing |= part.failing << cases
        declined |= part.declined << cases
        for name, column in part.drawn.items():
            texts = dict(zip(DIGITS, column.values, strict=False))
            places = column.cases.ljust(part.count)
            encoded = places.encode("ascii", "replace")
            held = values.setdefault(name, {})
            for place in dict.fromkeys(places):
                text = texts.get(place, "?")
                bits = _bits(encoded, place.encode("ascii", "replace"))
                held[text] = held.get(text, 0) | bits << cases
        cases += part.count
    return Space(
        layer,
        cases,
        failing.bit_count(),
        declined.bit_count(),
        tuple(
            _argument(layer, name, held, failing, declined, known[name])
            for name, held in values.items()
        ),
        failing,
    )


def _argument(
    layer: str,
    name: str,
    held: Mapping[str, int],
    failing: int,
    declined: int,
    known: Mapping[str, None],
) -> ArgumentSpace:
    values = [
        ArgumentValue(
            text,
            bits.bit_count(),
            (bits & failing).bit_count(),
            (bits & declined).bit_count(),
            bits,
        )
        for text, bits in held.items()
    ]
    possible = dict(known)
    if possible.keys() & {"True", "False"}:
        possible |= dict.fromkeys(("True", "False"))
    impossible = re.compile(r"\d+-d.*|mixed" if layer.endswith("1d") else r"\d+-d.*")
    never = tuple(t for t in possible if t not in held and not impossible.fullmatch(t))
    return ArgumentSpace(name, tuple(sorted(values, key=lambda v: -v.cases)), never)
