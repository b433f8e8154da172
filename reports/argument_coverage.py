"""The space that a run covered: argument values of its cases, and the results of these cases."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from conformance.reports.results import Run
from conformance.reports.statuses import unique_verdicts

from conformance.model.case import COLUMN_DIGITS, Column, Verdict
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
        arguments: for each argument or other fact, the values that were drawn.
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
            sum(a & b != 0 for a in values_of_one for b in values_of_other)
            for values_of_one, values_of_other in combinations(values, 2)
        )

    def pair(self, first: ArgumentValue, second: ArgumentValue) -> tuple[int, int]:
        """The number of cases with both values, and the number of these that failed."""
        both = first.bits & second.bits
        return both.bit_count(), (both & self.failing).bit_count()


def spaces(run: Run) -> tuple[Space, ...]:
    """The space of each layer whose cases are recorded, in the order of the run."""
    parts_by_layer: dict[str, list[_Part]] = {}
    verdicts_by_group: dict[tuple[str, str, bool], list[Verdict]] = {}
    for verdict in unique_verdicts(run):
        # Checks that get invalid calls have other cases.
        key = (verdict.layer, verdict.dtype, facts_of(verdict.check).invalid)
        verdicts_by_group.setdefault(key, []).append(verdict)
    for (layer, _, _), members in verdicts_by_group.items():
        drawn = next((dict(v.drawn) for v in members if v.drawn), None)
        if drawn:
            parts_by_layer.setdefault(layer, []).append(_combine_outcomes(drawn, members))
    # Values drawn for another layer with the same arguments were possible here, too.
    known_values: dict[frozenset[str], dict[str, dict[str, None]]] = {}
    for parts in parts_by_layer.values():
        values = known_values.setdefault(_names(parts), {})
        for part in parts:
            for name, column in part.drawn.items():
                values.setdefault(name, {}).update(dict.fromkeys(column.values))
    order = [name.split("-", 1)[0] for name in run.identity.items]
    layers = [
        layer for layer in dict.fromkeys((*order, *parts_by_layer)) if layer in parts_by_layer
    ]
    return tuple(
        _space(layer, parts_by_layer[layer], known_values[_names(parts_by_layer[layer])])
        for layer in layers
    )


@dataclass(frozen=True)
class _Part:
    """The cases of a layer in one dtype, with a bit for each case that failed or was declined."""

    drawn: Mapping[str, Column]
    count: int
    failing: int
    declined: int


def _names(parts: Sequence[_Part]) -> frozenset[str]:
    return frozenset(name for part in parts for name in part.drawn)


def _combine_outcomes(drawn: Mapping[str, Column], members: Sequence[Verdict]) -> _Part:
    """Combine the results of each case over all checks: failed wins over passed, then declined.

    `drawn` has the cases' arguments, and `members` are the verdicts on these cases.
    """
    count = max(len(column.cases) for column in drawn.values())
    failing = passing = declined = 0
    for verdict in members:
        letters = expand_outcomes(verdict.outcomes).ljust(count)[:count].encode()
        failing |= _bits_where(letters, b"f")
        passing |= _bits_where(letters, b"p")
        declined |= _bits_where(letters, b"d")
    return _Part(drawn, count, failing, declined & ~failing & ~passing)


def _bits_where(text: bytes, character: bytes) -> int:
    """A bit for each character of a text, set where it equals `character`."""
    return int(b"0" + text.translate(_table(character)), 2)


@functools.cache
def _table(character: bytes) -> bytes:
    return b"".join(b"1" if code == ord(character) else b"0" for code in range(256))


def expand_outcomes(text: str) -> str:
    """Expand `"2p1f"` to `"ppf"`; ignore text of another form."""
    parts = re.findall(r"(\d{1,6})([a-z])", text[:LONGEST_RUN])
    return "".join(letter * min(int(number), LONGEST_RUN) for number, letter in parts)[:LONGEST_RUN]


def _space(
    layer: str, parts: Sequence[_Part], known_values: Mapping[str, Mapping[str, None]]
) -> Space:
    values: dict[str, dict[str, int]] = {}
    cases = failing = declined = 0
    for part in parts:
        failing |= part.failing << cases
        declined |= part.declined << cases
        for name, column in part.drawn.items():
            texts = dict(zip(COLUMN_DIGITS, column.values, strict=False))
            digits = column.cases.ljust(part.count)
            encoded = digits.encode("ascii", "replace")
            bits_by_value = values.setdefault(name, {})
            for digit in dict.fromkeys(digits):
                text = texts.get(digit, "?")
                bits = _bits_where(encoded, digit.encode("ascii", "replace"))
                bits_by_value[text] = bits_by_value.get(text, 0) | bits << cases
        cases += part.count
    return Space(
        layer,
        cases,
        failing.bit_count(),
        declined.bit_count(),
        tuple(
            _argument(layer, name, bits_by_value, failing, declined, known_values[name])
            for name, bits_by_value in values.items()
        ),
        failing,
    )


def _argument(
    layer: str,
    name: str,
    bits_by_value: Mapping[str, int],
    failing: int,
    declined: int,
    known_values: Mapping[str, None],
) -> ArgumentSpace:
    values = [
        ArgumentValue(
            text,
            bits.bit_count(),
            (bits & failing).bit_count(),
            (bits & declined).bit_count(),
            bits,
        )
        for text, bits in bits_by_value.items()
    ]
    possible = dict(known_values)
    if possible.keys() & {"True", "False"}:
        possible |= dict.fromkeys(("True", "False"))
    impossible = re.compile(r"\d+-d.*|mixed" if layer.endswith("1d") else r"\d+-d.*")
    not_drawn = tuple(t for t in possible if t not in bits_by_value and not impossible.fullmatch(t))
    return ArgumentSpace(name, tuple(sorted(values, key=lambda v: -v.cases)), not_drawn)
