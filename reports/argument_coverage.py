"""The space that a run covered: argument values of its cases, and the results of these cases."""

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
"""The column of invalid calls; it takes no part in pairs of values."""


@dataclass(frozen=True)
class ArgumentValue:
    """One value of an argument.

    Args:
        text: the value.
        cases: number of cases with the value.
        failed: number of these that failed in at least one check.
        declined: number of these that the backend declined in every check that reached them.
        bits: a bit for each case of the layer, set if the case has the value.
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
        values: values that were drawn, the most frequent first.
        never: possible values that were not drawn: drawn for another layer, or the other boolean.
    """

    name: str
    values: tuple[ArgumentValue, ...]
    never: tuple[str, ...]


@dataclass(frozen=True)
class Space:
    """The cases drawn for a layer, over all dtypes; a case is the same on all devices.

    Args:
        layer: its name.
        cases: number of cases.
        failed: number of cases that failed in at least one check.
        declined: number of cases that the backend declined.
        arguments: the arguments.
        failing: a bit for each case, set if the case failed.
    """

    layer: str
    cases: int
    failed: int
    declined: int
    arguments: tuple[ArgumentSpace, ...]
    failing: int

    @property
    def possible(self) -> int:
        """Number of pairs of drawn values of different arguments."""
        counts = [len(a.values) for a in self.arguments if a.name != BROKEN]
        return sum(a * b for a, b in combinations(counts, 2))

    @property
    def met(self) -> int:
        """Number of pairs of values that occurred in one case."""
        values = [[value.bits for value in argument.values] for argument in self.arguments]
        return sum(
            sum(a & b != 0 for a in one for b in other) for one, other in combinations(values, 2)
        )

    def pair(self, one: ArgumentValue, other: ArgumentValue) -> tuple[int, int]:
        """The number of cases with both values, and the number of these that failed."""
        both = one.bits & other.bits
        return both.bit_count(), (both & self.failing).bit_count()


def spaces(run: Run) -> tuple[Space, ...]:
    """The space of each layer whose cases are recorded, in the order of the run."""
    found: dict[str, list[_Part]] = {}
    held: dict[tuple[str, str, bool], list[Verdict]] = {}
    for verdict in verdicts(run):
        # Checks that get invalid calls have other cases.
        key = (verdict.layer, verdict.dtype, facts_of(verdict.check).invalid)
        held.setdefault(key, []).append(verdict)
    for (layer, _, _), members in held.items():
        drawn = next((dict(v.drawn) for v in members if v.drawn), None)
        if drawn:
            found.setdefault(layer, []).append(_part(drawn, members))
    # Values drawn for another layer with the same arguments were possible here, too.
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
    """The cases of a layer in one dtype, with a bit for each case that failed or was declined."""

    drawn: Mapping[str, Column]
    count: int
    failing: int
    declined: int


def _names(parts: Sequence[_Part]) -> frozenset[str]:
    return frozenset(name for part in parts for name in part.drawn)


def _part(drawn: Mapping[str, Column], members: Sequence[Verdict]) -> _Part:
    """Combine the results of each case over all checks: failed wins over passed, then declined.

    `drawn` has the cases' arguments, and `members` are the verdicts on these cases.
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
    """A bit for each character of a text, set where it equals `character`."""
    return int(b"0" + text.translate(_table(character)), 2)


@functools.cache
def _table(character: bytes) -> bytes:
    return b"".join(b"1" if code == ord(character) else b"0" for code in range(256))


def expanded(text: str) -> str:
    """Expand `"2p1f"` to `"ppf"`; ignore text of another form."""
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
