"""Gaps in a backend's support: layers unsupported altogether, in a dtype, or under a check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from conformance.reports.matrix import LayerRow, Matrix
from conformance.reports.statuses import status

from conformance.model.case import Verdict
from conformance.model.layer_facts import LayerFacts

MAX_NAMED = 3
"""Families of up to this size are listed layer by layer, even if they are complete."""
MAX_LISTED = 6
"""Families and layers of one gap that a short list names."""


@dataclass(frozen=True)
class SupportGap:
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


def support_gaps(table: Matrix) -> tuple[SupportGap, ...]:
    """Group layers by their gaps; layers that are not supported at all come first."""
    layers_by_gap: dict[tuple[str, ...], list[str]] = {(): []}
    for row in table.rows:
        if is_unsupported(row):
            layers_by_gap[()].append(row.layer)
        elif parts := unsupported_parts(row):
            layers_by_gap.setdefault(parts, []).append(row.layer)
    return tuple(
        SupportGap(parts, tuple(layers)) for parts, layers in layers_by_gap.items() if layers
    )


def supported_rows(table: Matrix) -> tuple[LayerRow, ...]:
    """The rows of layers that a backend supports at least in part."""
    return tuple(row for row in table.rows if not is_unsupported(row))


def is_unsupported(row: LayerRow) -> bool:
    """Whether a backend does not support a layer at all."""
    return not row.tally.missing and set(row.tally.statuses) == {"unsupported"}


def unsupported_parts(row: LayerRow) -> tuple[str, ...]:
    """The dtypes, then the checks in other dtypes, of which every item is unsupported."""
    verdicts = [verdict for cell in row.cells if cell for verdict in cell.verdicts]
    dtypes = _entirely_unsupported(verdicts, lambda verdict: verdict.dtype)
    others = [verdict for verdict in verdicts if verdict.dtype not in dtypes]
    return (*dtypes, *_entirely_unsupported(others, lambda verdict: verdict.check))


def _entirely_unsupported(
    verdicts: Iterable[Verdict], part_of: Callable[[Verdict], str]
) -> tuple[str, ...]:
    """The parts (dtypes or checks) whose verdicts are all unsupported."""
    supported_by_part: dict[str, bool] = {}
    for verdict in verdicts:
        name = part_of(verdict)
        supported_by_part[name] = (
            supported_by_part.get(name, False) or status(verdict) != "unsupported"
        )
    return tuple(name for name, supported in supported_by_part.items() if not supported)


def format_layers(
    layers: Sequence[str], run_layers: Sequence[str], facts: Mapping[str, LayerFacts]
) -> str:
    """List layers by name; a family all of whose layers are among them is named in their place.

    Args:
        layers: the layers to list.
        run_layers: all layers of the run, of which families consist.
        facts: facts by layer.
    """
    return ", ".join(_layer_names(layers, run_layers, facts))


def format_few_layers(
    layers: Sequence[str], run_layers: Sequence[str], facts: Mapping[str, LayerFacts]
) -> str:
    """List layers as `format_layers` does; empty if that takes more than `MAX_LISTED` names."""
    names = _layer_names(layers, run_layers, facts)
    return ", ".join(names) if len(names) <= MAX_LISTED else ""


def _layer_names(
    layers: Sequence[str], run_layers: Sequence[str], facts: Mapping[str, LayerFacts]
) -> tuple[str, ...]:
    """The complete families among some layers, then the other layers."""
    families: dict[str, list[str]] = {}
    for layer in run_layers:
        if (layer_facts := facts.get(layer)) is not None and layer_facts.family:
            families.setdefault(layer_facts.family, []).append(layer)
    gap_layers = set(layers)
    complete_families = {
        name: family_layers
        for name, family_layers in families.items()
        if len(family_layers) > MAX_NAMED and gap_layers >= set(family_layers)
    }
    family_texts = [
        f"all {len(family_layers)} of {name}" for name, family_layers in complete_families.items()
    ]
    named_layers = {
        layer for family_layers in complete_families.values() for layer in family_layers
    }
    return (*family_texts, *(layer for layer in layers if layer not in named_layers))
