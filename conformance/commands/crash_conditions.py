"""The fewest conditions that separate cases that end the process from cases that pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformance.items.planning import PROFILES, Item
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE
from conformance.matching.comparison import matches
from conformance.matching.facts import Facts
from conformance.model.case import Case, Verdict
from conformance.reports.argument_coverage import expand_outcomes
from conformance.reports.results import Run

MAX_CONDITIONS = 3
"""Conditions to combine, at most."""


def cases_with_outcome(run: Run, verdict: Verdict, outcomes: str) -> Iterator[Case]:
    """The cases of an item that had one of some outcomes.

    Args:
        outcomes: letters of `OUTCOMES`.
    """
    identity = run.identity
    values = int(identity.options.get("values of each structure", "1"))
    # Results of another tool may name a profile that is not one of the suite.
    profile = PROFILES.get(identity.profile)
    samples = profile is not None and profile.samples
    item = replace(Item.of_verdict(verdict), samples=samples)
    stream = Stream(item, identity.examples, identity.seed, values)
    letters = expand_outcomes(verdict.outcomes or "")
    return (stream[k] for k, letter in enumerate(letters) if letter in outcomes)


def separating_conditions(
    lost: Sequence[Case], passing: Sequence[Case]
) -> Iterator[dict[str, Any]]:
    """Tables of conditions: every crashing case matches one, no passing case matches any.

    Among tables of the same size the one that most cases meet wins. The suite leaves out the cases
    of such an entry or runs them in a fork, so the entry must not cover passing cases.

    Args:
        lost: the cases that end the process, the simplest first.
        passing: the cases that do not.
    """
    uncovered = [Facts(case) for case in lost]
    passing_facts = [Facts(case) for case in passing]
    while uncovered:
        conditions = dict(_unusual_conditions(uncovered[0]))
        lost_matches = {
            name: [_is_met(x, name, wanted) for x in uncovered]
            for name, wanted in conditions.items()
        }
        passing_matches = {
            name: [_is_met(x, name, wanted) for x in passing_facts]
            for name, wanted in conditions.items()
        }
        names = (
            _fewest_conditions(lost_matches, passing_matches)
            if passing_facts
            else tuple(conditions)
        )
        yield {name: conditions[name] for name in names}
        is_covered = [all(lost_matches[name][k] for name in names) for k in range(len(uncovered))]
        uncovered = [x for x, covered in zip(uncovered, is_covered, strict=True) if not covered]


def _fewest_conditions(
    lost_matches: Mapping[str, Sequence[bool]], passing_matches: Mapping[str, Sequence[bool]]
) -> tuple[str, ...]:
    """The smallest set of conditions that no passing case meets, else all conditions."""
    for size in range(1, MAX_CONDITIONS + 1):
        choices = [
            names
            for names in itertools.combinations(lost_matches, size)
            if not any(
                all(row) for row in zip(*(passing_matches[name] for name in names), strict=True)
            )
        ]
        if choices:
            return max(
                choices,
                key=lambda n: sum(map(all, zip(*(lost_matches[x] for x in n), strict=True))),
            )
    return tuple(lost_matches)


def _unusual_conditions(facts: Facts) -> Iterator[tuple[str, Any]]:
    """Conditions on what is unusual in a case: on its arguments, then on its inputs."""
    case, spec = facts.case, CATALOGUE[facts.case.call.layer]
    if facts.get("empty"):
        yield "empty", True
    for name, value in {**case.call.arguments, **case.keywords}.items():
        argument = spec.signature.argument(name)
        simplest = spec.signature.defaults.get(
            name, None if argument is None else argument.simplest
        )
        numbers = value if isinstance(value, (tuple, list)) else (value,)
        if isinstance(value, (bool, str)) and value != simplest:
            yield name, value
        elif (
            type(simplest) is int
            and all(type(n) is int for n in numbers)
            and max(numbers) > simplest
        ):
            yield name, f">{simplest}"
    for position, array in enumerate(case.inputs):
        name = spec.signature.input_names[position]
        if spec.signature.inputs[position].optional:
            yield name, "absent" if array is None else "given"
        elif array is not None:
            yield f"{name}.ndim", f"=={array.ndim}"


def _is_met(facts: Facts, name: str, wanted: Any) -> bool:
    return matches(facts.get(name), wanted)
