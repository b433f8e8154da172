"""The report: one self-contained HTML file."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from conformance.reports import summary, support_gaps
from conformance.reports.bug_report import chosen
from conformance.reports.causes import numbers
from conformance.reports.charts import bars, heat_map, whisker
from conformance.reports.coverage import coverage
from conformance.reports.embedded_data import pack, packed
from conformance.reports.headline import headline
from conformance.reports.page import PlotArea, page
from conformance.reports.performance import good, rate, share
from conformance.reports.provenance import provenance
from conformance.reports.results import Run
from conformance.reports.text import spread
from markupsafe import Markup

from conformance.model.case import Verdict
from conformance.model.plain_text import visible

PAGE = 16_000_000
"""Characters of messages, calls and reproducers on a page; after that texts are cut to `SHORT`."""

CLUSTERS = 100
"""Likely causes shown with all details; further ones get a headline only."""

CAUSES = 8
"""Likely causes listed at the top of the page."""

MEMBERS = 40
"""Items listed for one likely cause; the filter shows the others."""

RATIOS = (-16, 2)
"""Powers of 2 on the outermost bars of error ÷ bound."""

ULPS = (-8, 14)
"""Powers of 2 on the outermost bars of the distance in units in the last place."""


@dataclass(frozen=True)
class Nearness:
    """One layer and dtype in the section Numerics.

    Args:
        dtype: its name.
        worst: the verdict with the largest error ÷ bound.
        bars: heights of two histograms: error ÷ bound, and distance in ulp.
        far: the distances, in words.
    """

    dtype: str
    worst: Verdict
    bars: tuple[str, str]
    far: str


def render(run: Run, results: str = "RESULTS") -> str:
    """Render the report of a run as HTML that needs no other file and no network.

    The same run gives the same page, and the text always encodes as UTF-8. `results` is the name of
    the results file in replay commands.
    """
    table = summary.matrix(run)
    bugs = summary.clusters(summary.listed(table), run.identity.layers)
    found = summary.divergences(run)
    covered = summary.spaces(run)
    data, left_out = packed(run)
    nearness = _nearness(run, table)
    replayed = shlex.join([*chosen(run), results])
    members_shown = {v.id for c in bugs for v in c.items[:MEMBERS]}
    return page(
        "report.html",
        run=run,
        identity=run.identity,
        outcome=summary.outcome(run),
        matrix=table,
        rows=support_gaps.present(table),
        lacks=[
            (lack, support_gaps.named(lack.layers, table.layers, run.identity.layers))
            for lack in support_gaps.lacks(table)
        ],
        coverage=coverage(run, table),
        families={name: known.family for name, known in run.identity.layers.items()},
        totals=summary.totals(run),
        counts=summary.counts(run),
        failures=sum(len(bug.items) for bug in bugs),
        bugs=bugs,
        causes=[(bug, headline(bug)) for bug in bugs[:CAUSES]],
        found=found,
        known=(*found.known, *found.inherited),
        home={v.id: c.id for c in bugs for v in c.items if v.id not in members_shown},
        reasons=summary.unsupported(run, table),
        accepted=_accepted(run),
        nearness=nearness,
        spaces=covered,
        timings=summary.timings(run),
        dtypes=summary.dtypes(run),
        devices=summary.devices(run),
        provenance=provenance(run),
        linked=set(summary.BAD),
        long=PlotArea(PAGE).cut,
        many={"bugs": CLUSTERS, "members": MEMBERS},
        numbers=numbers,
        whisker=whisker,
        good=good,
        rate=rate,
        share=share,
        replay=lambda item: f"nn-conformance replay {replayed} {shlex.quote(item)}",
        data=Markup(data),
        extra=Markup(pack(_extra(run, bugs, covered, nearness))),
        left_out=left_out,
        results=results,
        quoted=replayed,
    )


def _accepted(run: Run) -> dict[str, int]:
    """Invalid examples that the backend accepts on purpose, by broken constraint."""
    found: Counter[str] = Counter()
    for verdict in summary.verdicts(run):
        found.update(verdict.accepted)
    return dict(found.most_common())


def _extra(
    run: Run,
    bugs: Iterable[summary.Cluster],
    covered: Iterable[summary.Space],
    nearness: Iterable[tuple[str, list[Nearness]]],
) -> bytes:
    """Data for the page's script: charts in the order of the page, and the items of each cause."""
    places = {verdict.id: place for place, verdict in enumerate(summary.verdicts(run))}
    return json.dumps(
        {
            "heat": [heat_map(space) for space in covered],
            "bars": [near.bars for _, entries in nearness for near in entries],
            "bugs": {bug.id: [places[v.id] for v in bug.items] for bug in bugs},
            "missing": [visible(item) for item in summary.missing(run)],
        },
        separators=(",", ":"),
    ).encode("ascii", "backslashreplace")


def _nearness(run: Run, table: summary.Matrix) -> list[tuple[str, list[Nearness]]]:
    """For each layer, the dtypes in which a bound applied."""
    found = summary.margins(run, table)
    return [
        (layer, [_near(found, v) for v in worst if v is not None]) for layer, worst in found.rows
    ]


def _near(found: summary.Margins, worst: Verdict) -> Nearness:
    place = worst.layer, worst.dtype
    ulps = found.ulps.get(place, {})
    heights = bars(found.ratios.get(place, {}), *RATIOS), bars(ulps, *ULPS)
    return Nearness(worst.dtype, worst, heights, spread(ulps))
