"""Find known failures whose pinned case does not fail in this run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks import EVERY_CHECK
from conformance.items.forks import ALLOWED
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import Known, named
from conformance.layers import CATALOGUE
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike

_NOW = {
    "passed": "passes now",
    "unsupported": "is declined now",
    "invalid": "is none that the check applies to",
}


def not_failing(
    engine: EngineLike,
    item: Item,
    applies: Mapping[int, Known],
    dead: Collection[int],
    left: Callable[[], float],
) -> list[tuple[Known, str]]:
    """The strict known failures of an item whose pinned case does not fail, and what it does.

    For an entry about several checks, it is enough that the case fails in one of them.

    Args:
        applies: the known failures that apply to the item, by their index.
        dead: indices of entries whose pinned case is known to end the process.
        left: returns the remaining seconds of the item's budget.
    """
    found = []
    for index, entry in applies.items():
        if left() <= 0 or index in dead or (entry.deadly and not engine.expendable):
            continue

        def run(item: Item, case: Case, index: int = index, entry: Known = entry) -> Outcome:
            return tried(engine, item, case, entry.status, index)

        now = passes_now(item, entry, run)
        if now:
            found.append((entry, now))
    return found


def passes_now(item: Item, entry: Known, run: Callable[[Item, Case], Outcome]) -> str:
    """What the pinned case of an entry does instead of failing; empty if it fails.

    Empty, too, for an entry that never becomes stale, or that has no case for the item.

    Args:
        run: returns the outcome of a case.
    """
    case = entry.pinned(item.dtype, item.device, item.id)
    if case is None or not entry.strict or entry.base:
        return ""
    results = []
    for check in checks_of(item, entry, case):
        status = run(replace(item, check=check), case).status
        if status not in _NOW:
            return ""
        results.append(_NOW[status])
    return results[0] if results else ""


def checks_of(item: Item, entry: Known, case: Case) -> list[str]:
    """The checks that an entry names and that apply to its pinned case, the item's check first."""
    row, invalid = CATALOGUE[case.call.layer], "broken" in case.labels
    checks = [
        name
        for name, check in EVERY_CHECK.items()
        if check.invalid == invalid and check.applies(row) and named(name, entry.check)
    ]
    if item.check not in checks:
        return []  # the item's check does not apply to the pinned layer or call
    return [item.check, *(name for name in checks if name != item.check)]


def tried(engine: EngineLike, item: Item, case: Case, status: str, index: int = 0) -> Outcome:
    """Run a pinned case, in a copy of the process if it is expected to end that.

    Args:
        status: its expected status.
        index: index of its known failure.
    """
    if status in ALLOWED and engine.copies.serve(item):
        copied = engine.copies.run(item, case, ALLOWED[status])
        # The case may finish in the full time for a case, so run it in this process, too.
        if copied is not None and copied.status == status:
            return copied
    engine.note("pinned", index, 0)
    return engine.outcome(item, case, engine.numerics(item.dtype))
