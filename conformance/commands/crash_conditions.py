"""The fewest conditions that separate cases that end the process from cases that pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.items.planning import PROFILES, Item
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE
from conformance.matching.comparison import meets
from conformance.matching.facts import Facts
from conformance.model.case import Case, Verdict
from conformance.reports.argument_coverage import expanded
from conformance.reports.results import Run

TERMS = 3
"""Conditions to combine, at most."""


def cases_of(run: Run, verdict: Verdict, outcomes: str) -> Iterator[Case]:
    """The cases of an item that had one of some outcomes.

    Args:
        outcomes: letters of `OUTCOMES`.
    """
    identity = run.identity
    values = int(identity.options.get("values of each structure", "1"))
    # Results of another tool may name a profile that is not one of the suite.
    profile = PROFILES.get(identity.profile)
    samples = profile is not None and profile.samples
    item = replace(Item.of(verdict), samples=samples)
    stream = Stream(item, identity.examples, identity.seed, values)
    letters = expanded(verdict.outcomes or "")
    return (stream[k] for k, letter in enumerate(letters) if letter in outcomes)


def telling(lost: Sequence[Case], passing: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Tables of conditions: every crashing case matches one, no passing case matches any.

    Among tables of the same size the one that most cases meet wins. The suite leaves out the cases
    of such an entry or runs them in a fork, so the entry must not cover passing cases.

    Args:
        lost: the cases that end the process, the simplest first.
        passing: the cases that do not.
    """
    left = [Facts(case) for case in lost]
    others = [Facts(case) for case in passing]
    while left:
        conditions = dict(_of(left[0]))
        mine = {name: [_met(x, name, wanted) for x in left] for name, wanted in conditions.items()}
        theirs = {
            name: [_met(x, name, wanted) for x in others] for name, wanted in conditions.items()
        }
        names = _fewest(mine, theirs) if others else tuple(conditions)
        yield {name: conditions[name] for name in names}
        met = [all(mine[name][k] for name in names) for k in range(len(left))]
        left = [x for x, covered in zip(left, met, strict=True) if not covered]


def _fewest(
    mine: Mapping[str, Sequence[bool]], theirs: Mapping[str, Sequence[bool]]
) -> tuple[str, ...]:
    """The smallest set of conditions that no passing case meets, else all conditions."""
    for size in range(1, TERMS + 1):
        found = [
            names
            for names in itertools.combinations(mine, size)
            if not any(all(row) for row in zip(*(theirs[name] for name in names), strict=True))
        ]
        if found:
            return max(found, key=lambda n: sum(map(all, zip(*(mine[x] for x in n), strict=True))))
    return tuple(mine)


def _of(found: Facts) -> Iterator[tuple[str, Any]]:
    """Conditions on what is unusual in a case: on its arguments, then on its inputs."""
    case, row = found.case, CATALOGUE[found.case.call.layer]
    if found.get("empty"):
        yield "empty", True
    for name, value in {**case.call.arguments, **case.keywords}.items():
        argument = row.signature.argument(name)
        plain = row.signature.defaults.get(name, None if argument is None else argument.plain)
        numbers = value if isinstance(value, (tuple, list)) else (value,)
        if isinstance(value, (bool, str)) and value != plain:
            yield name, value
        elif type(plain) is int and all(type(n) is int for n in numbers) and max(numbers) > plain:
            yield name, f">{plain}"
    for place, array in enumerate(case.inputs):
        name = row.signature.input_names[place]
        if row.signature.inputs[place].optional:
            yield name, "absent" if array is None else "given"
        elif array is not None:
            yield f"{name}.ndim", f"=={array.ndim}"


def _met(found: Facts, name: str, wanted: Any) -> bool:
    return meets(found.get(name), wanted)
