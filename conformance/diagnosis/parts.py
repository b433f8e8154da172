"""Which of the calls that a call is made of fails by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.arithmetic.precision import Precision
from conformance.checks import EVERY_CHECK
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure, applicable_entries
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike
    from conformance.model.finding import Finding


LAYOUT_TRIES = 8
"""In how many layouts a part is tried that is right as it is."""


def has_parts(case: Case) -> bool:
    """Whether a call is made of calls of other layers."""
    return CATALOGUE[case.call.layer].oracle.parts is not None


def failing_parts(
    engine: EngineLike, item: Item, case: Case
) -> Iterator[tuple[Item, Case, Outcome]]:
    """The parts of a case that fail by themselves, on the true operands.

    A part fails the same check. In half precision it may fail `layout` instead: its operands lie in
    memory as other parts left them, and kernels then round more often.
    """
    list_parts = CATALOGUE[case.call.layer].oracle.parts
    assert list_parts is not None
    precision = Precision.of(case.call.dtype, engine.numerics(item))
    for part in list_parts(case, precision):
        tries = [(item.check, part.seed)]
        if precision.is_half and part.call.layer != case.call.layer:
            tries += [("layout", part.seed + k) for k in range(LAYOUT_TRIES)]
        for check, seed in tries:
            part_item = replace(item, layer=part.call.layer, check=check)
            part = replace(part, seed=seed)
            if _excuses(engine, part_item).find_process_ending(part) is not None:
                continue
            outcome = engine.outcome(part_item, part, engine.numerics(part_item))
            if outcome.failure is not None:
                yield part_item, part, outcome
                break


def _excuses(engine: EngineLike, item: Item) -> Excuses:
    entries = applicable_entries(engine.known, item, engine.backend.name, engine.base(item.layer))
    return Excuses(tuple(entries.values()), EVERY_CHECK[item.check])


def find_excuse_of_part(
    engine: EngineLike, item: Item, case: Case, failure: Finding | None
) -> KnownFailure | None:
    """The known failure of a part that fails by itself; None if no part does, or none is listed.

    Args:
        failure: how the case fails. A part that raises explains no wrong number of a case that does
            not: there the part was called, and answered.
    """
    for part_item, part, outcome in failing_parts(engine, item, case):
        raised = outcome.failure is not None and outcome.failure.exception
        if raised and failure is not None and not failure.exception:
            continue
        excuses = _excuses(engine, part_item)
        entry = excuses.find_explanation(part, outcome.message, outcome.failure)
        if entry is not None:
            return entry
    # What ends a process by chance gives wrong numbers where it does not.
    return next((entry for _, entry in _crashing_parts(engine, item, case)), None)


def _crashing_parts(
    engine: EngineLike, item: Item, case: Case
) -> Iterator[tuple[Case, KnownFailure]]:
    """The parts of a case that are known to end the process by a crash, each with its entry."""
    list_parts = CATALOGUE[case.call.layer].oracle.parts
    assert list_parts is not None
    for part in list_parts(case, Precision.of(case.call.dtype, engine.numerics(item))):
        excuses = _excuses(engine, replace(item, layer=part.call.layer))
        entry = excuses.find_process_ending(part, "crashed")
        if entry is not None:
            yield part, entry


def describe_parts(engine: EngineLike, item: Item, case: Case) -> str:
    """Whether a part of a failing case fails by itself, in one line."""
    for part_item, part, _ in failing_parts(engine, item, case):
        where = "" if part_item.check == item.check else f" in the check {part_item.check}"
        return f"fails alone, too{where}: {case_text(part)}"
    return "each of its nodes alone is right"
