"""Find known failures whose pinned case does not fail in this run, and mended ones that do."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.checks import EVERY_CHECK
from conformance.items.forks import ALLOWED_SECONDS
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure, applicable_entries, matches_globs
from conformance.layers import CATALOGUE
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike

_NOT_FAILING_TEXTS = {
    "passed": "passes now",
    "unsupported": "is declined now",
    "invalid": "is none that the check applies to",
}


def find_not_failing(
    engine: EngineLike,
    item: Item,
    entries: Mapping[int, KnownFailure],
    fatal: Collection[int],
    seconds_left: Callable[[], float],
) -> list[tuple[KnownFailure, str]]:
    """The strict known failures of an item whose pinned case does not fail, and what it does.

    For an entry about several checks, it is enough that the case fails in one of them.

    Args:
        entries: the known failures that apply to the item, by their index.
        fatal: indices of entries whose pinned case is known to end the process.
        seconds_left: returns the remaining seconds of the item's budget.
    """
    not_failing_entries = []
    for index, entry in entries.items():
        if seconds_left() <= 0 or index in fatal:
            continue
        if entry.ends_process and (not engine.expendable or not is_judged_in_copies(item)):
            continue  # another check of the entry shows it

        def run_case(
            item: Item, case: Case, index: int = index, entry: KnownFailure = entry
        ) -> Outcome:
            return run_pinned_case(engine, item, case, entry.status, index)

        outcome_text = describe_not_failing(item, entry, run_case)
        if outcome_text:
            not_failing_entries.append((entry, outcome_text))
    return not_failing_entries


def find_returned(
    engine: EngineLike, item: Item, fatal: Collection[int], seconds_left: Callable[[], float]
) -> Iterator[tuple[KnownFailure, Outcome]]:
    """The mended known failures of an item whose pinned case fails again as it did.

    Args:
        fatal, seconds_left: as of `find_not_failing`.
    """
    mended = {k: x for k, x in enumerate(engine.known) if x.strict and not x.base and x.is_mended}
    current = [replace(entry, versions={}) for entry in mended.values()]
    for place, entry in applicable_entries(current, item, engine.backend.name).items():
        index = list(mended)[place]
        case = entry.pinned_case(item.dtype, item.device, item.id)
        if seconds_left() <= 0 or index in fatal or case is None:
            continue
        can_end = engine.expendable and is_judged_in_copies(item)
        if not checks_of_entry(item, entry, case) or (entry.ends_process and not can_end):
            continue
        outcome = run_pinned_case(engine, item, case, entry.status, index)
        if outcome.status == entry.status and fnmatch.fnmatchcase(outcome.message, entry.said):
            yield entry, outcome


def is_judged_in_copies(item: Item) -> bool:
    """Whether the item's check applies in a copy of the process."""
    return not EVERY_CHECK[item.check].facts.says_nothing_in_copies


def describe_not_failing(
    item: Item, entry: KnownFailure, run_case: Callable[[Item, Case], Outcome]
) -> str:
    """What the pinned case of an entry does instead of failing; empty if it fails.

    Empty, too, for an entry that never becomes stale, or that has no case for the item.

    Args:
        run_case: returns the outcome of a case.
    """
    case = entry.pinned_case(item.dtype, item.device, item.id)
    if case is None or not entry.strict or entry.base:
        return ""
    texts = []
    for check in checks_of_entry(item, entry, case):
        status = run_case(replace(item, check=check), case).status
        if status not in _NOT_FAILING_TEXTS:
            return ""
        texts.append(_NOT_FAILING_TEXTS[status])
    return texts[0] if texts else ""


def checks_of_entry(item: Item, entry: KnownFailure, case: Case) -> list[str]:
    """The checks that an entry names and that apply to its pinned case, the item's check first."""
    spec, invalid = CATALOGUE[case.call.layer], "broken" in case.labels
    checks = [
        name
        for name, check in EVERY_CHECK.items()
        if check.invalid == invalid and check.applies(spec) and matches_globs(name, entry.check)
    ]
    if item.check not in checks:
        return []  # the item's check does not apply to the pinned layer or call
    return [item.check, *(name for name in checks if name != item.check)]


def run_pinned_case(
    engine: EngineLike, item: Item, case: Case, status: str, index: int = 0
) -> Outcome:
    """Run a pinned case, in a copy of the process if it is expected to end that.

    Args:
        status: its expected status.
        index: index of its known failure.
    """
    if status in ALLOWED_SECONDS and engine.forks.can_run(item):
        forked_outcome = engine.forks.run(item, case, ALLOWED_SECONDS[status])
        # The case may finish in the full time for a case, so run it in this process, too.
        if forked_outcome is not None and forked_outcome.status == status:
            return forked_outcome
    engine.note("pinned", index, 0)
    return engine.outcome(item, case, engine.numerics(item))
