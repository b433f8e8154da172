"""The claim of conformance to a versioned standard that a run supports."""

from __future__ import annotations

from conformance.reports.divergences import divergences
from conformance.reports.matrix import matrix
from conformance.reports.results import Run
from conformance.reports.support_gaps import present

from conformance.model.standard import Standard, StandardError, named


def claim(run: Run, *, conformant: bool) -> str:
    """A sentence that names all limits of the claim; empty for a run without a standard.

    `conformant` says that the run is complete and nothing failed.
    """
    text = run.identity.standard
    if not text:
        return ""
    try:
        standard, level = named(text)
    except StandardError:
        return f"{text} is not a known standard: no claim."
    if not conformant:
        return f"Does not show that it conforms to {standard.name}, {level}."
    limits = _extent(run, standard, level)
    but = _known(run)
    told = f"Conforms to {standard.name}, {level}"
    return f"{told}{', '.join(['', *limits])}{f', but for {but}' if but else ''}."


def _extent(run: Run, standard: Standard, level: str) -> list[str]:
    """Limits of the claim: layers, dtypes, checks, cases and shards that are not all."""
    layers = [row.layer for row in present(matrix(run))]
    shown = [verdict for verdict in run.verdicts if verdict.status in ("passed", "known")]
    dtypes = {verdict.dtype for verdict in shown}
    lacking = [c for c in standard.levels[level] if c not in {verdict.check for verdict in shown}]
    limits = {
        f"in {len(layers)} of {len(standard.layers)} layers": len(layers) < len(standard.layers),
        f"in {', '.join(d for d in standard.dtypes if d in dtypes)}": not dtypes
        >= {*standard.dtypes},
        f"without {', '.join(lacking)}": lacking,
        "in a part of the cases": any(verdict.examples.stopped for verdict in run.verdicts),
        "on other cases": run.identity.drawn,
        f"in shard {run.identity.shard}": run.identity.shard != "1/1",
    }
    return [limit for limit, applies in limits.items() if applies]


def _known(run: Run) -> str:
    found = divergences(run)
    number = len(found.known) + len(found.inherited)
    return f"{number} known divergence{'' if number == 1 else 's'}" if number else ""
