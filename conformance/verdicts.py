"""What an item's examples come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .case import Examples, Verdict
from .items import Item
from .known import Known
from .trial import Evidence


def make(item: Item, status: str, examples: Examples, **facts: object) -> Verdict:
    """A verdict of an item.

    Args:
        item: what it is about.
        status, examples, facts: fields of the verdict.
    """
    return Verdict(
        item.id,
        item.layer,
        item.check,
        item.dtype,
        item.device,
        status,
        examples,
        **facts,  # type: ignore[arg-type]
    )


def facts_of(evidence: Evidence) -> dict[str, object]:
    """What was compared, as fields of a verdict."""
    return {
        "comparisons": evidence.comparisons,
        "margin": evidence.margin,
        "ulps": dict(evidence.ulps),
        "ratios": dict(evidence.ratios),
    }


def summed_up(item: Item, examples: Examples, facts: Mapping[str, object]) -> Verdict:
    """Nothing failed: passed, declined throughout, or nothing compared."""
    if examples.checked and facts["comparisons"]:
        return make(item, "passed", examples, **facts)
    if examples.unsupported and not examples.checked:
        reason = max(examples.unsupported, key=lambda r: examples.unsupported[r])
        count = f"{len(examples.unsupported)} reasons, " if len(examples.unsupported) > 1 else ""
        message = f"{count}most often: {reason}"
        return make(item, "unsupported", examples, **{**facts, "message": message})
    message = "nothing was compared: no example gave a number with a finite bound"
    return make(item, "unchecked", examples, **{**facts, "message": message})


def left_out(item: Item, examples: int) -> Verdict:
    """The run's time was over before the item's turn."""
    message = "left out: the run is behind its time budget"
    return make(item, "unchecked", Examples(stopped=examples), message=message)


def as_known(verdict: Verdict, known: Sequence[Known]) -> Verdict:
    """Nothing failed but what is known to."""
    reasons = "; ".join(
        entry.reason + (f" ({entry.link})" if entry.link else "") for entry in known
    )
    return replace(verdict, status="known", message=f"known failure: {reasons}")


def as_stale(item: Item, stale: Sequence[Known]) -> Verdict:
    """Known failures whose pinned case passes."""
    reasons = "; ".join(entry.reason for entry in stale)
    return make(
        item,
        "failed",
        Examples(len(stale), len(stale)),
        message=f"stale known failure, its pinned case passes now; remove the entry: {reasons}",
    )
