"""Gaps in a backend's support: layers unsupported altogether, in a dtype, or under a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.reports.matrix import LayerRow, Matrix
from conformance.reports.statuses import status

from conformance.model.case import Verdict
from conformance.model.layer_facts import LayerFacts

FEW = 3
"""A family with at most so many layers is always listed by its layers' names."""


@dataclass(frozen=True)
class Lack:
    """A gap that some layers share.

    Args:
        what: dtypes or checks in which every item is unsupported; empty if all items are.
        layers: the layers' names.
    """

    what: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def where(self) -> str:
        """`" in float64, gradients"`; empty if nothing is supported."""
        return f" in {', '.join(self.what)}" if self.what else ""


def lacks(table: Matrix) -> tuple[Lack, ...]:
    """Group layers by their gaps; layers that are not supported at all come first."""
    found: dict[tuple[str, ...], list[str]] = {(): []}
    for row in table.rows:
        if absent(row):
            found[()].append(row.layer)
        elif what := lacking(row):
            found.setdefault(what, []).append(row.layer)
    return tuple(Lack(what, tuple(layers)) for what, layers in found.items() if layers)


def present(table: Matrix) -> tuple[LayerRow, ...]:
    """The rows of layers that a backend supports at least in part."""
    return tuple(row for row in table.rows if not absent(row))


def absent(row: LayerRow) -> bool:
    """Whether a backend does not support a layer at all."""
    return not row.tally.missing and set(row.tally.statuses) == {"unsupported"}


def lacking(row: LayerRow) -> tuple[str, ...]:
    """The dtypes, then the checks in other dtypes, of which every item is unsupported."""
    verdicts = [verdict for cell in row.cells if cell for verdict in cell.verdicts]
    dtypes = _without(verdicts, lambda verdict: verdict.dtype)
    others = [verdict for verdict in verdicts if verdict.dtype not in dtypes]
    return (*dtypes, *_without(others, lambda verdict: verdict.check))


def _without(verdicts: Iterable[Verdict], part: Callable[[Verdict], str]) -> tuple[str, ...]:
    """The parts (dtypes or checks) whose verdicts are all unsupported."""
    has: dict[str, bool] = {}
    for verdict in verdicts:
        name = part(verdict)
        has[name] = has.get(name, False) or status(verdict) != "unsupported"
    return tuple(name for name, supported in has.items() if not supported)


def named(layers: Sequence[str], asked: Sequence[str], facts: Mapping[str, LayerFacts]) -> str:
    """List layers by name; a family that is complete is named in their place.

    `asked` are the layers of the run, `facts` the facts about layers by name.
    """
    families: dict[str, list[str]] = {}
    for layer in asked:
        if (known := facts.get(layer)) is not None and known.family:
            families.setdefault(known.family, []).append(layer)
    here = set(layers)
    whole = {
        name: found for name, found in families.items() if len(found) > FEW and here >= set(found)
    }
    told = [f"all {len(found)} of {name}" for name, found in whole.items()]
    within = {layer for found in whole.values() for layer in found}
    return ", ".join((*told, *(layer for layer in layers if layer not in within)))
