"""What a backend lacks: layers that it does not support at all, in a dtype, or under a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.reports.matrix import LayerRow, Matrix
from conformance.reports.statuses import status

from conformance.model.case import Verdict
from conformance.model.layer_facts import LayerFacts

FEW = 3
"""Layers of a family that are told by their names, even if they are all."""


@dataclass(frozen=True)
class Lack:
    """What some layers lack.

    Args:
        what: dtypes or checks of which every item is unsupported; none where that is all of them.
        layers: their names.
    """

    what: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def where(self) -> str:
        """`" in float64, gradients"`; empty where all is lacking."""
        return f" in {', '.join(self.what)}" if self.what else ""


def lacks(table: Matrix) -> tuple[Lack, ...]:
    """What a backend lacks, layers that lack the same together; first those that it lacks whole.

    Args:
        table: layers × checks.
    """
    found: dict[tuple[str, ...], list[str]] = {(): []}
    for row in table.rows:
        if absent(row):
            found[()].append(row.layer)
        elif what := lacking(row):
            found.setdefault(what, []).append(row.layer)
    return tuple(Lack(what, tuple(layers)) for what, layers in found.items() if layers)


def present(table: Matrix) -> tuple[LayerRow, ...]:
    """The rows of layers that a backend supports, if in part."""
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
    """The parts all of whose verdicts are unsupported."""
    has: dict[str, bool] = {}
    for verdict in verdicts:
        name = part(verdict)
        has[name] = has.get(name, False) or status(verdict) != "unsupported"
    return tuple(name for name, supported in has.items() if not supported)


def named(layers: Sequence[str], asked: Sequence[str], facts: Mapping[str, LayerFacts]) -> str:
    """Names of layers; a family all of whose layers they are is told in their place.

    Args:
        asked: the layers of the run.
        facts: what is known of layers, by name.
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
