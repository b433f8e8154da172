"""Margins of a run: how near to their bounds its numbers were, passing checks included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from conformance.reports.matrix import Matrix, margin_of, matrix
from conformance.reports.results import Run
from conformance.reports.statuses import dtypes, unique_verdicts

from conformance.model.case import Verdict


@dataclass(frozen=True)
class Margins:
    """The largest error ÷ bound for each layer and dtype, passing checks included.

    Args:
        dtypes: the columns.
        rows: layer, then for each dtype the verdict with the largest margin, or None.
        ulps: (layer, dtype) → histogram of distances, as in `Verdict.ulps`.
        ratios: (layer, dtype) → histogram of error ÷ bound, as in `Verdict.ratios`.
    """

    dtypes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Verdict | None, ...]], ...]
    ulps: Mapping[tuple[str, str], Mapping[str, int]]
    ratios: Mapping[tuple[str, str], Mapping[str, int]]


def margins(run: Run, table: Matrix | None = None) -> Margins:
    """The margins of a run; layers to which no bound applied are left out."""
    table = table or matrix(run)
    worst: dict[tuple[str, str], Verdict] = {}
    for row in table.rows:
        for cell in row.cells:
            for verdict in cell.verdicts if cell else ():
                margin = margin_of(verdict)
                worst_so_far = worst.get((verdict.layer, verdict.dtype))
                if margin is not None and (
                    worst_so_far is None or margin > (margin_of(worst_so_far) or 0.0)
                ):
                    worst[verdict.layer, verdict.dtype] = verdict
    dtypes_with_margin = {dtype for _, dtype in worst}
    columns = tuple(d for d in dtypes(run) if d in dtypes_with_margin)
    ulps: dict[tuple[str, str], Counter[str]] = {}
    ratios: dict[tuple[str, str], Counter[str]] = {}
    for verdict in unique_verdicts(run):
        layer_and_dtype = verdict.layer, verdict.dtype
        ulps.setdefault(layer_and_dtype, Counter()).update(verdict.ulps)
        ratios.setdefault(layer_and_dtype, Counter()).update(verdict.ratios)
    rows = ((layer, tuple(worst.get((layer, d)) for d in columns)) for layer in table.layers)
    return Margins(columns, tuple(row for row in rows if any(row[1])), ulps, ratios)
