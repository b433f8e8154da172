"""Run the pinned cases of known failures here, and add this machine to the entries that fail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conformance.backends.capabilities import devices_of, info_of
from conformance.backends.registry import load
from conformance.commands.known_entry import toml_text
from conformance.commands.known_writer import ENTRY_START
from conformance.commands.replay import backend_process, run_case, trial_items
from conformance.isolation.process import Child
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.cpu import describe_place
from conformance.known.entry import (
    MAX_FILE_BYTES,
    parse_entries,
)
from conformance.model.case import Case
from conformance.model.files import read_text, write_atomically
from conformance.run.stale import describe_not_failing

_SEEN = re.compile(r"(?ms)^seen = \[.*?\]\n")
_REASON = re.compile(r"(?m)^(?=reason\b)")


@dataclass(frozen=True)
class PlaceReport:
    """The outcomes of a file's pinned cases on this machine.

    Args:
        place: the versions and the CPU level, or the device.
        failing: reasons of the entries whose pinned cases all fail here.
        passing: of the other entries, the reason and the outcome of a case that does not fail.
        untried: number of entries that have no pinned case for this machine or are never stale.
    """

    place: str
    failing: tuple[str, ...]
    passing: tuple[tuple[str, str], ...]
    untried: int


def add_place(path: Path, name: str, device: str = "") -> PlaceReport:
    """Run the pinned cases of a file, and add this machine to the entries that fail here.

    Args:
        path: the file of known failures; it is rewritten if an entry changes.
        name: the backend's name.
        device: the device to run on; empty for the backend's first.

    Raises:
        OSError, KnownError: if it is not a file of known failures.
        BackendError: if the backend cannot be used.
    """
    text = read_text(path, MAX_FILE_BYTES)
    entries = parse_entries(text, str(path))
    backend = load(name)
    device = device or devices_of(backend)[0]
    place = describe_place(backend.name, info_of(backend), device)
    failing, passing, untried = list[int](), list[tuple[str, str]](), 0
    with backend_process(name) as child:
        for index, entry in enumerate(entries):
            outcomes = [
                describe_not_failing(item, entry, partial(_run_case, child, entry.status))
                for item in trial_items(backend, entry, device)
            ]
            other_outcome = next(filter(None, outcomes), "")
            if not outcomes:
                untried += 1
            elif other_outcome:
                passing.append((entry.reason, other_outcome))
            else:
                failing.append(index)
    new_text = with_place(text, place, failing)
    if new_text != text:
        parse_entries(new_text, str(path))
        write_atomically(path, new_text)
    return PlaceReport(place, tuple(entries[k].reason for k in failing), tuple(passing), untried)


def with_place(text: str, place: str, failing: Sequence[int]) -> str:
    """Add a place to the `seen` lists of some entries, and return the new text of the file.

    Args:
        text: the file in TOML.
        place: see `describe_place`.
        failing: indices of the entries.
    """
    first, *parts = ENTRY_START.split(text)
    for index in failing:
        (entry,) = parse_entries(parts[index], f"entry {index + 1}")
        if place in entry.seen:
            continue
        places = (*entry.seen, place)
        listed = "".join(f"    {toml_text(seen_place)},\n" for seen_place in places)
        line = f"seen = [{toml_text(place)}]\n" if len(places) == 1 else f"seen = [\n{listed}]\n"
        stripped = _SEEN.sub("", parts[index])
        match = _REASON.search(stripped)
        assert match is not None  # an entry without a reason is refused
        parts[index] = stripped[: match.start()] + line + stripped[match.start() :]
    return "".join((first, *parts))


def _run_case(child: Child, due: str, item: Item, case: Case) -> Outcome:
    """Run a pinned case.

    Args:
        due: the status that the entry expects.
    """
    outcome = run_case(child, item, case, due=due)
    if outcome.status == "unknown":
        raise RuntimeError(outcome.message)
    return outcome
