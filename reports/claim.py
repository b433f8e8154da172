"""The claim of conformance to a versioned standard that a run supports."""

from __future__ import annotations

from conformance.reports.divergences import divergences
from conformance.reports.matrix import matrix
from conformance.reports.results import Run
from conformance.reports.support_gaps import supported_rows

from conformance.model.standard import Standard, StandardError, find_standard


def claim(run: Run, *, conformant: bool) -> str:
    """A sentence that names all limits of the claim; empty for a run without a standard.

    `conformant` says that the run is complete and nothing failed.
    """
    text = run.identity.standard
    if not text:
        return ""
    try:
        standard, level = find_standard(text)
    except StandardError:
        return f"{text} is not a known standard: no claim."
    if not conformant:
        return f"Does not show that it conforms to {standard.name}, {level}."
    limits = _limits(run, standard, level)
    known_divergences = _known_divergences(run)
    opening = f"Conforms to {standard.name}, {level}"
    exception = f", but for {known_divergences}" if known_divergences else ""
    return f"{opening}{', '.join(['', *limits])}{exception}."


def _limits(run: Run, standard: Standard, level: str) -> list[str]:
    """Limits of the claim: layers, dtypes, checks, cases and shards that are not all."""
    layers = [row.layer for row in supported_rows(matrix(run))]
    verdicts = [verdict for verdict in run.verdicts if verdict.status in ("passed", "known")]
    dtypes = {verdict.dtype for verdict in verdicts}
    lacking = [
        c for c in standard.levels[level] if c not in {verdict.check for verdict in verdicts}
    ]
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


def _known_divergences(run: Run) -> str:
    divergences_found = divergences(run)
    number = len(divergences_found.known) + len(divergences_found.inherited)
    return f"{number} known divergence{'' if number == 1 else 's'}" if number else ""
