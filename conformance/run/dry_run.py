"""Dry runs: the calls of cases, made beforehand so that a backend compiles them together.

For a small layer, most of a compiler's time is what each compilation costs whatever its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conformance.backends.foreign_calls import hooks
from conformance.backends.guard import guarded
from conformance.items.context import ItemContext
from conformance.matching.features import structure
from conformance.model.case import Case

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike

MAX_STRUCTURES = 32
"""Structures compiled together. More of them save little, and are lost together."""

TIME_SHARE = 0.5
"""Share of an item's remaining time for dry runs; the calls that are judged need the rest."""


def make_dry_runs(
    engine: EngineLike, context: ItemContext, cases: Sequence[Case], order: Sequence[int]
) -> None:
    """Let the backend compile what the cases of an item need, one case of each structure.

    Nothing that is returned in a dry run is judged. A backend without `dry_run` gets none, nor does
    a layer of which a case has ended the process.

    Args:
        order: indices of the cases, in the order in which they will be checked.

    Raises:
        BackendError: if the member `dry_run` is no method, or raises.
    """
    backend = guarded(engine.backend)
    if context.in_fork or backend.read("dry_run") is None:
        return
    first_indices: dict[Any, int] = {}
    for index in order:
        if context.excuses.find_process_ending(cases[index]) is None:
            first_indices.setdefault(structure(cases[index]), index)
    # Without a budget both are infinite.
    min_seconds_left = (1 - TIME_SHARE) * context.seconds_left()
    indices = tuple(first_indices.values())
    for start in range(0, len(indices), MAX_STRUCTURES):
        if context.seconds_left() < min_seconds_left:
            return
        together = [(k, cases[k]) for k in indices[start : start + MAX_STRUCTURES]]
        with hooks(dry_run=True):
            backend.call_method("dry_run", _Calls(engine, context, together, min_seconds_left))


@dataclass(frozen=True)
class _Calls:
    """A function that runs the check on cases until the time is over."""

    engine: EngineLike
    context: ItemContext
    cases: Sequence[tuple[int, Case]]
    min_seconds_left: float

    def __call__(self) -> None:
        for index, case in self.cases:
            self.engine.note("checking", index, self.context.log.checked)
            self.engine.outcome(self.context.item, case, self.context.numerics)
            if self.context.seconds_left() < self.min_seconds_left:
                return

    def __repr__(self) -> str:
        """Its name in the contract, for messages."""
        return "make_calls"
