"""The report: one self-contained HTML file."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from conformance.reports import summary, support_gaps
from conformance.reports.bug_report import backend_option
from conformance.reports.causes import numbers, small_operands
from conformance.reports.charts import bars, heat_map, whisker
from conformance.reports.coverage import coverage
from conformance.reports.embedded_data import compress, pack_results
from conformance.reports.grades import grade_table
from conformance.reports.headline import cluster_title
from conformance.reports.page import TextBudget, render_page
from conformance.reports.performance import is_drawable, rate, share
from conformance.reports.provenance import provenance
from conformance.reports.results import Run
from conformance.reports.text import spread
from markupsafe import Markup

from conformance.model.case import Verdict
from conformance.model.plain_text import visible

PAGE = 16_000_000
"""Characters of messages, calls and reproducers on a page; after that texts are short."""

MAX_DETAILED = 100
"""Likely causes shown with all details; further ones get a headline only."""

MAX_CAUSES = 8
"""Likely causes listed at the top of the page."""

MAX_MEMBERS = 40
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
    bugs = summary.clusters(summary.verdicts_with_status(table), run.identity.layers)
    divergences = summary.divergences(run)
    spaces = summary.spaces(run)
    data, left_out = pack_results(run)
    nearness = _nearness(run, table)
    results_argument = shlex.join([*backend_option(run), results])
    members_shown = {v.id for c in bugs for v in c.items[:MAX_MEMBERS]}
    return render_page(
        "report.html",
        run=run,
        identity=run.identity,
        outcome=summary.outcome(run),
        matrix=table,
        rows=support_gaps.supported_rows(table),
        lacks=[
            (gap, support_gaps.format_layers(gap.layers, table.layers, run.identity.layers))
            for gap in support_gaps.support_gaps(table)
        ],
        coverage=coverage(run, table),
        families={name: layer_facts.family for name, layer_facts in run.identity.layers.items()},
        totals=summary.totals(run),
        counts=summary.count_statuses(run),
        failures=len({verdict.id for bug in bugs for verdict in bug.items}),
        bugs=bugs,
        causes=[(bug, cluster_title(bug)) for bug in bugs[:MAX_CAUSES]],
        found=divergences,
        known=(*divergences.known, *divergences.inherited),
        home={v.id: c.id for c in bugs for v in c.items if v.id not in members_shown},
        reasons=summary.unsupported(run, table),
        accepted=_accepted(run),
        nearness=nearness,
        grades=grade_table(run),
        spaces=spaces,
        timings=summary.timings(run),
        dtypes=summary.dtypes(run),
        judged_dtypes=_judged_dtypes(run),
        devices=summary.devices(run),
        provenance=provenance(run),
        linked=set(summary.BAD),
        long=TextBudget(PAGE).cut,
        many={"bugs": MAX_DETAILED, "members": MAX_MEMBERS},
        numbers=numbers,
        small_operands=small_operands,
        whisker=whisker,
        good=is_drawable,
        rate=rate,
        share=share,
        replay=lambda item: f"nn-conformance replay {results_argument} {shlex.quote(item)}",
        data=Markup(data),
        extra=Markup(compress(_script_data(run, bugs, spaces, nearness))),
        left_out=left_out,
        results=results,
        quoted=results_argument,
    )


def _accepted(run: Run) -> dict[str, int]:
    """Invalid examples that the backend accepts on purpose, by broken constraint."""
    accepted: Counter[str] = Counter()
    for verdict in summary.unique_verdicts(run):
        accepted.update(verdict.accepted)
    return dict(accepted.most_common())


def _judged_dtypes(run: Run) -> tuple[str, ...]:
    """The dtypes in which the run has verdicts; those selected if it has none."""
    with_verdict = {verdict.dtype for verdict in run.verdicts}
    return tuple(name for name in summary.dtypes(run) if name in with_verdict or not with_verdict)


def _script_data(
    run: Run,
    bugs: Iterable[summary.Cluster],
    spaces: Iterable[summary.Space],
    nearness: Iterable[tuple[str, list[Nearness]]],
) -> bytes:
    """Data for the page's script: charts in the order of the page, and the items of each cause."""
    index_by_id = {verdict.id: index for index, verdict in enumerate(summary.unique_verdicts(run))}
    return json.dumps(
        {
            "heat": [heat_map(space) for space in spaces],
            "bars": [near.bars for _, entries in nearness for near in entries],
            "bugs": {bug.id: [index_by_id[v.id] for v in bug.items] for bug in bugs},
            "missing": [visible(item) for item in summary.items_without_verdict(run)],
        },
        separators=(",", ":"),
    ).encode("ascii", "backslashreplace")


def _nearness(run: Run, table: summary.Matrix) -> list[tuple[str, list[Nearness]]]:
    """For each layer, the dtypes in which a bound applied."""
    margins = summary.margins(run, table)
    return [
        (layer, [_make_nearness(margins, v) for v in worst if v is not None])
        for layer, worst in margins.rows
    ]


def _make_nearness(margins: summary.Margins, worst: Verdict) -> Nearness:
    layer_and_dtype = worst.layer, worst.dtype
    ulps = margins.ulps.get(layer_and_dtype, {})
    heights = bars(margins.ratios.get(layer_and_dtype, {}), *RATIOS), bars(ulps, *ULPS)
    return Nearness(worst.dtype, worst, heights, spread(ulps))
