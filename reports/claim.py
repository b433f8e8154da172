"""What a run may claim of a versioned standard."""

from __future__ import annotations

from conformance.reports.divergences import divergences
from conformance.reports.matrix import matrix
from conformance.reports.presence import present
from conformance.reports.results import Run

from conformance.model.standard import StandardError, named


def claim(run: Run, *, conformant: bool) -> str:
    """A sentence, with all that it is not about; empty for a run that is held against none.

    Args:
        run: what it rests on.
        conformant: it is whole, and nothing failed.
    """
    text = run.identity.standard
    if not text:
        return ""
    try:
        standard, level = named(text)
    except StandardError:
        return f"{text} is no standard that is known here: no claim."
    if not conformant:
        return f"Does not show that it conforms to {standard.name}, {level}."
    limits = [*_extent(run, standard.layers, standard.dtypes), *_shard(run)]
    but = _known(run)
    told = f"Conforms to {standard.name}, {level}"
    return f"{told}{', '.join(['', *limits])}{f', but for {but}' if but else ''}."


def _extent(run: Run, layers: tuple[str, ...], dtypes: tuple[str, ...]) -> list[str]:
    """Layers and dtypes, where they are not all."""
    rows = [row.layer for row in present(matrix(run))]
    found = []
    if len(rows) < len(layers):
        found.append(f"in {len(rows)} of {len(layers)} layers")
    used = {verdict.dtype for verdict in run.verdicts if verdict.status in ("passed", "known")}
    if not used >= {*dtypes}:
        found.append(f"in {', '.join(d for d in dtypes if d in used)}")
    return found


def _shard(run: Run) -> list[str]:
    return [] if run.identity.shard == "1/1" else [f"in shard {run.identity.shard}"]


def _known(run: Run) -> str:
    found = divergences(run)
    number = len(found.known) + len(found.inherited)
    return f"{number} known divergence{'' if number == 1 else 's'}" if number else ""
