"""Run the pinned cases of known failures here, and add this machine to the entries that fail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conformance.backends.capabilities import devices_of, info_of, offered
from conformance.backends.registry import load
from conformance.checks import EVERY_CHECK
from conformance.commands.known_entry import toml
from conformance.commands.known_writer import ENTRY
from conformance.commands.replay import process_of
from conformance.isolation.process import Child, Died
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.known.cpu import place_of
from conformance.known.entry import MOST, Known, applying, named, parse
from conformance.layers import COMPLEX, DTYPES
from conformance.model.case import Case
from conformance.model.files import read_text, write_whole
from conformance.model.protocols import Backend
from conformance.run.stale import checks_of, passes_now

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
    text = read_text(path, MOST)
    entries = parse(text, str(path))
    backend = load(name)
    device = device or devices_of(backend)[0]
    place = place_of(backend.name, info_of(backend), device)
    failing, passing, untried = list[int](), list[tuple[str, str]](), 0
    with process_of(name) as child:
        for index, entry in enumerate(entries):
            answers = [
                passes_now(item, entry, partial(_outcome, child, entry.status))
                for item in _trials(backend, entry, device)
            ]
            instead = next(filter(None, answers), "")
            if not answers:
                untried += 1
            elif instead:
                passing.append((entry.reason, instead))
            else:
                failing.append(index)
    new = with_place(text, place, failing)
    if new != text:
        parse(new, str(path))
        write_whole(path, new)
    return PlaceReport(place, tuple(entries[k].reason for k in failing), tuple(passing), untried)


def with_place(text: str, place: str, failing: Sequence[int]) -> str:
    """Add a place to the `seen` lists of some entries, and return the new text of the file.

    Args:
        text: the file in TOML.
        place: see `place_of`.
        failing: indices of the entries.
    """
    first, *parts = ENTRY.split(text)
    for index in failing:
        (entry,) = parse(parts[index], f"entry {index + 1}")
        if place in entry.seen:
            continue
        places = (*entry.seen, place)
        listed = "".join(f"    {toml(each)},\n" for each in places)
        line = f"seen = [{toml(place)}]\n" if len(places) == 1 else f"seen = [\n{listed}]\n"
        without = _SEEN.sub("", parts[index])
        at = _REASON.search(without)
        assert at is not None  # an entry without a reason is refused
        parts[index] = without[: at.start()] + line + without[at.start() :]
    return "".join((first, *parts))


def _trials(backend: Backend, entry: Known, device: str) -> Iterator[Item]:
    """The items to try an entry's pinned cases in: one for each case and dtype."""
    if not entry.strict:
        return
    # An entry for every dtype does not mean complex dtypes, which most layers lack.
    dtypes = DTYPES if entry.dtype == "*" else (*DTYPES, *COMPLEX)
    for dtype in dtypes:
        pinned = {id: case for id, case in entry.cases.items() if id.endswith(f"-{dtype}-{device}")}
        names = [id.split("-") for id in pinned]
        items = [Item(layer, check, dtype, device) for layer, check, *_ in names]
        if entry.case is not None:
            layer = entry.case.call.layer
            checks = [name for name in EVERY_CHECK if named(name, entry.check)]
            items += [Item(layer, check, dtype, device) for check in checks]
        for item in items:
            case = entry.pinned(dtype, device, item.id)
            about = applying((entry,), item, backend.name)
            if case is None or not about or not checks_of(item, entry, case):
                continue
            if offered(backend, item.layer, dtype, device):
                yield item
            if item.id not in entry.cases:
                break  # The other checks would try the same case.


def _outcome(child: Child, due: str, item: Item, case: Case) -> Outcome:
    """Run a pinned case; a case that ends the process has an outcome too.

    Args:
        due: the status that the entry expects.
    """
    try:
        outcome = child.outcome(item, case, due=due)
    except Died as died:
        return Outcome(died.status, died.how)
    if outcome.status == "unknown":
        raise RuntimeError(outcome.message)
    return outcome
